"""What every backend offers to the check, compile, compare and measure stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel

from enginesmith.compat.findings import Finding
from enginesmith.converters.core.records import EngineInfo
from enginesmith.converters.core.stage import Context

if TYPE_CHECKING:
    from polygraphy.backend.base import BaseRunner

Profile = Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]
"""Input name to its minimum, optimum and maximum shape."""


@dataclass(frozen=True)
class BuildRequest:
    """One engine to build.

    `onnx` is a file with its external data beside it; `target` is canonical, as `resolve_target` returns it;
    `profile` is empty when every dimension is static;
    `shapes` are all inputs' shapes, for each of those that a backend of static shapes is to build, within the profile;
    empty for the profile's optimum alone;
    `cache` is a directory that outlives the build, for a timing cache;
    `sparse` lets the backend use its kernels for weights that are 2:4 sparse, where it has such;
    `kernels` lets TVM use ours where there are any, else everything is left to its own lowering; `winograd` lets them be
    Winograd's;
    `schedules` is the file that a search for better schedules of those kernels left.
    """

    onnx: Path
    target: str
    profile: Profile
    out: Path
    shapes: tuple[Mapping[str, Sequence[int]], ...] = ()
    cache: Path | None = None
    sparse: bool = False
    kernels: bool = True
    winograd: bool = True
    schedules: Path | None = None


class Rejection(BaseModel, frozen=True):
    """Why a backend doesn't take a graph. `step` is what failed: `parse` (import, for TVM) or `build`."""

    step: str
    message: str
    node: str = ""
    op: str = ""


class Backend(Protocol):
    """A way to turn an ONNX file into something that runs. Imports its framework inside its methods."""

    name: str
    packages: tuple[str, ...]
    """Distributions whose versions decide what is built; those that are not installed are left out of a key."""
    requirement: str
    """The pip line that installs it."""
    engine_file: str
    """Name of the file in `BuildRequest.out` that `runner` takes."""
    without_torch: bool
    """Its processes need torch made unimportable."""
    preload: tuple[str, ...]
    """Modules that it works with, as of a stage's `preload`."""
    alone: bool
    """Its builds time kernels on the device: nothing else runs beside them."""
    dynamic_shapes: bool
    """Its engines take every shape of the profile, not the optimum alone."""
    half: bool
    """Its engines compute in 16-bit floats where the graph says so; else in float32."""

    def version(self) -> str:
        """The installed version, empty when it isn't installed. Cheap: reads package metadata."""

    def available(self) -> str | None:
        """None when this machine can build, else the reason why not. Cheap: imports nothing heavy."""

    def buildable(self, target: str) -> str | None:
        """None when this machine has what an engine for `target` takes beside the backend, else what to install. Cheap."""

    def runnable(self, target: str) -> str | None:
        """None when an engine for `target` can run here, else the reason why not, such as `no GPU`. Cheap."""

    def resolve_target(self, target: str) -> str:
        """The canonical target for `auto`, `native` or a given name. Raises UserError with the nearest names. Cheap."""

    def lacks(self, precision: str, target: str) -> str:
        """Why `target` can't compute in `precision` (`fp16`, `bf16`), empty where it can. Cheap."""

    def sparse_kernels(self, target: str) -> bool:
        """Are there kernels for `target` that leave out the zeros of 2:4 sparse weights? Cheap."""

    def check(self, request: BuildRequest, context: Context) -> list[Finding]:
        """Ask the backend's own parser and a trial build; one finding for every node refused, not the first only."""

    def trial(self, onnx: Path, target: str, profile: Profile, values: Mapping[str, Sequence[int]]) -> Rejection | None:
        """Parse and build the whole graph, keep nothing. `values`: of integer inputs that decide on shapes."""

    def build(self, request: BuildRequest, context: Context) -> EngineInfo:
        """Write the engine into `request.out`. Raises ConversionError with findings."""

    def runner(self, engine: Path, threads: int | None = None) -> BaseRunner:
        """A Polygraphy runner for an engine file that `build` wrote, on this machine.

        `threads` bounds the CPU threads of a backend that has them; None leaves its default.
        """
