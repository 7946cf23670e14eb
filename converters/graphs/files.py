"""ONNX files from outside: read without their weights, and the files that those are in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.errors import UserError

if TYPE_CHECKING:
    import onnx


def load_graph(path: Path) -> onnx.ModelProto:
    """The graph without its external data. Raises UserError for a file that is none."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None
    except (DecodeError, ValueError) as error:
        with path.open("rb") as file:
            head = file.read(64)
        if head.startswith(b"version https://git-lfs"):
            hint = "it is a Git LFS pointer; fetch the file itself with `git lfs pull`"
        elif head.isascii() and head.strip():
            hint = "it is a text file"
        else:
            hint = "it is truncated or something else"
        raise UserError(f"{path} is no ONNX file: {hint} ({error})") from None
    if not model.graph.node:
        raise UserError(f"{path} is no ONNX file, or its graph has no nodes")
    return model


def external_files(model: onnx.ModelProto, path: Path) -> list[str]:
    """External data files by relative name. Raises UserError for one that is missing or lies outside the folder."""
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    root = path.parent.resolve()
    names: dict[str, int] = {}
    for tensor in _all_tensors(model):
        if uses_external_data(tensor):
            info = ExternalDataInfo(tensor)
            names[info.location] = max(names.get(info.location, 0), (info.offset or 0) + (info.length or 0))
    for name, size in names.items():
        file = Path(os.path.normpath(root / name))
        if Path(name).is_absolute() or not file.is_relative_to(root) or not file.resolve().is_relative_to(root):
            raise UserError(
                f"{path} takes its weights from {name!r}, outside its folder; put that file beside the model"
            )
        if not file.is_file():
            raise UserError(f"{path} needs the external data file {file}, which is missing; put it beside the model")
        if file.stat().st_size < size:
            raise UserError(f"{file} is truncated: it has {file.stat().st_size} bytes, and the model needs {size}")
    return list(names)


def _all_tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    from onnx.external_data_helper import _get_all_tensors

    return list(_get_all_tensors(model))
