"""What `enginesmith inspect` shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from enginesmith.pipeline.api.console import escape, open_console, print_json
from enginesmith.pipeline.job import serve


def run_inspect(place: Path, *, backend: str, timeout: float, as_json: bool) -> int:
    """Read, show, and return the exit status. Raises UserError, ConversionError."""
    found = serve.inspect(place, backend=backend, timeout=timeout)
    if as_json:
        print_json(json.dumps([each.model_dump() for each in found], indent=1))
        return 0
    console = open_console()
    for each in found:
        name = f"{each.backend} {each.target}".strip()
        console.print(f"[bold]{escape(name)}[/] {escape(each.engine)}", highlight=False, soft_wrap=True)
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        for key, value in _rows(each):
            table.add_row(f"  {escape(key)}", escape(value))
        console.print(table)
        for note in each.notes:
            console.print(f"  [yellow]note:[/] {escape(note)}", highlight=False)
    return 0


def _rows(each: serve.Inspection) -> Iterator[tuple[str, str]]:
    yield "size", f"{each.size / 1e6:.3f} MB"
    yield "SHA-256", each.sha256
    yield "runs here", each.runs_here
    yield from each.contents.items()
    if each.model:
        yield "built from", f"{each.model} in {each.precision}"
    if each.verified:
        yield "verified", each.verified
    if each.layers_by_dtype:
        yield "layers", ", ".join(f"{count} {dtype}" for dtype, count in each.layers_by_dtype.items())
    for key, value in each.details.items():
        if key not in each.contents and key != "layers":  # how they were counted
            yield key, value
