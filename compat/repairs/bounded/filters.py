"""Filters: the rows for which a condition holds, and how many they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from enginesmith.compat.repairs.bounded.dims import Axis, Dim, bound, dim
from enginesmith.compat.values import argument, attribute, constant, dtype, rank, static_shape

if TYPE_CHECKING:
    from enginesmith.compat.repairs.bounded.rewriter import Rewriter


def flat(dims: Sequence[Dim]) -> Dim:
    return dim(*(factor for part in dims for factor in part))


def filtered(rewriter: Rewriter, key: object, condition: ir.Value, rows: Dim) -> Dim:
    """Those of `rows` for which `condition`, of as many elements, holds. `key` tells equal filters."""

    def make() -> Axis:
        size = bound(rows)
        flags = condition
        if flags.dtype != ir.DataType.BOOL:
            shape = static_shape(flags) or []
            flags = rewriter.emit("Cast", flags, to=ir.DataType.BOOL, shape=shape, dtype=ir.DataType.BOOL)
        flags = rewriter.reshape(flags, [size])
        mask = rewriter.mask(rows)
        return Axis(size, flags if mask is None else rewriter.both(mask, flags), packed=False)

    return dim(rewriter.once(key, make))


PASSED_ON = ("Cast", "Concat", "Gather", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""What a size goes through on its way to the operator that it is for."""
SIZED = {"ConstantOfShape": (0,), "Expand": (1,), "Range": (0, 1, 2), "Reshape": (1,), "Slice": (1, 2), "Tile": (1,)}
"""Operators that take sizes, and where."""


def counted(node: ir.Node) -> ir.Value | None:
    """The condition whose true elements a node counts for a size, where a NonZero finds them too; None of any other node."""
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
    found = any(reader.op_type == "NonZero" for reader, _ in condition.uses())
    return condition if found and _is_size(node.outputs[0]) else None


def _is_size(value: ir.Value) -> bool:
    return any(
        place in SIZED.get(reader.op_type, ()) or (reader.op_type in PASSED_ON and _is_size(reader.outputs[0]))
        for reader, place in value.uses()
    )
