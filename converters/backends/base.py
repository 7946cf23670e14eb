"""What every backend offers to the compile, compare and measure stages, to `doctor` and to `bisect`."""

from __future__ import annotations

import importlib.metadata
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from enginesmith.compat.findings import Finding
from enginesmith.compat.platforms import Release
from enginesmith.compat.target import Target
from enginesmith.converters.core import engine_layers
from enginesmith.converters.core.builder_options import BuilderOptions
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.recipe import Rest
from enginesmith.converters.core.records import EngineInfo
from enginesmith.converters.core.stage import Context

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from polygraphy.backend.base import BaseRunner

    Feed = Mapping[str, NDArray[Any]]

Profile = Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]
"""Input name to its minimum, optimum and maximum shape."""
Values = Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]
"""Name of an integer input to the lowest, the likeliest and the highest of each of its elements, in one row."""
OBSERVED = "values from the samples"
"""The key of an engine's details that says which of the `observed` values an engine is limited to."""


@dataclass(frozen=True)
class BuildRequest:
    """One engine to build.

    `onnx` is a file with its external data beside it; `target` is canonical, as `resolve_target` returns it;
    `profile` is empty when every dimension is static;
    `shapes` are all inputs' shapes, for each of those that a backend of static shapes is to build, within the profile;
    empty for the profile's optimum alone;
    `values` are those of the inputs that decide on sizes, as asked for; `observed` are those that the samples have of other
    integer inputs, which may do so within the graph;
    `cache` is a directory that outlives the build, for a timing cache;
    `sparse` lets the backend use its kernels for weights that are 2:4 sparse, where it has such;
    `kernels` lets TVM use ours where there are any, else everything is left to its own lowering; `winograd` lets them be
    Winograd's;
    `level` is TensorRT's builder optimization level, 0 for the plainest engine, None for the product's own; `tf32` lets
    it round the factors of products in float32 to 10 bits, as it does by itself; `builder` is what else it is told;
    `schedules` is the file that a search for better schedules of those kernels left.
    """

    onnx: Path
    target: str
    profile: Profile
    out: Path
    shapes: tuple[Mapping[str, Sequence[int]], ...] = ()
    values: Values = field(default_factory=dict)
    observed: Values = field(default_factory=dict)
    cache: Path | None = None
    sparse: bool = False
    kernels: bool = True
    winograd: bool = True
    level: int | None = None
    tf32: bool = True
    builder: BuilderOptions = field(default_factory=BuilderOptions)
    schedules: Path | None = None


class Rejection(BaseModel, frozen=True):
    """Why a backend doesn't take a graph. `step` is what failed: `parse` (import, for TVM) or `build`."""

    step: str
    message: str
    node: str = ""
    op: str = ""


