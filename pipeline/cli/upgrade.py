"""What `enginesmith compare MODEL --for A,B` shows: what the second version does to the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from enginesmith.pipeline.api.console import escape, open_console, print_json
from enginesmith.pipeline.api.upgrade import upgrade
from enginesmith.pipeline.job.upgrade import ORDER, Effected, Upgrade

NAMES_SHOWN = 4
"""Of nodes with the same effect."""
COLOURS = {"breaks": "red", "unknown": "yellow", "warns": "yellow", "stays": "dim", "mends": "green"}


def run_upgrade(model: Path, versions: str, *, shape: str | None, timeout: float, as_json: bool) -> int:
    """Ask, show, and return the exit status: 0 nothing breaks, 1 something does. Raises UserError."""
    found = upgrade(model, versions, shape=shape, timeout=timeout)
    if as_json:
        print_json(found.model_dump_json(indent=1))
    else:
        show(open_console(), found)
    return 1 if found.breaks else 0


def show(console: Console, found: Upgrade) -> None:
    console.print(
        f"[bold]{escape(found.model)}[/], {found.nodes} nodes: from {escape(found.before)} to {escape(found.after)}",
        highlight=False,
        soft_wrap=True,
    )
    for note in found.notes:
        console.print(f"[yellow]note:[/] {escape(note)}", highlight=False)
    if found.operators:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("operator", *ORDER):
            table.add_column(column)
        for counted in found.operators:
            table.add_row(escape(counted.op), *(str(getattr(counted, effect) or "-") for effect in ORDER))
        console.print(table)
    for group in _alike(found.effects):
        _group(console, group)
    quiet = "[yellow]nothing breaks that is known[/]" if found.unknown else "[green]nothing breaks[/]"
    verdict = "[red]something breaks[/]" if found.breaks else quiet
    console.print(
        f"{verdict} [dim]by the rules and reports that are known; neither version was asked[/]", highlight=False
    )


def _group(console: Console, group: Sequence[Effected]) -> None:
    first = group[0]
    names = [escape(each.node) for each in group if each.node]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    rule = f" [dim](rule {escape(first.rule)})[/]" if first.rule else ""
    nodes = ", ".join(names[:NAMES_SHOWN])
    console.print(
        f"  [{COLOURS[first.effect]}]{first.effect}[/] [bold]{escape(first.op or 'the model')}[/] {nodes}{more}{rule}",
        highlight=False,
    )
    console.print(f"    {escape(first.message)}", highlight=False)
    if first.remedy and first.effect != "mends":
        console.print(f"    [green]remedy:[/] {escape(first.remedy)}", highlight=False)
    if first.repair_id and first.effect != "mends":
        console.print(f"    [green]enginesmith doctor --fix repairs it:[/] {first.repair_id}", highlight=False)


def _alike(effects: Sequence[Effected]) -> list[list[Effected]]:
    groups: dict[tuple[str, ...], list[Effected]] = {}
    for each in effects:
        groups.setdefault((each.effect, each.op, each.message), []).append(each)
    return list(groups.values())
