"""Operators that have kernels, by family: `MATCHES` of each module, by the name without `relax.` and `nn.`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from enginesmith.converters.tvm_kernels.anchors import Anchor, Match, Settings
from enginesmith.converters.tvm_kernels.graph import Graph, Node
from enginesmith.converters.tvm_kernels.operators import convolutions, planes, resampling, rows

MATCHES: dict[str, Match] = convolutions.MATCHES | planes.MATCHES | resampling.MATCHES | rows.MATCHES


def anchor(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor | None:
    """The anchor that a node is; None for an operator of another kind. `blocked` tells what lies in blocked planes already.

    Raises NotCovered with the reason where the operator has kernels, but none for these attributes.
    """
    match = MATCHES.get(node.short_op) if node.op.startswith("relax.") else None
    return match(graph, node, settings, blocked) if match else None
