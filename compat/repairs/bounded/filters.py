"""Filters that are counted, and the rows that they choose from."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from enginesmith.compat.repairs.bounded.dims import Dim, dim
from enginesmith.compat.values import argument, attribute, constant, dtype, rank


def flat(dims: Sequence[Dim]) -> Dim:
    return dim(*(factor for part in dims for factor in part))


PASSED_ON = ("Cast", "Concat", "Gather", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""What a size goes through on its way to the operator that it is for."""
SIZED = {"ConstantOfShape": (0,), "Expand": (1,), "Range": (0, 1, 2), "Reshape": (1,), "Slice": (1, 2), "Tile": (1,)}
"""Operators that take sizes, and where."""


def counted(node: ir.Node) -> ir.Value | None:
    """The condition whose true elements a node counts for a size; None of any other node."""
    source = node.inputs[0].producer() if node.op_type == "ReduceSum" and node.inputs[0] is not None else None
    if source is None or source.op_type != "Cast" or attribute(node, "noop_with_empty_axes", 0):
        return None
    condition, axes = source.inputs[0], argument(node, 1)
    if condition is None or dtype(condition) != ir.DataType.BOOL or dtype(node.outputs[0]) != ir.DataType.INT64:
        return None
    along = constant(axes)
    if axes is not None and (along is None or len(set(along.reshape(-1).tolist())) != rank(condition)):
        return None
    if attribute(node, "keepdims", 1) and rank(condition) != 1:
        return None
    return condition if _is_size(node.outputs[0]) else None


def _is_size(value: ir.Value) -> bool:
    return any(
        place in SIZED.get(reader.op_type, ()) or (reader.op_type in PASSED_ON and _is_size(reader.outputs[0]))
        for reader, place in value.uses()
    )
