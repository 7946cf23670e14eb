"""Operators that only give a tensor's numbers another order, as steps from one view of its memory to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, shape_of
from enginesmith.converters.backends.tvm.kernels.views import Move, View


def move_of(graph: Graph, node: Node) -> tuple[Any, Move] | None:
    """The tensor that a node reads, and what it makes of a view of it; None for an operator of another kind."""
    if isinstance(node.value, relax.TupleGetItem):
        return _part(graph, node)
    match = MOVES.get(node.short_op) if node.op.startswith("relax.") else None
    if match is None or not all(
        shape is not None and 0 not in shape for shape in map(shape_of, (node.var, node.inputs[0]))
    ):
        return None
    move = match(graph, node)
    return (node.inputs[0], move) if move else None


def _reshape(graph: Graph, node: Node) -> Move:
    shape = shape_of(node.var) or ()
    return lambda view: view.reshaped(shape)


def _permute(graph: Graph, node: Node) -> Move:
    rank = len(shape_of(node.var) or ())
    axes = node.attrs.axes
    order = [*reversed(range(rank))] if axes is None else [int(axis) % rank for axis in axes]
    return lambda view: view.permuted(order)


def _broadcast(graph: Graph, node: Node) -> Move:
    shape = shape_of(node.var) or ()
    return lambda view: view.broadcast(shape)


def _slice(graph: Graph, node: Node) -> Move | None:
    given, shape = shape_of(node.inputs[0]) or (), shape_of(node.var) or ()
    _, axes, begins, _, *strides = node.value.args
    if not all(isinstance(part, relax.Tuple | relax.ShapeExpr) for part in (axes, begins, *strides)):
        return None
    steps = _numbers(strides[0]) if strides else [1] * len(_numbers(axes))
    cuts = []
    for axis, begin, step in zip(_numbers(axes), _numbers(begins), steps, strict=True):
        axis %= len(given)
        begin += given[axis] if begin < 0 else 0
        cuts.append((axis, min(max(begin, 0), given[axis] - (step < 0)), shape[axis], step))

    def move(view: View) -> View | None:
        found: View | None = view
        for cut in cuts:
            found = found.sliced(*cut) if found else None
        return found

    return move


def _take(graph: Graph, node: Node) -> Move | None:
    """By a constant index, or by several that follow each other."""
    given, shape = shape_of(node.inputs[0]) or (), shape_of(node.var) or ()
    indices = graph.constant(node.value.args[1])
    if indices is None or node.attrs.axis is None or not indices.size:
        return None
    axis = int(node.attrs.axis) % len(given)
    places = np.where(indices < 0, indices + given[axis], indices).ravel()
    if (np.diff(places) != 1).any() or places[0] < 0 or places[-1] >= given[axis]:
        return None
    start, count = int(places[0]), len(places)

    def move(view: View) -> View | None:
        found = view.sliced(axis, start, count)
        return found.reshaped(shape) if found else None

    return move


def _part(graph: Graph, node: Node) -> tuple[Any, Move] | None:
    """One of the parts that a split gives."""
    split = graph.producer.get(node.value.tuple_value)
    if split is None or split.op != "relax.split" or shape_of(node.var) is None or shape_of(split.inputs[0]) is None:
        return None
    shapes = [tuple(int(size) for size in kind.shape) for kind in split.var.ty.fields]
    index = int(node.value.index)
    axis = int(split.attrs.axis) % len(shapes[0])
    start = sum(shape[axis] for shape in shapes[:index])
    return split.inputs[0], lambda view: view.sliced(axis, start, shapes[index][axis])


def _numbers(values: Any) -> list[int]:
    fields = values.fields if isinstance(values, relax.Tuple) else values.values
    return [int(getattr(field, "value", field)) for field in fields]


MOVES: dict[str, Callable[[Graph, Node], Move | None]] = {
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "flatten": _reshape,
    "permute_dims": _permute,
    "broadcast_to": _broadcast,
    "strided_slice": _slice,
    "take": _take,
}
