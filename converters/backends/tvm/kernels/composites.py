"""Groups of operators that one kernel computes together, found by the last of them."""

from __future__ import annotations

from collections.abc import Callable

from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Settings
from enginesmith.converters.backends.tvm.kernels.detection import roi_pooling, selection, suppression, topk
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node
from enginesmith.converters.backends.tvm.kernels.operators import attention, normal

COMPOSITES: dict[str, tuple[Callable[[Graph, Node, Settings], Anchor | None], ...]] = {
    "divide": (normal.instance_norm,),
    "reshape": (normal.group_norm,),
    "concat": (roi_pooling.match, suppression.match_blocks),
    "matmul": (roi_pooling.match, attention.match),
    "relu": (suppression.match_rounds,),
    "where": (selection.match_removal,),
    "argmax": (selection.match_largest,),
    "topk": (topk.match,),
}
"""By the short name of the last operator: how the group is recognized."""


def composites(graph: Graph, settings: Settings) -> dict[int, Anchor]:
    """The groups of a function, by the index of their last node. None shares a node with another: later ones go first."""
    found: dict[int, Anchor] = {}
    taken: set[int] = set()
    for node in reversed(graph.nodes):
        for match in COMPOSITES.get(node.short_op, ()) if node.index not in taken else ():
            start = match(graph, node, settings)
            if start is not None:
                start.inner = [inner for inner in graph.exclusive(start.inner, node) if inner.index not in taken]
                taken |= {node.index, *(inner.index for inner in start.inner)}
                found[node.index] = start
                break
    return found
