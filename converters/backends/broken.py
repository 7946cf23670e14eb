"""A plug-in that doesn't load: a backend that is known by name, says why, and isn't available."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import NoReturn

from enginesmith.converters.backends.base import Backend, BuildRequest, Profile
from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.core.stage import Context


class Broken(Backend):
    """Raises UserError with the reason for whatever is asked of it beside its availability."""

    engine_file = ""

    def __init__(self, place: EntryPoint, error: BaseException) -> None:
        self.name = place.name
        distribution = place.dist.name if place.dist is not None else place.module
        self.packages = (distribution,)
        self.requirement = f"pip install --upgrade {distribution}"
        self.reason = f"its plug-in {distribution} doesn't load: {type(error).__name__}: {first_line(error)}"

    def available(self) -> str:
        return self.reason

    def runnable(self, target: str) -> str:
        return self.reason

    def resolve_target(self, target: str) -> NoReturn:
        raise UserError(f"{self.name}: {self.reason}")

    def check(self, request: BuildRequest, context: Context) -> NoReturn:
        self.resolve_target(request.target)

    def parse(self, onnx: Path) -> NoReturn:
        self.resolve_target("")

    def trial(self, onnx: Path, target: str, profile: Profile, values: Mapping[str, Sequence[int]]) -> NoReturn:
        self.resolve_target(target)

    def build(self, request: BuildRequest, context: Context) -> NoReturn:
        self.resolve_target(request.target)

    def runner(self, engine: Path, threads: int | None = None) -> NoReturn:
        self.resolve_target("")
