"""What `enginesmith compare` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from enginesmith.converters.bisect.sides import Node
from enginesmith.converters.core.comparisons import Comparison
from enginesmith.converters.core.records import milliseconds
from enginesmith.converters.graphs.comparison import worst_figures
from enginesmith.converters.graphs.self_checks import told
from enginesmith.pipeline.api.compare import compare
from enginesmith.pipeline.api.console import escape, open_console, print_json
from enginesmith.pipeline.api.progress import Progress
from enginesmith.pipeline.job.contrast import Change, Contrast, Value

SHOWN = 20
"""Rows of one heading, and nodes; `--json` has all."""
COLOURS = {"pass": "green", "fail": "red", "differs": "yellow", "not run": "yellow", "proves nothing": "yellow"}


def run_compare(
    a: Path, b: Path, *, run: bool, shape: str | None, timeout: float, trust: bool, store: str | None, as_json: bool
) -> int:
    """Compare, show, and return the exit status: 0 nothing that matters differs, 1 it does. Raises UserError."""
    console = open_console(stderr=as_json)
    with Progress(console, quiet=as_json or not console.is_terminal) as progress:
        contrast = compare(a, b, run=run, shape=shape, timeout=timeout, trust=trust, store=store, progress=progress)
    if as_json:
        print_json(contrast.model_dump_json(indent=1))
    else:
        show(console, contrast)
    return 1 if contrast.differs else 0


def show(console: Console, contrast: Contrast) -> None:
    """What differs, under its headings; a heading without differences is left out."""
    for name, path in (("A", contrast.a), ("B", contrast.b)):
        console.print(f"[bold]{name}[/] {escape(path)}", highlight=False, soft_wrap=True)
    if contrast.outputs:
        console.print("\n[bold]outputs[/]")
        for each in contrast.outputs:
            _outputs(console, each)
    for heading, changes in (
        ("inputs and outputs", contrast.interface),
        ("verdicts", contrast.verdicts),
        ("precision", contrast.precision),
        ("accuracy", contrast.accuracy),
        ("operators", contrast.operators),
    ):
        _changes(console, heading, changes)
    for name, nodes in (("A", contrast.nodes_a), ("B", contrast.nodes_b)):
        _nodes(console, name, nodes)
    for heading, changes in (
        ("size", contrast.sizes),
        ("latency", contrast.latencies),
        ("versions", contrast.tools),
        ("findings and repairs", contrast.findings),
        ("recipe", contrast.recipe),
        ("machine", contrast.machine),
    ):
        _changes(console, heading, changes)
    console.print()
    for note in contrast.notes:
        console.print(f"[yellow]note:[/] {escape(note)}", highlight=False)
    verdict = "[red]they differ in what matters[/]" if contrast.differs else "[green]nothing that matters differs[/]"
    console.print(f"{verdict} [dim](outputs, inputs and outputs, verdicts, precision)[/]", highlight=False)


def _outputs(console: Console, each: Comparison) -> None:
    figures = "; ".join(filter(None, (each.reason, worst_figures(each.samples), told(each.consistency))))
    colour = COLOURS[each.verdict]
    console.print(
        f"  [{colour}]{each.verdict}[/] {escape(each.expected)}, {escape(each.found)}: {escape(figures)}",
        highlight=False,
    )


def _changes(console: Console, heading: str, changes: Sequence[Change]) -> None:
    if not changes:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (heading, "A", "B", ""):
        table.add_column(column, overflow="fold")
    for change in changes[:SHOWN]:
        sides = [_shown(heading, each) for each in (change.before, change.after)]
        what = f"[red]{escape(change.what)}[/]" if change.matters else escape(change.what)
        table.add_row(what, *map(escape, sides), escape("; ".join(filter(None, (_ratio(change), change.note)))))
    console.print()
    console.print(table)
    if len(changes) > SHOWN:
        console.print(f"and {len(changes) - SHOWN} more, with --json")


def _shown(heading: str, value: Value) -> str:
    if value is None:
        return "-"
    if heading == "size" and isinstance(value, int):
        return f"{value / 1e6:.3f} MB"
    return milliseconds(value) if heading == "latency" and isinstance(value, float) else str(value)


def _ratio(change: Change) -> str:
    """Of figures, how much more or less B has."""
    before, after = change.before, change.after
    if not isinstance(before, int | float) or not isinstance(after, int | float) or not before:
        return ""
    return f"{after / before - 1:+.0%}"


def _nodes(console: Console, name: str, nodes: Sequence[Node]) -> None:
    if not nodes:
        return
    counts = ", ".join(f"{count} {op}" for op, count in Counter(node.op for node in nodes).most_common())
    console.print(f"\n[bold]nodes that only {name} has[/]: {escape(counts)}", highlight=False)
    for node in nodes[:SHOWN]:
        console.print(f"  {escape(node.op)} [dim]{escape(node.name)}[/]", highlight=False)
    if len(nodes) > SHOWN:
        console.print(f"  and {len(nodes) - SHOWN} more, with --json")
