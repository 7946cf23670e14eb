"""What differs between two runs of a farm, beyond the noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, computed_field

from enginesmith.pipeline.farm.records import TONES, CellRecord, RunRecord
from enginesmith.pipeline.job.compare_records import reliable
from enginesmith.pipeline.job.contrast import Change, Value, changes

RANK = {"good": 0, "warn": 1, "bad": 2}
LOWER = ("float16", "bfloat16", "int8", "uint8", "fp16", "bf16", "half")
"""Dtypes whose number of layers says how low an engine's precision is."""


class CellChange(BaseModel):
    """What changed of a cell; `matters` of a change says that it got worse by it."""

    cell: str
    folder: str = ""
    changes: list[Change]


class Difference(BaseModel):
    """Only what differs is listed."""

    a: str
    b: str
    """Ids of the runs."""
    tools: list[Change] = []
    """Versions."""
    cells: list[CellChange] = []
    noise: int = 0
    """Latencies that moved within the noise, and aren't listed."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def worse(self) -> bool:
        return any(change.matters for cell in self.cells for change in cell.changes)


def difference(a: RunRecord, b: RunRecord) -> Difference:
    """Of run `b` to the earlier run `a`. A cell that wasn't finished says nothing."""
    before = {cell.name: cell for cell in a.cells}
    found = Difference(a=a.id, b=b.id, tools=changes(_tools(a), _tools(b)))
    elsewhere = a.machine.model_copy(update={"memory_gb": 0}) != b.machine.model_copy(update={"memory_gb": 0})
    for cell in b.cells:
        old = before.pop(cell.name, None)
        if old is None:
            told = [Change(what="cell", after="new")]
        elif "unfinished" in (old.state, cell.state):
            told = []
        else:
            every = list(_changes(old, cell, elsewhere))
            told = [change for change in every if not change.note.startswith("within the noise")]
            found.noise += len(every) - len(told)
        if told:
            found.cells.append(CellChange(cell=cell.name, folder=cell.folder, changes=told))
    found.cells += [
        CellChange(cell=name, changes=[Change(what="cell", before="there", after="gone")]) for name in before
    ]
    return found


def _tools(run: RunRecord) -> Mapping[str, Value]:
    versions: dict[str, set[str]] = {"enginesmith": {run.enginesmith}}
    for cell in run.cells:
        for tool, version in cell.tools.items():
            versions.setdefault(tool, set()).add(str(version))
    return {tool: ", ".join(sorted(seen)) for tool, seen in versions.items()}


def _changes(a: CellRecord, b: CellRecord, elsewhere: bool) -> Iterator[Change]:
    if a.state != b.state:
        worse = RANK[TONES[b.state]] > RANK[TONES[a.state]]
        yield Change(what="verified", before=a.state, after=b.state, matters=worse, note=b.cause)
    for change in changes(a.accuracy, b.accuracy):
        lost = isinstance(change.before, float) and isinstance(change.after, float) and change.after < change.before
        yield change.model_copy(update={"what": f"accuracy: {change.what}", "matters": lost})
    if a.latency and b.latency and a.latency != b.latency:
        note = reliable(a.latency, b.latency, elsewhere)
        slower = b.latency.engine_ms > a.latency.engine_ms
        yield Change(
            what="latency",
            before=a.latency.engine_ms,
            after=b.latency.engine_ms,
            matters=slower and not note,
            note=note,
        )
    if a.size != b.size and a.size is not None and b.size is not None:
        yield Change(what="size", before=a.size, after=b.size)
    for change in changes(a.layers, b.layers):
        fewer = isinstance(change.before, int) and (not isinstance(change.after, int) or change.after < change.before)
        lower = change.what.lower() in LOWER
        yield change.model_copy(update={"what": f"layers: {change.what}", "matters": lower and fewer})
