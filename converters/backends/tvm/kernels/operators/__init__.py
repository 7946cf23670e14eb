"""Operators that have kernels, by family: `MATCHES` of each module, by the name without `relax.` and `nn.`.

Products of quantized tensors have kernels of integers; where one has none, the kernel of floats is next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Match, Settings
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node
from enginesmith.converters.backends.tvm.kernels.operators import convolutions, integers, planes, resampling, rows

FAMILIES: tuple[dict[str, Match], ...] = (
    integers.MATCHES,
    convolutions.MATCHES,
    planes.MATCHES,
    resampling.MATCHES,
    rows.MATCHES,
)
"""In the order in which they are asked."""


def anchor(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor | None:
    """The anchor that a node is; None for an operator of another kind. `blocked` tells what lies in blocked planes already.

    Raises NotCovered with the reason where the operator has kernels, but none for these attributes.
    """
    matches = [family[node.short_op] for family in FAMILIES if node.short_op in family]
    found = (match(graph, node, settings, blocked) for match in matches if node.op.startswith("relax."))
    return next((anchor for anchor in found if anchor is not None), None)
