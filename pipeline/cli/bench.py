"""What `enginesmith bench` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import written
from enginesmith.converters.core.records import milliseconds
from enginesmith.converters.core.timing import Spread
from enginesmith.pipeline.api.console import escape, open_console, print_json
from enginesmith.pipeline.job import serve

MOST = 64
"""Processes side by side."""


def run_bench(place: Path, *, concurrency: str, as_json: bool, **options: Any) -> int:
    """Measure, show, and return the exit status. Raises UserError, ConversionError."""
    found = serve.bench(place, concurrency=_levels(concurrency), **options)
    if as_json:
        print_json(found.model_dump_json(indent=1))
    else:
        show(open_console(), found)
    return 0


def _levels(text: str) -> list[int]:
    words = [word for word in text.replace(" ", ",").split(",") if word]
    if not words or not all(word.isdecimal() and 1 <= int(word) <= MOST for word in words):
        raise UserError(f"--concurrency is {text!r}; give numbers of 1 to {MOST}, such as 1,2,4")
    return list(dict.fromkeys(map(int, words)))


def show(console: Console, found: serve.Bench) -> None:
    start = found.start
    console.print(
        f"[bold]{escape(found.backend)} {escape(found.target)}[/] {escape(found.engine)}\n"
        f"[dim]{escape(written(start.shapes))}, {found.threads} threads[/]",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"\ncold start   {milliseconds(start.cold_load_ms)} to load, {milliseconds(start.cold_first_ms)} to the first answer\n"
        f"warm start   {milliseconds(start.warm_load_ms)} to load, {milliseconds(start.warm_first_ms)} to the first answer\n"
        f"memory       {start.loaded_mb:.0f} MB, {start.before_mb:.0f} MB of them before anything was loaded\n",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("latency in ms", "runs", "mean", "p50", "p90", "p99", "inputs/s"):
        table.add_column(column, justify="left" if column == "latency in ms" else "right")
    if found.against is not None:
        table.add_row("in turn: engine", *_figures(found.against.engine), "")
        table.add_row("in turn: ONNX Runtime", *_figures(found.against.onnxruntime), "")
    for level in found.levels:
        what = f"{level.concurrency} at once, {level.threads} threads each"
        table.add_row(what, *_figures(level.latency), f"{level.per_second:.4g}")
    console.print(table)
    if (against := found.against) is not None:
        console.print(
            f"\n{against.ratio:.3g} of ONNX Runtime's time, {against.ratio_low:.3g} to {against.ratio_high:.3g} in 80% of the pairs",
            highlight=False,
        )
    for note in found.notes:
        console.print(f"[yellow]note:[/] {escape(note)}", highlight=False)
    if max(found.load_before, found.load_after) > found.threads + 1:
        console.print(f"[yellow]note:[/] a busy machine: load {max(found.load_before, found.load_after):.1f}")


def _figures(spread: Spread) -> list[str]:
    return [str(spread.runs), *(f"{value:.4g}" for value in (spread.mean, spread.p50, spread.p90, spread.p99))]
