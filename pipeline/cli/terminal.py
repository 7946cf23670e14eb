"""What a build shows: a live line per stage on a terminal, plain lines elsewhere, and the table at the end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from enginesmith.converters.core import engine_layers as layers
from enginesmith.converters.core.facts import GraphFacts
from enginesmith.pipeline.job.events import Event
from enginesmith.pipeline.job.manifest import EngineRecord, Manifest, StageRecord

MARKS = {
    "built": ("✓", "green"),
    "cached": ("✓", "cyan"),
    "failed": ("✗", "red"),
    "skipped": ("-", "dim"),
    "not run": ("○", "yellow"),
}
DIFFERS = ("≠", "yellow")
"""By more than the tolerance, where a metric judges."""


@dataclass
class _Running:
    """A stage that is at work, and the last that it said."""

    text: str = ""
    fraction: float | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> str:
        return f"{time.monotonic() - self.started:6.1f} s"


class Progress:
    """A listener that shows events as they come. Use it as a context manager around the build."""

    def __init__(self, console: Console, total: int, *, quiet: bool = False) -> None:
        self._console = console
        self._total = total
        self._quiet = quiet
        self._begun = 0
        self._running: dict[str, _Running] = {}
        self._spinner = Spinner("dots")
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(self, console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        if self._quiet:
            return
        if event.event == "start":
            self._begun += 1
            self._running[event.stage] = _Running()
            if self._live is None:
                self._console.print(f"[{self._begun}/{self._total}] {event.stage} ...", highlight=False)
        elif event.event in ("progress", "waiting"):
            running = self._running[event.stage]
            running.text, running.fraction = event.text, event.fraction
            if event.event == "waiting" and self._live is None:
                self._console.print(f"    {self._whose(event)}{escape(event.text)}", highlight=False)
        elif event.event == "warning":
            self._console.print(f"  [yellow]![/] {self._whose(event)}{escape(event.text)}", highlight=False)
        elif event.event in MARKS:
            self._finished(event)

    def _whose(self, event: Event) -> str:
        return f"{event.stage}: " if len(self._running) > 1 else ""

    def _finished(self, event: Event) -> None:
        mark, colour = MARKS[event.event]
        running = self._running.pop(event.stage, None)
        if running is None:
            self._begun += 1
        took = running.seconds if running and event.event in ("built", "failed") else f"{event.event:>8}"
        self._console.print(
            f"[{colour}]{mark}[/] {event.stage:<34} [dim]{took}[/]  {escape(event.text)}",
            highlight=False,
        )

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for stage, running in list(self._running.items()):
            fraction = running.fraction
            bar = ProgressBar(total=1.0, completed=fraction, width=20) if fraction is not None else Text("")
            table.add_row(
                self._spinner,
                Text(f"{stage:<34}"),
                Text(running.seconds, style="dim"),
                bar,
                Text(running.text, style="dim", overflow="ellipsis", no_wrap=True),
            )
        return table


def show_manifest(console: Console, manifest: Manifest, folder: str) -> None:
    """The table of stages, the engines, and where everything is."""
    console.print()
    console.print(_stages(manifest.stages))
    for record in manifest.stages:
        if record.status == "failed":
            _show_failure(console, record)
    if manifest.engines:
        console.print()
        console.print(_engines(manifest.engines))
        for line in filter(None, map(_lost, manifest.engines)):
            console.print(f"[dim]{escape(line)}[/]", highlight=False)
    console.print()
    for warning in manifest.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False)
    for engine in manifest.engines:
        console.print(f"{'engine':9} {escape(folder)}/{escape(engine.path)}", highlight=False, soft_wrap=True)
    for label, file in (("manifest", "manifest.json"), ("report", "report.html")):
        console.print(f"{label:9} {escape(folder)}/{file}", highlight=False, soft_wrap=True)


def _stages(records: list[StageRecord]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    table.add_column("time", justify="right")
    table.add_column("", style="cyan")
    table.add_column("nodes", justify="right")
    table.add_column("difference", justify="right")
    table.add_column("verdict")
    table.add_column("", style="dim", overflow="fold")
    for record in records:
        mark, colour = MARKS[record.status]
        if record.comparison is not None and record.comparison.verdict == "differs":
            mark, colour = DIFFERS
        ran = record.status not in ("skipped", "not run")
        table.add_row(
            record.id,
            f"{record.seconds:.1f} s" if ran else "",
            "cached" if record.status == "cached" else "",
            str(graph.nodes or "") if (graph := record.told(GraphFacts)) else "",
            largest_difference(record),
            f"[{colour}]{mark} {verdict(record)}[/]",
            escape(record.facts.note if ran else record.error),
        )
    return table


def verdict(record: StageRecord) -> str:
    """One or two words for the table."""
    if record.comparison is not None:
        return record.comparison.verdict
    return {"built": "ok", "cached": "ok"}.get(record.status, record.status)


def largest_difference(record: StageRecord) -> str:
    """To the stage before: of tensors the largest absolute difference, of detections that of a score."""
    if record.comparison is None:
        return ""
    figures = [output.max_abs for sample in record.comparison.samples for output in sample.outputs]
    figures += [s.detections.worst_score_difference for s in record.comparison.samples if s.detections]
    return f"{max(figures):.1e}" if figures else ""


def _show_failure(console: Console, record: StageRecord) -> None:
    console.print()
    console.print(f"[red]{record.id}:[/] {escape(record.error)}", highlight=False)
    if record.remedy:
        console.print(f"  [green]remedy:[/] {escape(record.remedy)}", highlight=False)
    for finding in record.facts.findings[:20]:
        console.print(
            f"  {escape(finding.op)} [dim]{escape(finding.node)}[/]: {escape(finding.message)}", highlight=False
        )
        if finding.remedy and finding.remedy != record.remedy:
            console.print(f"    [green]remedy:[/] {escape(finding.remedy)}", highlight=False)
    if len(record.facts.findings) > 20:
        console.print(f"  and {len(record.facts.findings) - 20} more, in the report")
    if record.log:
        console.print(f"  log: {escape(record.log)}", highlight=False, soft_wrap=True)


def _engines(engines: list[EngineRecord]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("engine", "target", "size", "layers", "verified", "latency"):
        table.add_column(column, overflow="fold")
    for engine in engines:
        dtypes = ", ".join(f"{count} {dtype}" for dtype, count in engine.layers_by_dtype.items())
        colour = {"yes": "green", "no": "red", "not run": "yellow"}[engine.verified]
        table.add_row(
            engine.backend,
            engine.target,
            f"{engine.size / 1e6:.1f} MB",
            dtypes or str(engine.layers),
            f"[{colour}]{engine.verified}[/]: {escape(engine.verified_reason)}",
            _latency(engine),
        )
    return table


def _lost(engine: EngineRecord) -> str:
    """Where ONNX Runtime is ahead of an engine whose layers were timed."""
    line = layers.told(layers.behind(engine.profile, engine.kernels)) if engine.profile else ""
    return f"{engine.backend}: {line}" if line else ""


def _latency(engine: EngineRecord) -> str:
    if engine.latency is None:
        return "not measured"
    timed = (engine.latency, *engine.latency.others)
    return "\n".join(f"[{'yellow' if latency.ratio > 1 else 'green'}]{latency.verdict}[/]" for latency in timed)
