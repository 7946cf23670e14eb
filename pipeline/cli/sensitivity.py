"""`enginesmith sensitivity`: what each layer alone loses in a lower precision, ranked, as a table and as a page."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.table import Table

from enginesmith.converters.core.records import SensitivityRecord
from enginesmith.pipeline.api.console import escape, open_console, print_json
from enginesmith.pipeline.api.progress import Progress
from enginesmith.pipeline.api.result import BuildError
from enginesmith.pipeline.api.sensitivity import DEFAULTS, measure
from enginesmith.pipeline.job.recipe import make_recipe
from enginesmith.pipeline.job.store import Store

SHOWN = 40
"""Rows of the table on the terminal; the page has all."""


def run(flags: dict[str, Any], store: str | None, *, as_json: bool) -> int:
    """Measure, show, and return the exit status: 0 measured, 1 it failed, 3 a bug of ours. Raises UserError."""
    recipe = make_recipe({**DEFAULTS, **flags})
    console = open_console(stderr=as_json)
    try:
        with Progress(console, quiet=as_json) as progress:
            found = measure(recipe, Store(store), progress)
    except BuildError as failed:
        console.print(f"[red]{escape(failed.stage)}:[/] {escape(failed.cause)}", highlight=False, soft_wrap=True)
        if failed.remedy:
            console.print(f"  [green]remedy:[/] {escape(failed.remedy)}", highlight=False, soft_wrap=True)
        return 3 if failed.bug else 1
    if as_json:
        print_json(found.record.model_dump_json(indent=1))
    else:
        show(console, found.record)
        console.print(f"report    {escape(str(found.report))}", highlight=False, soft_wrap=True)
    return 0


def show(console: Console, record: SensitivityRecord) -> None:
    """The ranked layers, and what is not among them."""
    console.print(
        f"\n[bold]{record.metric}[/] {record.baseline:.4f} in float32 on {record.examples} examples of "
        f"{escape(record.data)}; each layer alone in {record.precision}:",
        highlight=False,
    )
    if record.weak:
        console.print("[yellow]weak:[/] no labels, agreement with the float32 graph's own answers", highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", justify="right")
    table.add_column("layer", overflow="fold")
    table.add_column("operator")
    for column in ("loss", "outputs change", f"saves on {record.target} ≈"):
        table.add_column(column, justify="right")
    for number, layer in enumerate(record.layers[:SHOWN], 1):
        saved = "" if layer.saved is None else f"{1e3 * layer.saved:.3g} µs"
        table.add_row(
            str(number),
            escape(layer.node),
            escape(layer.op),
            f"{round(layer.loss, 4) + 0.0:+.4f}",
            _share(layer.error),
            saved,
        )
    console.print(table)
    if len(record.layers) > SHOWN:
        console.print(f"and {len(record.layers) - SHOWN} layers that lose less, in the report")
    if record.left:
        console.print(
            f"[yellow]time ran out:[/] {len(record.left)} layers that save less are not among them; give more --time",
            highlight=False,
        )
    if record.barred:
        console.print(f"{len(record.barred)} layers can't be lowered, for reasons that the report gives")


def _share(error: float) -> str:
    return f"{100 * error:.2g}%" if math.isfinite(error) else "NaN"
