"""Indices as the frontend hands them to a gather: `index < 0 ? index + size : index`."""

from __future__ import annotations

from typing import Any

from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node


def unguarded(graph: Graph, index: Any, size: int) -> tuple[Any, list[Node]]:
    """The index before it was moved by `size`, and the operators that moved it; itself and none where nothing did."""
    where = graph.producer_of(index, "where")
    if where is None:
        return index, []
    condition, moved, plain = where.inputs
    less, add = graph.producer_of(condition, "less"), graph.producer_of(moved, "add")
    if less is None or add is None or not (less.inputs[0].same_as(plain) and add.inputs[0].same_as(plain)):
        return index, []
    limit, offset = graph.constant(less.inputs[1]), graph.constant(add.inputs[1])
    if limit is None or limit.any() or offset is None or (offset != size).any():
        return index, []
    return plain, [where, less, add]