class Backend(ABC):
    """A way to turn an ONNX file into something that runs. Imports its framework inside its methods.

    What is stated here as it is for most is overridden by the others.
    """

    name: str
    packages: tuple[str, ...]
    """Distributions whose versions decide what is built, the backend's own first, a plug-in's among them. Those that are
    not installed are left out of a key."""
    requirement: str
    """The pip line that installs it."""
    engine_file: str
    """Name of the file in `BuildRequest.out` that `runner` takes; not `model.onnx`, which a repaired graph has there."""
    table: str = ""
    """Name of the table in `compat.support` that says what it takes; empty where there is none, and so no rule and no
    repair."""
    preload: tuple[str, ...] = ()
    """Modules that it works with, as of a stage's `preload`."""
    alone: bool = False
    """Its builds time kernels on the device: nothing else runs beside them."""
    gpu: bool = False
    """Its targets are compute capabilities (`sm_89`); else its engines run on CPUs."""
    dynamic_shapes: bool = False
    """Its engines take every shape of the profile, not the optimum alone."""
    rest: Rest = "fp32"
    """What its engines compute fastest in where a graph of integers has none; those of `fp32` compute in float32 too
    where the graph has 16 bits."""
    levels: tuple[Mapping[str, int], ...] = ()
    """Fields of a BuildRequest that make its engines plainer: the smallest step first, as plain as there is last."""
    tunable: bool = False
    """Its kernels have schedules to search for: it builds with `BuildRequest.schedules`."""

    def version(self) -> str:
        """The installed version, empty when it isn't installed. Cheap: reads package metadata."""
        for package in self.packages:
            try:
                return importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        return ""

    def rules(self, target: str = "") -> Target:
        """What compat's rules and repairs know it by; without a table none of them holds. `target` is canonical."""
        return Target(self.table, self.version(), target if self.gpu else "")

    @abstractmethod
    def available(self) -> str | None:
        """None when this machine can build, else the reason why not. Cheap: imports nothing heavy."""

    def buildable(self, target: str) -> str | None:
        """None when this machine has what an engine for `target` takes beside the backend, else what to install. Cheap."""
        return None

    @abstractmethod
    def runnable(self, target: str) -> str | None:
        """None when an engine for `target` can run here, else the reason why not, such as `no GPU`. Cheap."""

    @abstractmethod
    def resolve_target(self, target: str) -> str:
        """The canonical target for `auto`, `native` or a given name. Raises UserError with the nearest names. Cheap."""

    def lacks(self, precision: str, target: str) -> str:
        """Why `target` can't compute in `precision` (`fp16`, `bf16`), empty where it can. Cheap."""
        return ""

    def refuses(self, options: BuilderOptions) -> str:
        """Why it can't build as the builder is told, and what to do; empty where it can. Cheap."""
        return ""

    def unloadable(self, target: str, platform: str, release: Release) -> str:
        """Why `platform`, which ships `release`, can't load an engine for `target` that is built here; empty where it can, or
        where the engine needs nothing of it. Cheap.
        """
        return ""

    def sparse_kernels(self, target: str) -> bool:
        """Are there kernels for `target` that leave out the zeros of 2:4 sparse weights? Cheap."""
        return False

    def cuttable(self, error: ConversionError) -> bool:
        """Did the compiler fail at what it fuses, so that tensors which have to be written may keep it from that? Cheap."""
        return False

    @abstractmethod
    def check(self, request: BuildRequest, context: Context) -> list[Finding]:
        """Ask the backend's own parser and a trial build; one finding for every node refused, not the first only."""

    @abstractmethod
    def parse(self, onnx: Path) -> Rejection | None:
        """Why the backend's parser doesn't take a graph, None if it does."""

    @abstractmethod
    def trial(self, onnx: Path, target: str, profile: Profile, values: Mapping[str, Sequence[int]]) -> Rejection | None:
        """Parse and build the whole graph, keep nothing. `values`: of integer inputs that decide on shapes."""

    @abstractmethod
    def build(self, request: BuildRequest, context: Context) -> EngineInfo:
        """Write the engine into `request.out`. Raises ConversionError with findings."""

    @abstractmethod
    def runner(self, engine: Path, threads: int | None = None) -> BaseRunner:
        """A Polygraphy runner for an engine file that `build` wrote, on this machine.

        `threads` bounds the CPU threads of a backend that has them; None leaves its default.
        """

    def contents(self, engine: Path) -> dict[str, str]:
        """What an engine's file, and what lies beside it, say of themselves, in words; nothing is loaded or run. Raises
        UserError for what is no engine.
        """
        return {}

    def command_lines(self, request: BuildRequest, inputs: Sequence[str], tolerances: Sequence[str]) -> Iterator[str]:
        """Lines for a shell, and remarks that begin with #: the vendor's tools that do what `build` does, into the working
        folder, and hold the engine against ONNX Runtime. `inputs` and `tolerances` are options of `polygraphy run`. Cheap.
        """
        yield f"# {self.name} has no command line of its own; this runs the graph that it was given"
        yield shlex.join(["polygraphy", "run", str(request.onnx), "--onnxrt", *inputs])

    def layer_times(
        self,
        engine: Path,
        target: str,
        model: Path,
        feeds: tuple[Feed, Feed],
        threads: int,
        seconds: float,
        scratch: Path,
    ) -> engine_layers.Profile | None:
        """Run an engine for some `seconds`, layer by layer, and ONNX Runtime on the graph `model`, in turn. `feeds` are
        the engine's inputs and the graph's. None for an engine that doesn't show its layers.

        Raises ConversionError where they can't be timed.
        """
        return None
