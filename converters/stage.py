"""The contract of a stage: the one thing a worker process runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from enginesmith.compat.findings import Attempted, Finding
from enginesmith.converters.layers import Profile
from enginesmith.converters.records import (
    Accuracy,
    Attempt,
    Comparison,
    EngineInfo,
    Latency,
    Lowering,
    Search,
    TensorInfo,
    Tuning,
    Weights,
)

MODEL = "model.onnx"
"""File name of the graph in every artifact that holds one; its external data lies beside it."""

SCHEDULES = "schedules.json"
"""File name of what a search for better schedules found, which a compilation takes."""

GRAPHS = ("onnx", "onnx_ir", "polygraphy.comparator", "polygraphy.backend.onnxrt", "polygraphy.cuda")
"""What most stages work with. Not onnxruntime, which starts a thread."""


class Options(BaseModel):
    """Base of every stage's options: frozen, and closed so that a misspelt one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Facts(BaseModel):
    """What a stage found out, beside the files that it wrote. Goes into the manifest."""

    nodes: int | None = None
    ops: dict[str, int] = {}
    """Operator histogram of the graph that the stage wrote."""
    inputs: list[TensorInfo] = []
    outputs: list[TensorInfo] = []
    weights: Weights | None = None
    attempts: list[Attempt] = []
    findings: list[Finding] = []
    repairs: list[Attempted] = []
    """Repairs that were made, taken back or found not to apply, in order."""
    warnings: list[str] = []
    comparison: Comparison | None = None
    lowering: Lowering | None = None
    accuracy: Accuracy | None = None
    search: Search | None = None
    tuning: Tuning | None = None
    engine: EngineInfo | None = None
    latency: Latency | None = None
    profile: Profile | None = None
    task: str = ""
    """`detection`, `classification` or `tensor`, once a model has been looked at."""
    unreachable: str = ""
    """A host that could not be reached and whose absence shaped the result: it is taken from the store only as long
    as that stays so."""
    interrupted: bool = False
    """The user ended the stage early: what it has found is good for this run, and the next one goes on."""
    note: str = ""
    """A few words for the table, such as the tool that did the work."""
    source_files: dict[str, str] = {}
    """The user's own source files that the stage executed, with their SHA-256: a change of one is a change of input."""


@dataclass
class Context:
    """What a worker gives a stage: where to write, and how to speak."""

    out: Path
    """An empty directory; what lies there when `run` returns is the stage's artifact."""
    scratch: Path
    """A directory that is thrown away afterwards."""
    cache: Path
    """A directory that outlives the build and is no part of any artifact: for timing caches."""
    emit: Callable[[dict[str, Any]], None] = field(default=lambda event: None)
    stopped: Callable[[], bool] = field(default=lambda: False)
    """Has the user asked an `interruptible` stage to come to an end?"""

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Tell the terminal what is going on; `fraction` is in 0..1 where the tool reports it."""
        self.emit({"event": "progress", "text": text, "fraction": fraction})

    def warn(self, text: str) -> None:
        self.emit({"event": "warning", "text": text})


OptionsT = TypeVar("OptionsT", bound=Options)


class Stage(Generic[OptionsT]):
    """One hop. Subclasses import their framework inside `run`, so that the orchestrator can read their options cheaply.

    Raises from `run`: UserError for a request that can't be met, ConversionError for a failed conversion.
    """

    name: ClassVar[str]
    options: type[OptionsT]
    packages: ClassVar[tuple[str, ...]] = ()
    """Distributions whose versions are part of the stage's key."""
    interruptible: ClassVar[bool] = False
    """Ctrl-C asks it to end with the best that it has, and doesn't kill it."""
    alone: ClassVar[bool] = False
    """It takes times: nothing else runs beside it."""
    without_torch: ClassVar[bool] = False
    """Make torch unimportable in the worker: TVM's import takes 53 s beside it."""
    preload: ClassVar[tuple[str, ...]] = GRAPHS
    """Modules that it works with, imported ahead in the process that the worker is forked from: none that starts threads
    when it is imported, since a fork loses them. Its backend adds its own."""

    def packages_of(self, options: OptionsT) -> tuple[str, ...]:
        """The distributions for these options, where the options choose the tool."""
        return self.packages

    def run(self, inputs: Mapping[str, Path], options: OptionsT, context: Context) -> Facts:
        """`inputs` maps a role to the artifact directory of the stage that fills it."""
        raise NotImplementedError
