"""ONNX files from outside: validated, and read without their weights; and the files that those are in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.errors import UserError

if TYPE_CHECKING:
    import onnx


def load_graph(path: Path, memory: int = 0, sizes: Mapping[str, Sequence[int]] | None = None) -> onnx.ModelProto:
    """The graph without its external data, its nodes in order. `memory` is what its tensors may take, in bytes, 0 for any
    amount; `sizes` are shapes of inputs that it leaves open.

    Raises UserError with the first thing that is wrong with the file, or with an external one that it needs.
    """
    from enginesmith.compat import loading

    try:
        model, found = loading.read(path, memory, sizes)
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None
    if model is None:
        first = next(problem for problem in found if problem.severity == "error")
        where = f" ({first.op} {first.node})" if first.node else ""
        raise UserError(f"{path}: {first.message}{where}" + (f"; {first.remedy}" if first.remedy else ""))
    if not model.graph.node:
        raise UserError(f"{path} is no ONNX file, or its graph has no nodes")
    return model


CHECK = f"{__name__}:check"


def check(path: str, memory: int) -> None:
    """For `Isolated`: raises UserError as `load_graph` does."""
    load_graph(Path(path), memory)


def external_files(model: onnx.ModelProto) -> list[str]:
    """The external data files of what `load_graph` returned, by their names relative to its folder."""
    from enginesmith.compat import external

    return external.files(model)
