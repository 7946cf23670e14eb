"""The record of inputs and outputs whose dtype a repair had to change, kept in the model's own metadata."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx_ir as ir

from enginesmith.compat.values import Array

KEY = "enginesmith.interface."
"""Metadata key before the name of an input or output; the value is the dtype that it had, such as `uint16`."""


def record(model: ir.Model, name: str, original: ir.DataType) -> None:
    """Note that the input or output `name` had the dtype `original`. The first note of a name is kept."""
    model.metadata_props.setdefault(KEY + name, original.name.lower())


def changed(model: onnx.ModelProto) -> dict[str, ir.DataType]:
    """The dtype that each input or output on record had before it was repaired."""
    return {
        prop.key.removeprefix(KEY): ir.DataType[prop.value.upper()]
        for prop in model.metadata_props
        if prop.key.startswith(KEY)
    }


def fed(model: onnx.ModelProto, feed: Mapping[str, Array]) -> dict[str, Array]:
    """Inputs in their original dtypes, given the dtypes that the model takes now.

    A uint64 keeps its 64 bits as an int64; every other number keeps its value.
    """
    kinds = {value.name: ir.DataType(value.type.tensor_type.elem_type) for value in model.graph.input}
    known = changed(model)
    return {
        name: array.astype(kinds[name].numpy()) if name in known and name in kinds else array
        for name, array in feed.items()
    }


def fetched(model: onnx.ModelProto, outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs in their original dtypes. One with a value that the original can't hold stays as the model gave it."""
    known = changed(model)
    return {name: _narrowed(array, known[name]) if name in known else array for name, array in outputs.items()}


def _narrowed(array: Array, original: ir.DataType) -> Array:
    narrow = array.astype(original.numpy())
    return narrow if (narrow.astype(array.dtype) == array).all() else array
