"""`manifest.json`: the one record from model to engine. Stable and versioned; the report is drawn from it alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from enginesmith.converters.core.comparisons import Comparison
from enginesmith.converters.core.engine_layers import Layer, Profile
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.facts import ComparedFacts
from enginesmith.converters.core.records import Latency, TensorInfo, Verified, Weights
from enginesmith.converters.core.samples import Pixels
from enginesmith.converters.core.trees import Signature
from enginesmith.pipeline.job.told import FactsT, Told

SCHEMA_VERSION = 2
"""Raised when a field changes its meaning or goes; a new field does not raise it."""

MANIFEST = "manifest.json"
"""Its name in the output folder."""

Status = Literal["built", "cached", "failed", "skipped", "not run"]
"""`skipped`: a stage that it needs failed. `not run`: this machine can't, for the reason in `error`."""

PASSED: tuple[Status, ...] = ("built", "cached")


BUG = "bug: "
"""What the error of a stage begins with that failed by a mistake of ours."""


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelRecord(Record):
    """The model as asked for, and what was found."""

    spec: str
    name: str
    task: str
    weights: Weights | None = None
    inputs: list[TensorInfo] = []
    outputs: list[TensorInfo] = []
    pixels: Pixels = "unknown"
    """What it takes pictures as."""
    names: list[str] = []
    """Of its classes, by their numbers; empty where nothing says them."""
    signature: Signature | None = None
    """Which of these is where in the arguments and in what the PyTorch model returns; None for what has no such structure."""


class MachineRecord(Record):
    """Where the build ran. `gpu` is empty without one."""

    cpu: str
    cores: int
    memory_gb: float
    gpu: str
    os: str
    python: str


class StageRecord(Record, Told):
    """One stage of the plan, in order, with what it told; a stage that failed may have told of findings and repairs."""

    id: str
    """`simplify`, `compile tvm native`, ..."""
    backend: str = ""
    target: str = ""
    needs: dict[str, str] = {}
    """Role to the id of the stage that fills it."""
    after: list[str] = []
    """Stages that had to pass first, though nothing is taken from them."""
    key: str = ""
    status: Status
    seconds: float = 0.0
    """Wall time of the worker that did the work; for a cached stage, what it took when it ran."""
    peak_memory_mb: float = 0.0
    tools: dict[str, str] = {}
    """Versions of the packages that the stage uses."""
    error: str = ""
    remedy: str = ""
    crashed: bool = False
    """Its process ended without an answer, so that another attempt may go well."""
    log: str = ""
    """Path of the tools' own output."""

    @property
    def comparison(self) -> Comparison | None:
        """Of its outputs with those before it, where it has one."""
        return self.facts.comparison if isinstance(self.facts, ComparedFacts) else None

    @property
    def verdict(self) -> str:
        """One or two words: what its comparison says, or else what became of it."""
        if self.comparison is not None:
            return self.comparison.verdict
        return "ok" if self.status in PASSED else self.status

    @property
    def made(self) -> bool:
        """Did it leave its artifact? A stage that falls short of what was asked for does."""
        return self.status in PASSED or (self.status == "failed" and self.facts.shortcoming is not None)


class EngineRecord(Record):
    """A finished engine. `verified` says `yes` only when this engine ran, its outputs were compared, and no stage before it
    has a doubt."""

    backend: str
    target: str
    path: str
    """Relative to the manifest."""
    size: int
    sha256: str
    layers: int
    layers_by_dtype: dict[str, int] = {}
    products_asked: dict[str, dict[str, int]] = {}
    """Of the graph that it was built from: kind of product (`convolutions`) to the number by dtype."""
    products_built: dict[str, dict[str, int]] = {}
    """The same of the network that the backend parsed; empty where it doesn't say."""
    kernels: list[Layer] = []
    """One for each call of a kernel, in the order in which they run; empty where the backend doesn't say."""
    fp32_size: int | None = None
    """Size of the same engine in fp32, where that build lies beside this one."""
    details: dict[str, str] = {}
    verified: Verified
    verified_reason: str = ""
    latency: Latency | None = None
    profile: Profile | None = None
    """Times of `kernels` beside those of ONNX Runtime's; only of an engine that ran and was measured."""


class Manifest(Record):
    """Everything about one build."""

    schema_version: int = SCHEMA_VERSION
    enginesmith: str
    created: str
    """ISO 8601, UTC."""
    command: list[str]
    recipe: dict[str, object]
    """The validated recipe; `enginesmith build -f` takes it back."""
    precision: str
    success: bool
    seconds: float
    """Wall time of the whole build."""
    machine: MachineRecord
    model: ModelRecord
    stages: list[StageRecord]
    engines: list[EngineRecord] = []
    warnings: list[str] = []

    def told(self, kind: type[FactsT]) -> Iterator[tuple[StageRecord, FactsT]]:
        """The stages that told facts of this kind."""
        return ((stage, stage.facts) for stage in self.stages if isinstance(stage.facts, kind))

    @classmethod
    def read(cls, place: Path) -> Manifest:
        """That of a build's output folder, or the file itself. Raises UserError where there is none that can be read."""
        path = place if place.is_file() else place / MANIFEST
        if not path.is_file():
            raise UserError(f"{place} is no build's output folder: it has no {MANIFEST}")
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{path} is no manifest of this version: {where}: {first['msg']}") from None

    def write(self, path: Path) -> None:
        """Write atomically: a reader sees the old manifest or the new one."""
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(self.model_dump_json(indent=1) + "\n")
        temporary.replace(path)
