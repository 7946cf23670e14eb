"""The contract of a stage: the one thing a worker process runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import Recipe

MODEL = "model.onnx"
"""File name of the graph in every artifact that holds one; its external data lies beside it."""

SCHEDULES = "schedules.json"
"""File name of what a search for better schedules found, which a compilation takes."""

GRAPHS = ("onnx", "onnx_ir", "polygraphy.comparator", "polygraphy.backend.onnxrt", "polygraphy.cuda")
"""What most stages work with. Not onnxruntime, which starts a thread."""


@dataclass
class Context:
    """What a worker gives a stage: where to write, and how to speak."""

    out: Path
    """An empty directory; what lies there when `run` returns is the stage's artifact."""
    scratch: Path
    """A directory that is thrown away afterwards."""
    cache: Path
    """A directory that outlives the build and is no part of any artifact: for timing caches."""
    memory: int = 0
    """Bytes that the stage may use; 0 for any amount."""
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
    """One hop: its options, where it stands in a plan, what it does, and the facts that it finds.

    Subclasses import their framework inside `run`, so that the orchestrator can read their options cheaply.
    """

    name: ClassVar[str]
    options: type[OptionsT]
    facts: ClassVar[type[Facts]] = Facts
    """What `run` returns."""
    follows: ClassVar[str] = ""
    """Of a stage that the order of the pipeline doesn't name: the one after which it is planned, each time."""
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

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        """What of this stage a recipe asks for at this place of the order: nothing, one, or several. Says in `so_far` which
        roles its artifact fills from then on. Raises UserError for requests that make no sense.
        """
        yield from ()

    def run(self, inputs: Mapping[str, Path], options: OptionsT, context: Context) -> Facts:
        """`inputs` maps a role to the artifact directory of the stage that fills it.

        Raises UserError for a request that can't be met, ConversionError for a failed conversion.
        """
        raise NotImplementedError
