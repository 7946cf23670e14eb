"""`enginesmith bisect --diverges`: the first tensor at which two stages of a build differ, and what makes an engine agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from enginesmith.converters.bisect.divergence import MOST, Divergence, Layer
from enginesmith.pipeline.api.bisect import bisect
from enginesmith.pipeline.api.console import escape, open_console, print_json
from enginesmith.pipeline.report.error_path import summary

SHOWN = 8


def run_diverges(
    folder: Path,
    stages: str | None,
    *,
    timeout: float,
    seconds: float | None,
    out: Path | None,
    store: str | None,
    as_json: bool,
) -> int:
    """Compare, write and show; the exit status: 0 a divergence was found, 1 nothing differs."""
    target = out or folder
    console = open_console(stderr=as_json)
    with console.status("comparing") as status:
        compared = bisect(
            folder,
            stages=stages,
            timeout=timeout,
            time=seconds,
            out=target,
            store=store,
            progress=lambda event: status.update(escape(event.text)),
        )
    if as_json:
        print_json(json.dumps([summary(divergence) for divergence in compared], indent=1))
    else:
        for divergence in compared:
            show(console, divergence)
        console.print(f"[bold]plot[/] {escape(str(target / 'divergence.html'))}", highlight=False, soft_wrap=True)
    return 0 if any(divergence.first is not None for divergence in compared) else 1


def show(console: Console, divergence: Divergence) -> None:
    """The first layers that differ; origins first, for they are what to look at."""
    title = f"{divergence.expected} against {divergence.found}"
    first = divergence.first
    if not divergence.layers:
        console.print(f"[yellow]not compared[/] {escape(title)}", highlight=False)
    elif first is None:
        console.print(f"[green]agree[/] {escape(title)}: {len(divergence.layers)} tensors", highlight=False)
    else:
        console.print(f"[red]differ[/] {escape(title)}, first at [bold]{escape(first.node)}[/]", highlight=False)
        console.print(_table([layer for layer in divergence.layers if layer.differs]))
    if divergence.unmatched:
        some = ", ".join(divergence.unmatched[:SHOWN]) + (", …" if len(divergence.unmatched) > SHOWN else "")
        console.print(f"  without a counterpart: {len(divergence.unmatched)} ({escape(some)})", highlight=False)
    for note in divergence.notes[:SHOWN]:
        console.print(f"  {escape(note)}", highlight=False)
    if divergence.trials:
        _show_trials(console, divergence)


def _show_trials(console: Console, divergence: Divergence) -> None:
    """What was tried to make the engine agree, the last ones, and how to build it so."""
    left = len(divergence.trials) - SHOWN
    for trial in divergence.trials[-SHOWN:]:
        verdict = trial.reason if trial.excess is None else f"{trial.excess:.3g} times what is allowed"
        colour = "green" if trial.excess is not None and trial.excess <= 1 else "dim"
        console.print(f"  [{colour}]{escape(trial.change or 'no change')}: {escape(verdict)}[/]", highlight=False)
    if left > 0:
        console.print(f"  and {left} before these, in divergence.json")
    if divergence.workaround:
        told = ", ".join(f"{key}: {value}" for key, value in divergence.workaround.items())
        console.print(f"[green]it agrees with[/] {escape(told)}", highlight=False, soft_wrap=True)
        console.print(f"[bold]build[/] {escape(divergence.command)}", highlight=False, soft_wrap=True)
    else:
        console.print("[yellow]nothing that was tried makes it agree[/]", highlight=False)


def _table(differing: Sequence[Layer]) -> Table:
    ordered = sorted(differing, key=lambda layer: (not layer.origin, layer.place))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("node", "op", "tensor", "expected", "difference", "scale", "times allowed", ""):
        table.add_column(column, overflow="fold")
    for layer in ordered[:SHOWN]:
        table.add_row(
            escape(layer.node),
            escape(layer.op),
            escape(layer.tensor),
            escape(layer.expected) if layer.expected != layer.tensor else "",
            f"{layer.max_abs:.2e}",
            f"{layer.scale:.2e}",
            "unbounded" if layer.excess >= MOST else f"{layer.excess:.3g}",
            "starts here" if layer.origin else "",
        )
    return table
