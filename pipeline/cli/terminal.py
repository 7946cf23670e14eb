"""What a build shows at its end: the tables of its stages and its engines, and where everything is."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from enginesmith.converters.core import engine_layers as layers
from enginesmith.converters.core.facts import GraphFacts
from enginesmith.converters.graphs.comparison import worst_output
from enginesmith.pipeline.api.console import escape
from enginesmith.pipeline.api.progress import MARKS
from enginesmith.pipeline.job.manifest import EngineRecord, Manifest, StageRecord

DIFFERS = ("≠", "yellow")
"""By more than the tolerance, where a metric judges."""


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
        if record.comparison is not None and record.comparison.verdict in ("differs", "proves nothing"):
            mark, colour = DIFFERS
        ran = record.status not in ("skipped", "not run")
        table.add_row(
            escape(record.id),
            f"{record.seconds:.1f} s" if ran else "",
            "cached" if record.status == "cached" else "",
            str(graph.nodes or "") if (graph := record.told(GraphFacts)) else "",
            largest_difference(record),
            f"[{colour}]{mark} {escape(record.verdict)}[/]",
            escape(record.facts.note if ran else record.error),
        )
    return table


def largest_difference(record: StageRecord) -> str:
    """To the stage before: of tensors where it is nearest to what is allowed, of detections the largest of a score."""
    if record.comparison is None:
        return ""
    scores = [s.detections.worst_score_difference for s in record.comparison.samples if s.detections]
    worst = worst_output(record.comparison.samples)
    figures = [*scores, *([worst.worst_abs] if worst else [])]
    return f"{max(figures):.1e}" if figures else ""


def _show_failure(console: Console, record: StageRecord) -> None:
    console.print()
    console.print(f"[red]{escape(record.id)}:[/] {escape(record.error)}", highlight=False)
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
        colour = {"yes": "green", "no": "red", "not run": "yellow", "proves nothing": "yellow"}[engine.verified]
        table.add_row(
            escape(engine.backend),
            escape(engine.target),
            f"{engine.size / 1e6:.1f} MB",
            escape(dtypes) or str(engine.layers),
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
