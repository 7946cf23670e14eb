"""A finished build, read back: its manifest, and what the store still has of its artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from enginesmith.converters.backends import get_backend
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.stages.export import ORIGINAL
from enginesmith.pipeline.job.manifest import Manifest, StageRecord
from enginesmith.pipeline.job.store import Store

TORCH = "torch"
"""Name of the side before the export."""


@dataclass(frozen=True)
class Side:
    """One form of the model. `folder` is its artifact; `record` the stage that made it, or exported it from PyTorch."""

    name: str
    record: StageRecord = field(compare=False)
    folder: Path = field(compare=False)
    is_engine: bool = False


@dataclass
class Run:
    """A build's output folder, with what the store still has of it."""

    folder: Path
    manifest: Manifest
    store: Store
    _found: set[str] = field(default_factory=set)
    """Keys of artifacts that were looked up: each time reads and hashes all of their files."""

    @classmethod
    def open(cls, folder: Path, store: Store) -> Run:
        """Raises UserError where it is no build's folder."""
        return cls(folder, Manifest.read(folder), store)

    def artifact(self, record: StageRecord) -> Path:
        """The folder of a stage's files. Raises UserError where the store has them no more."""
        if record.key not in self._found and self.store.lookup(record.key) is None:
            raise UserError(
                f"the artifact of {record.id} is not in the store {self.store.root} any more; build again: "
                f"enginesmith {' '.join(self.manifest.command[1:])}"
            )
        self._found.add(record.key)
        return self.store.files(record.key)

    def record(self, id: str) -> StageRecord:
        return next(record for record in self.manifest.stages if record.id == id)

    def has_graph(self, record: StageRecord) -> bool:
        return record.made and record.id != ORIGINAL and (self.artifact(record) / MODEL).is_file()

    def chains(self) -> list[list[Side]]:
        """The forms of the model from PyTorch to each engine that runs here, in order."""
        graphs = {record.id: Side(graph_name(record), record, self.artifact(record)) for record in self._with_graphs()}
        if not graphs:
            raise UserError(f"{self.folder} holds no graph: its build failed before the export was done")
        first = next(iter(graphs.values()))
        trunk = [Side(TORCH, first.record, first.folder)] if first.record.stage == "export" else []
        trunk += [side for side in graphs.values() if not side.record.backend]
        branches: dict[tuple[str, str], list[Side]] = {}
        for record in self.manifest.stages:
            if record.backend and record.id in graphs:  # repaired for that backend
                branches.setdefault((record.backend, record.target), []).append(graphs[record.id])
            if record.stage == "compile" and record.made and _can_be_looked_into(record):
                side = Side(record.id, record, self.artifact(record), is_engine=True)
                branches.setdefault((record.backend, record.target), []).append(side)
        return [[*trunk, *branch] for branch in branches.values()] or [trunk]

    def _with_graphs(self) -> Iterator[StageRecord]:
        return (record for record in self.manifest.stages if self.has_graph(record))

    def samples(self) -> Path:
        return self.artifact(next(record for record in self.manifest.stages if record.id in ("export", "import")))

    def graph_of(self, side: Side) -> Path:
        """The ONNX file of a side: of an engine, the one that it was compiled from."""
        if not side.is_engine:
            return side.folder / MODEL
        for record in (side.record, self.record(side.record.needs["model"])):
            if self.has_graph(record):
                return self.artifact(record) / MODEL
        raise UserError(f"{side.name} has no graph in the store {self.store.root}")


def graph_name(record: StageRecord) -> str:
    """What the graph that a stage left is called: that of a compilation was repaired for it."""
    return f"repaired for {record.backend} {record.target}" if record.stage == "compile" else record.id


def _can_be_looked_into(record: StageRecord) -> bool:
    """Tensors within an engine are seen in engines of parts of its graph, which are built and run here by the dozen."""
    backend = get_backend(record.backend)
    return not backend.gpu and backend.runnable(record.target) is None
