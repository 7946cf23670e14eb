"""What a run of a farm leaves: `runs/ID.json` in its folder, from which the page and all comparisons are made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.facts import JudgedFacts
from enginesmith.converters.core.names import unknown
from enginesmith.converters.core.records import Latency
from enginesmith.pipeline.job.compare_records import accuracy, tools
from enginesmith.pipeline.job.contrast import Value
from enginesmith.pipeline.job.manifest import MachineRecord, Manifest

RUNS = "runs"
"""Folder of the records, in the farm's."""
LAST, EARLIER = "last", "previous"
"""What a run may be called instead of by its id."""

State = Literal["yes", "no", "not run", "proves nothing", "failed", "unfinished"]
"""Of a cell: as its engine is verified, or that there is none."""
Tone = Literal["good", "warn", "bad"]
TONES: dict[State, Tone] = {
    "yes": "good",
    "no": "bad",
    "failed": "bad",
    "not run": "warn",
    "proves nothing": "warn",
    "unfinished": "warn",
}


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CellRecord(_Record):
    """A cell, and what became of it."""

    name: str
    model: str
    backend: str
    target: str
    precision: str
    shape: str
    state: State
    cause: str = ""
    """Why it isn't verified, in one line."""
    stage: str = ""
    """The stage that failed."""
    folder: str
    """Of its results, relative to the farm's; `report.html` lies in it once it is finished."""
    seconds: float = 0.0
    """Of the work that its stages took, whenever that was."""
    stages: int = 0
    cached: int = 0
    """Stages that this run took from the store, or from another cell."""
    size: int | None = None
    sha256: str = ""
    layers: dict[str, int] = {}
    """Number of the engine's layers by dtype."""
    accuracy: dict[str, Value] = {}
    """By metric and data."""
    exact: float | None = None
    """The same of the float32 graph that it was lowered from."""
    latency: Latency | None = None
    tools: dict[str, Value] = {}
    keys: list[str] = []
    """Of its artifacts in the store."""

    @property
    def tone(self) -> Tone:
        return TONES[self.state]


class RunRecord(_Record):
    """A run of a farm."""

    id: str
    """The time at which it began, UTC."""
    matrix: str
    command: list[str]
    enginesmith: str
    machine: MachineRecord
    on: str
    """What its stages ran on."""
    seconds: float
    stopped: str = ""
    """Why it ended before all cells were finished."""
    tasks: int
    """Stages, those that cells share counted once."""
    built: int
    """Tasks that a process did; the others came from the store, or could not run."""
    crashes: int = 0
    """Of stages' processes, or of their nodes."""
    cells: list[CellRecord]

    @property
    def passed(self) -> bool:
        return all(cell.state not in ("no", "failed", "unfinished") for cell in self.cells)

    def write(self, farm: Path) -> None:
        """Write atomically into the farm's folder."""
        path = farm / RUNS / f"{self.id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(self.model_dump_json(exclude_defaults=True) + "\n")
        temporary.replace(path)


def cell_record(manifest: Manifest, axes: dict[str, str], name: str, folder: str) -> CellRecord:
    """Of a cell whose build is finished."""
    engine = manifest.engines[0] if manifest.engines else None
    failed = next((stage for stage in manifest.stages if stage.status == "failed"), None)
    state: State = "failed" if failed or engine is None else engine.verified
    if failed is not None and failed.stage == "compare" and engine is not None:
        state = engine.verified
    cause = failed.error if failed else engine.verified_reason if engine and state != "yes" else ""
    exact = next((facts.accuracy.before for _, facts in manifest.told(JudgedFacts) if facts.accuracy), None)
    return CellRecord(
        model=axes["model"],
        backend=axes["backend"],
        target=axes["target"],
        precision=axes["precision"],
        shape=axes["shape"],
        name=name,
        state=state,
        cause=" ".join(cause.split())[:500],
        stage=failed.id if failed else "",
        folder=folder,
        seconds=round(sum(stage.seconds for stage in manifest.stages), 2),
        stages=len(manifest.stages),
        cached=sum(stage.status == "cached" for stage in manifest.stages),
        size=engine.size if engine else None,
        sha256=engine.sha256 if engine else "",
        layers=engine.layers_by_dtype if engine else {},
        accuracy=accuracy(manifest),
        exact=exact,
        latency=engine.latency if engine else None,
        tools=tools(manifest),
        keys=[stage.key for stage in manifest.stages if stage.key],
    )


def read_runs(farm: Path, most: int | None = None) -> list[RunRecord]:
    """The last ones, oldest first. Raises UserError for one that can't be read."""
    paths = sorted((farm / RUNS).glob("*.json"))
    return [_read(path) for path in (paths if most is None else paths[-most:])]


def find_run(farm: Path, name: str) -> RunRecord:
    """By its id, the start of it, `last`, `previous`, or the path of its record. Raises UserError."""
    if Path(name).is_file():
        return _read(Path(name))
    ids = sorted(path.stem for path in (farm / RUNS).glob("*.json"))
    if not ids:
        raise UserError(f"{farm} holds no run of a farm; give its folder with --out")
    if name in (LAST, EARLIER):
        place = -1 if name == LAST else -2
        if len(ids) < -place:
            raise UserError(f"{farm} holds one run; there is no {EARLIER} one")
        return _read(farm / RUNS / f"{ids[place]}.json")
    found = [id for id in ids if id.startswith(name)]
    if len(found) != 1:
        raise unknown(f"run of {farm}", name, [LAST, EARLIER, *reversed(ids)])
    return _read(farm / RUNS / f"{found[0]}.json")


def _read(path: Path) -> RunRecord:
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path} is no run of this version: {where}: {first['msg']}") from None


def states(cells: Sequence[CellRecord]) -> dict[State, int]:
    """How many cells came to what, in the order of `TONES`."""
    counts = {state: sum(cell.state == state for cell in cells) for state in TONES}
    return {state: count for state, count in counts.items() if count}
