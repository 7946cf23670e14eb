"""The JSON beside a TVM module: what to feed it, what it returns, and which of TVM's libraries it needs."""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.records import TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

RUNTIME = "tvm_runtime"
EXTRA = "tvm_runtime_extra"
"""Beside the virtual machine: sorting, TopK, random numbers. Loaded after RUNTIME."""


class Held(TensorInfo):
    """An input with the one value that a module is built for, all elements in a row."""

    values: list[int]

    def array(self) -> NDArray[Any]:
        import numpy as np

        return np.array(self.values, self.dtype).reshape([int(size) for size in self.shape])


class Signature(BaseModel):
    """`outputs` are names in ONNX; the compiled function knows positions only. `libraries`: without `lib` and `.so`.

    `python` names functions that only `import tvm` brings: with those it doesn't run on the libraries alone.
    `held` are the model's other inputs, which decide on sizes: the module has their values in it, and doesn't take them.
    `shapes` are all inputs' shapes, for each that the module takes, where it takes several: those of `inputs` come first.
    """

    inputs: list[TensorInfo]
    outputs: list[str]
    shapes: list[dict[str, list[int]]] = []
    held: list[Held] = []
    libraries: list[str] = [RUNTIME]
    python: list[str] = []

    @property
    def runs_with(self) -> str:
        """In words for the report."""
        if self.python:
            return f"TVM's Python package, which {', '.join(self.python)} is a part of"
        return f"{', '.join(f'lib{name}.so' for name in self.libraries)} and libtvm_ffi.so alone: examples/run_tvm_module.py"

    @classmethod
    def of(cls, engine: Path) -> Signature:
        """The one beside a module. Raises UserError where there is none."""
        path = signature_path(engine)
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            raise UserError(
                f"{path}, which says what {engine.name} takes, is not there, or damaged: build again"
            ) from None

    def save(self, engine: Path) -> None:
        signature_path(engine).write_text(self.model_dump_json(indent=1), encoding="utf-8")


def signature_path(engine: Path) -> Path:
    return engine.with_suffix(".json")


def called(engine: Path) -> tuple[list[str], list[str]]:
    """What a linked module calls besides itself, `libraries` and `python`: the names that it looks up are text in it."""
    with engine.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        libraries = [RUNTIME, EXTRA] if content.find(b"tvm.contrib.") >= 0 else [RUNTIME]
        return libraries, sorted({name.decode() for name in re.findall(rb"relax\.run\.\w+", content)})
