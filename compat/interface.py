"""The record of inputs and outputs whose dtype or number of rows a repair had to change, and of outputs that are there for the
backend's sake, in the model's own metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from enginesmith.compat.values import Array

KEY = "enginesmith.interface."
"""Metadata key before the name of an input or output; the value is the dtype that it had, such as `uint16`."""

ROWS = "enginesmith.bounded."
"""Metadata key before the name of an output that has room for all rows that there could be. The value names a selection
of rows for each axis of that kind, such as `0=boxes` or `0=boxes,2=labels`; outputs with one name share their rows."""
BARRIER = "enginesmith.barrier."
"""Metadata key before the name of an output that only keeps a backend from fusing what makes it with what reads it; the value
says what for."""
MISSING = -1
"""What such an output holds in the rows behind the last real one: in every element. False in bool, the highest number in
unsigned dtypes."""


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


def forget_unsound(model: onnx.ModelProto) -> list[str]:
    """Take out what a file says that no repair would have written, in place; returns what was taken out, in words."""
    values = {value.name: value for value in (*model.graph.input, *model.graph.output)}
    outputs = {value.name for value in model.graph.output}
    unsound = []
    for index, prop in enumerate(model.metadata_props):
        if isinstance(prop.key, str) and prop.key.startswith(KEY):
            sound = _could_be(prop.value, values.get(prop.key.removeprefix(KEY)))
        elif isinstance(prop.key, str) and prop.key.startswith(ROWS):
            name = prop.key.removeprefix(ROWS)
            sound = name in outputs and _names_axes(prop.value, values[name])
        elif isinstance(prop.key, str) and prop.key.startswith(BARRIER):
            sound = prop.key.removeprefix(BARRIER) in outputs
        else:
            continue
        if not sound:
            unsound.append(index)
    told = [
        f"the metadata {model.metadata_props[index].key[:80]!r} is not believed: no repair writes it so"
        for index in unsound
    ]
    for index in reversed(unsound):
        del model.metadata_props[index]
    return told


def _could_be(dtype: object, value: onnx.ValueInfoProto | None) -> bool:
    """Can a repair have changed this input or output from that dtype?"""
    if value is None or not isinstance(dtype, str) or dtype.upper() not in ir.DataType.__members__:
        return False
    before, now = ir.DataType[dtype.upper()], value.type.tensor_type.elem_type
    try:
        kinds = before.numpy().kind, ir.DataType(now).numpy().kind
    except (TypeError, ValueError, KeyError):
        return False
    return "S" not in kinds and "O" not in kinds and before.is_floating_point() == ir.DataType(now).is_floating_point()


def _names_axes(text: object, value: onnx.ValueInfoProto) -> bool:
    """Is it a selection for each of some axes that the output has?"""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,2}=[^,=]+(,[0-9]{1,2}=[^,=]+)*", text):
        return False
    rank = len(value.type.tensor_type.shape.dim)
    return all(int(part.partition("=")[0]) < rank for part in text.split(","))


def record_rows(model: ir.Model, name: str, selections: Mapping[int, str]) -> None:
    """Note that the output `name` has the rows of a selection along each of some axes, and missing ones behind them."""
    model.metadata_props[ROWS + name] = ",".join(f"{axis}={selection}" for axis, selection in selections.items())


def bounded(model: onnx.ModelProto) -> dict[str, dict[int, str]]:
    """The selection along each axis of each output that has room for missing rows."""
    found = {}
    for prop in model.metadata_props:
        if prop.key.startswith(ROWS):
            parts = (part.split("=", 1) for part in prop.value.split(","))
            found[prop.key.removeprefix(ROWS)] = {int(axis): selection for axis, selection in parts}
    return found


def record_barrier(model: ir.Model, value: ir.Value, purpose: str) -> None:
    """Make a value of the outermost graph an output too, that only keeps a backend from a fusion."""
    model.graph.outputs.append(value)
    model.metadata_props[BARRIER + (value.name or "")] = purpose


def barriers(model: onnx.ModelProto) -> dict[str, str]:
    """The outputs that only keep a backend from a fusion, each with what for."""
    known = {
        prop.key.removeprefix(BARRIER): prop.value for prop in model.metadata_props if prop.key.startswith(BARRIER)
    }
    return {value.name: known[value.name] for value in model.graph.output if value.name in known}


def outputs(model: onnx.ModelProto) -> list[str]:
    """The names of the outputs that a user knows, in order."""
    apart = barriers(model)
    return [value.name for value in model.graph.output if value.name not in apart]


def missing(kind: np.dtype[Any]) -> Any:
    """What a missing row holds in an output of this dtype."""
    return np.array(kind != np.bool_ and MISSING).astype(kind)


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
    """Outputs in their original dtypes, without missing rows, and without those that only keep a backend from a fusion.

    Floats are rounded; integers of which the original dtype can't hold one stay as the model gave them. A real row that holds nothing but
    what marks missing ones, in all outputs of its selection, with no other real row behind it, is left out with them.
    """
    known, apart = changed(model), barriers(model)
    outputs = {name: array for name, array in outputs.items() if name not in apart}
    real = _without_missing(bounded(model), outputs)
    return {name: _narrowed(array, known[name]) if name in known else array for name, array in real.items()}


def _without_missing(selections: Mapping[str, Mapping[int, str]], outputs: Mapping[str, Array]) -> dict[str, Array]:
    counts: dict[str, int] = {}
    for name, axes in selections.items():
        array = outputs[name]
        for axis, selection in axes.items():
            others = tuple(index for index in range(array.ndim) if index != axis)
            real = np.flatnonzero((array != missing(array.dtype)).any(axis=others))
            counts[selection] = max(counts.get(selection, 0), int(real[-1]) + 1 if len(real) else 0)
    result = dict(outputs)
    for name, axes in selections.items():
        for axis, selection in axes.items():
            result[name] = result[name].take(range(min(counts[selection], result[name].shape[axis])), axis=axis)
    return result


def _narrowed(array: Array, original: ir.DataType) -> Array:
    with np.errstate(over="ignore"):  # a comparison sees the infinity
        narrow = array.astype(original.numpy())
    return narrow if original.is_floating_point() or (narrow.astype(array.dtype) == array).all() else array
