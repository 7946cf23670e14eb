"""What functions take that need a file: a path, or an object that is written into one for as long as they run."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from enginesmith.converters.core.errors import UserError

if TYPE_CHECKING:
    import onnx

Graph: TypeAlias = "str | Path | onnx.ModelProto"
"""An .onnx file, or a graph in memory."""


@contextmanager
def graph_file(graph: Graph) -> Iterator[Path]:
    """Raises UserError for what is neither."""
    if isinstance(graph, str | Path):
        yield Path(graph)
        return
    onnx = sys.modules.get("onnx")
    if onnx is None or not isinstance(graph, onnx.ModelProto):
        raise UserError(f"give an .onnx file or an onnx.ModelProto, and no {type(graph).__name__}")
    with tempfile.TemporaryDirectory(prefix="enginesmith-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph.SerializeToString())
        yield path


@contextmanager
def arrays_file(arrays: str | Path | Mapping[str, Any] | None) -> Iterator[Path | None]:
    """An .npz file."""
    if arrays is None or isinstance(arrays, str | Path):
        yield None if arrays is None else Path(arrays)
        return
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="enginesmith-") as folder:
        path = Path(folder) / "inputs.npz"
        np.savez(path, **arrays)
        yield path


def check_writable(**files: Path | None) -> None:
    """Raises UserError for a file that can't be written, before the work that would fill it: by the option that names it;
    None stands for no file.
    """
    for option, path in files.items():
        if path is None:
            continue
        try:
            existed = path.exists()
            with path.open("ab"):
                pass
            if not existed:
                path.unlink()
        except OSError as error:
            raise UserError(f"can't write {path} ({error.strerror}); give another --{option}") from None
