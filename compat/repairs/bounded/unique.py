"""Unique, with every element compared with every other: exact, and without an order that a runtime may choose."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.repairs.bounded.dims import bound, dim
from enginesmith.compat.repairs.bounded.filters import flat
from enginesmith.compat.repairs.bounded.rewriter import Rewriter, rule
from enginesmith.compat.repairs.bounded.shapes import filtered, reshaped
from enginesmith.compat.repairs.bounded.values import Bounded, Positions
from enginesmith.compat.values import attribute

MOST = 1 << 12
"""Elements of which each is compared with each other."""


@rule("Unique", source=True)
def unique(rewriter: Rewriter, node: ir.Node) -> list[Bounded]:
    """Each element is compared with each other: the first of those that are equal is kept, in the order of numbers or their own."""
    data = rewriter.get(node.inputs[0])
    if attribute(node, "axis") is not None and len(data.dims) > 1:
        raise NotApplicable("it compares whole rows")
    data = reshaped(rewriter, data, [flat(data.dims)])
    (rows,) = data.dims
    size, x = bound(rows), rewriter.numeric(data)
    if size > MOST:
        raise NotApplicable(f"{size} elements are too many to be compared with each other")
    square, integer, truth = [size, size], ir.DataType.INT64, ir.DataType.BOOL
    column, line = rewriter.reshape(x, [size, 1]), rewriter.reshape(x, [1, size])
    mask = rewriter.mask(rows)

    def counted(flags: ir.Value) -> ir.Value:
        numbers = rewriter.emit("Cast", flags, to=integer, shape=square, dtype=integer)
        return rewriter.emit("ReduceSum", numbers, np.array([1]), keepdims=0, shape=[size], dtype=integer)

    equal = rewriter.emit("Equal", column, line, shape=square, dtype=truth)
    if mask is not None:
        equal = rewriter.both(equal, rewriter.reshape(mask, [1, size]))
    places = np.arange(size, dtype=np.int64)
    before = rewriter.emit("And", equal, places[None] < places[:, None], shape=square, dtype=truth)
    earlier = counted(before)
    first = rewriter.emit("Equal", earlier, np.zeros(1, np.int64), shape=[size], dtype=truth)
    kept = filtered(rewriter, ("unique", node.inputs[0]), first, rows)
    lone = rewriter.mask(kept)
    assert lone is not None
    leads = rewriter.reshape(lone, [1, size])
    count = counted(equal)
    if not attribute(node, "sorted", 1):
        leader = rewriter.both(equal, leads)
        rank = rewriter.emit("Where", leader, rewriter.ranks(kept), np.array(0, np.int64), shape=square, dtype=integer)
        rank = rewriter.emit("ReduceSum", rank, np.array([1]), keepdims=0, shape=[size], dtype=integer)
        own = Bounded(rewriter.constant(places), (kept,), Positions((rows,), identity=True))
        return [Bounded(x, (kept,)), own, Bounded(rank, (rows,)), Bounded(count, (kept,))]
    smaller = rewriter.emit("Less", line, column, shape=square, dtype=truth)
    rank = counted(rewriter.both(smaller, leads))
    goal = rewriter.emit("Where", lone, rank, np.array(size, np.int64), shape=[size], dtype=integer)
    order = rewriter.emit(
        "ScatterElements", np.zeros(size + 1, np.int64), goal, places, axis=0, shape=[size + 1], dtype=integer
    )
    order = rewriter.emit("Slice", order, np.array([0]), np.array([size]), np.array([0]), shape=[size], dtype=integer)
    new = dim(rewriter.first(size, kept))
    values, counts = (
        rewriter.emit("Gather", value, order, axis=0, shape=[size], dtype=value.dtype) for value in (x, count)
    )
    return [
        Bounded(values, (new,)),
        Bounded(order, (new,), Positions((rows,))),
        Bounded(rank, (rows,)),
        Bounded(counts, (new,)),
    ]
