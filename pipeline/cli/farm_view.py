"""A farm on the terminal: a live table while it runs, plain lines elsewhere, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from enginesmith.converters.core.printable import printable
from enginesmith.converters.core.records import milliseconds
from enginesmith.pipeline.api.console import escape
from enginesmith.pipeline.farm.cells import Cells
from enginesmith.pipeline.farm.difference import Difference
from enginesmith.pipeline.farm.records import CellRecord, RunRecord, states
from enginesmith.pipeline.farm.run import CellState, Farm
from enginesmith.pipeline.job.contrast import Change, Value

COLOURS = {"good": "green", "warn": "yellow", "bad": "red"}
SIGNS = {"good": "✓", "warn": "○", "bad": "✗"}


class FarmView:
    """Use `watch` around the run."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._lock = Lock()
        self._told: set[str] = set()
        self._started = time.monotonic()
        self._farm: Farm

    @contextmanager
    def watch(self, farm: Farm, cells: Cells, on: str) -> Iterator[None]:
        self._farm = farm
        if self._quiet:
            yield
            return
        shared = sum(len(task.owners) for task in farm.tasks.values())
        self._console.print(
            f"{_cells(len(farm.cells))}, {len(farm.tasks)} stages (for each cell alone: {shared}), on {escape(on)}",
            highlight=False,
        )
        for reason in cells.left_out:
            self._console.print(f"[yellow]left out:[/] {escape(reason)}", highlight=False)
        farm.moved = self._tell
        if self._console.is_terminal:
            with Live(self, console=self._console, refresh_per_second=4, transient=True):
                yield
        else:
            yield
        self._tell()

    def _tell(self) -> None:
        """A line for every cell that was finished since."""
        with self._lock:
            for state in self._farm.states:
                if state.record is not None and state.record.name not in self._told:
                    self._told.add(state.record.name)
                    self._console.print(_line(state.record), highlight=False)

    def __rich__(self) -> RenderableType:
        states = self._farm.states
        running = [state for state in states if state.now]
        done = sum(state.record is not None for state in states)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("cell", "stage", "time", ""):
            table.add_column(column, overflow="ellipsis", no_wrap=True)
        for state in running[: max(self._console.height - 4, 1)]:
            table.add_row(*_row(state))
        bad = sum(state.record is not None and state.record.tone == "bad" for state in states)
        left = self._farm.work_left / max(len({stage for state in running for stage in state.now}), 1)
        line = f"{done} of {len(states)} cells, {bad} failed, {time.monotonic() - self._started:.0f} s; about {left:.0f} s left"
        return Group(table, Text(line, style="dim"))


def _row(state: CellState) -> tuple[str, str, str, str]:
    stages = list(state.now.items())
    if not stages:
        return printable(state.cell.name), "", "", ""
    stage, text = stages[0]
    return (
        printable(state.cell.name),
        printable(stage),
        f"{time.monotonic() - state.begun.get(stage, time.monotonic()):.0f} s",
        printable(text),
    )


def _line(cell: CellRecord) -> str:
    colour = COLOURS[cell.tone]
    latency = milliseconds(cell.latency.engine_ms) if cell.latency else ""
    cause = ": ".join(filter(None, (cell.stage, cell.cause)))
    return (
        f"[{colour}]{SIGNS[cell.tone]}[/] {escape(cell.name):<48} [{colour}]{cell.state:<10}[/] "
        f"[dim]{cell.seconds:6.1f} s, {cell.cached}/{cell.stages} cached[/] {latency} {escape(cause)}"
    ).rstrip()


def show_run(console: Console, run: RunRecord, page: Path) -> None:
    """What a run came to, and where its page is."""
    counts = ", ".join(f"{count} {_said(state)}" for state, count in states(run.cells).items())
    console.print(
        f"\n{_cells(len(run.cells))}: {counts}; {run.built} of {run.tasks} stages were run, in {run.seconds:.1f} s"
        + (f"; {run.crashes} crashes" if run.crashes else ""),
        highlight=False,
    )
    console.print(f"page      {escape(str(page))}", highlight=False, soft_wrap=True)


def _said(state: str) -> str:
    return {"yes": "verified", "no": "wrong", "not run": "built and not run"}.get(state, state)


def show_difference(console: Console, found: Difference) -> None:
    """Cells that got worse first."""
    console.print(f"[bold]A[/] {escape(found.a)}\n[bold]B[/] {escape(found.b)}", highlight=False)
    for tool in found.tools:
        console.print(
            f"version of {escape(tool.what)}: {escape(str(tool.before))} → {escape(str(tool.after))}", highlight=False
        )
    worse = [cell for cell in found.cells if any(change.matters for change in cell.changes)]
    for cell in [*worse, *(cell for cell in found.cells if cell not in worse)]:
        console.print(f"[bold]{escape(cell.cell)}[/]", highlight=False)
        for change in cell.changes:
            text = f"{escape(change.what)}: {_value(change, change.before)} → {_value(change, change.after)} {escape(change.note)}"
            console.print(f"  [red]✗[/] {text}" if change.matters else f"    {text}", highlight=False)
    if found.noise:
        console.print(f"[dim]{found.noise} latencies moved within the noise[/]", highlight=False)
    console.print("[red]worse[/]" if worse else "[green]nothing got worse[/]", highlight=False)


def _value(change: Change, value: Value) -> str:
    if value is None:
        return "-"
    return escape(milliseconds(value) if change.what == "latency" and isinstance(value, float) else str(value))


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
