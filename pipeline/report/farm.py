"""`farm.html`: the matrix of a farm's last run, and what changed since the earlier ones. Works from a folder, offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from enginesmith.converters.core.recipe import FP32
from enginesmith.pipeline.farm.difference import difference
from enginesmith.pipeline.farm.records import CellRecord, RunRecord, states
from enginesmith.pipeline.job.contrast import Change
from enginesmith.pipeline.report import text
from enginesmith.pipeline.report.page import environment, raw, script_json, write_page

CAUSE = 300
"""Signs of a cause that the page holds; the cell's own report has all of it."""


def render_farm(runs: Sequence[RunRecord]) -> str:
    """The whole page, of runs in the order of time; at least one. The matrix is that of the last."""
    last = runs[-1]
    bad = sum(cell.tone == "bad" for cell in last.cells)
    good = sum(cell.tone == "good" for cell in last.cells)
    tone = "bad" if bad else "good" if good == len(last.cells) else "warn"
    return (
        environment()
        .get_template("farm.html")
        .render(
            run=last,
            tone=tone,
            headline=f"{text.counted(bad, 'cell')} of {len(last.cells)} failed"
            if bad
            else f"{good} of {len(last.cells)} cells verified",
            states=states(last.cells),
            style=raw("style.css"),
            plotly="",
            data=script_json(_data(runs)),
        )
    )


def write_farm(runs: Sequence[RunRecord], path: Path) -> None:
    """Render into a file."""
    write_page(render_farm(runs), path)


def _data(runs: Sequence[RunRecord]) -> dict[str, Any]:
    last = runs[-1]
    trends: dict[str, list[list[object]]] = {cell.name: [] for cell in last.cells}
    for number, run in enumerate(runs):
        for cell in run.cells:
            if cell.name in trends and cell.state != "unfinished":
                trends[cell.name].append([number, cell.tone, cell.latency.engine_ms if cell.latency else None])
    exact = {(cell.model, cell.shape): cell.exact for cell in last.cells if cell.exact is not None}
    return {
        "runs": [{"id": run.id, "on": run.on} for run in runs],
        "cells": [_cell(cell, trends[cell.name], exact) for cell in last.cells],
        "since": [_since(run, last) for run in runs[:-1]],
    }


def _cell(cell: CellRecord, trend: list[list[object]], exact: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    """`exact` is the accuracy of a model in float32, as its lower precisions were held against it."""
    metric, accuracy = next(iter(cell.accuracy.items()), ("", None))
    if accuracy is None and cell.precision == FP32:
        accuracy = exact.get((cell.model, cell.shape))
    known = {
        "name": cell.name,
        "row": " ".join(filter(None, (cell.model, cell.shape))),
        "column": f"{cell.backend} {cell.target} {cell.precision}",
        "precision": cell.precision,
        "state": cell.state,
        "tone": cell.tone,
        "cause": ": ".join(filter(None, (cell.stage, cell.cause)))[:CAUSE],
        "href": "" if cell.state == "unfinished" else f"{cell.folder}/report.html",
        "ms": cell.latency.engine_ms if cell.latency else None,
        "size": text.size(cell.size) if cell.size is not None else "",
        "metric": metric,
        "accuracy": accuracy,
        "seconds": text.seconds(cell.seconds),
        "cached": f"{cell.cached} of {cell.stages}",
        "layers": ", ".join(f"{count} {dtype}" for dtype, count in cell.layers.items()),
        "trend": trend if len(trend) > 1 else [],
    }
    return {key: value for key, value in known.items() if value not in (None, "", [])}


def _since(run: RunRecord, last: RunRecord) -> dict[str, Any]:
    found = difference(run, last)
    return {
        "tools": [_told(change) for change in found.tools],
        "cells": [
            {"name": cell.cell, "changes": [[change.matters, _told(change)] for change in cell.changes]}
            for cell in found.cells
        ],
        "noise": found.noise,
    }


def _told(change: Change) -> str:
    before, after = (
        text.milliseconds(each)
        if change.what == "latency" and isinstance(each, float)
        else text.size(each)
        if change.what == "size" and isinstance(each, int)
        else text.NOTHING
        if each is None
        else str(each)
        for each in (change.before, change.after)
    )
    note = f" ({change.note[:CAUSE]})" if change.note else ""
    return f"{change.what}: {before} → {after}{note}"
