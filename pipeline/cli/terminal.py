"""What a build shows: a live line per stage on a terminal, plain lines elsewhere, and the table at the end."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group, RenderableType
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


class Progress:
    """A listener that shows events as they come. Use it as a context manager around the build."""

    def __init__(self, console: Console, total: int, *, quiet: bool = False) -> None:
        self._console = console
        self._total = total
        self._quiet = quiet
        self._done = 0
        self._stage = ""
        self._text = ""
        self._fraction: float | None = None
        self._started = 0.0
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
            self._stage, self._text, self._fraction, self._started = event.stage, "", None, time.monotonic()
            if self._live is None:
                self._console.print(f"[{self._done + 1}/{self._total}] {event.stage} ...", highlight=False)
        elif event.event in ("progress", "waiting"):
            self._text, self._fraction = event.text, event.fraction
            if event.event == "waiting" and self._live is None:
                self._console.print(f"    {escape(event.text)}", highlight=False)
        elif event.event == "warning":
            self._console.print(f"  [yellow]![/] {escape(event.text)}", highlight=False)
        elif event.event in MARKS:
            self._finished(event)

    def _finished(self, event: Event) -> None:
        self._done += 1
        mark, colour = MARKS[event.event]
        seconds = (
            f"{time.monotonic() - self._started:6.1f} s" if event.event in ("built", "failed") else f"{event.event:>8}"
        )
        self._console.print(
            f"[{colour}]{mark}[/] {event.stage:<34} [dim]{seconds}[/]  {escape(event.text)}",
            highlight=False,
        )
        self._stage = ""

    def __rich__(self) -> RenderableType:
        if not self._stage:
            return Text("")
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=1.0, completed=self._fraction, width=20) if self._fraction is not None else Text("")
        row.add_row(
            self._spinner,
            Text(f"{self._stage:<34}"),
            Text(f"{time.monotonic() - self._started:6.1f} s", style="dim"),
            bar,
            Text(self._text, style="dim", overflow="ellipsis", no_wrap=True),
        )
        return Group(row)


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
