"""Which rule tells what an ATen operator does to the labels of its operands, and what rules share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from enginesmith.converters.compression.flow import Flow, Rule
from enginesmith.converters.compression.labels import Dims, fixed

if TYPE_CHECKING:
    from torch.fx import Node

RULES: dict[str, Rule] = {}
NONE = np.zeros(0, dtype=np.int64)


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Registers it for operators, named without `aten.` and overload."""

    def register(function: Rule) -> Rule:
        RULES.update({name if name in ("getitem", "pointwise") else f"aten.{name}": function for name in names})
        return function

    return register


def argument(node: Node, place: int, name: str, default: Any = None) -> Any:
    if len(node.args) > place:
        return node.args[place]
    return node.kwargs.get(name, default)


def given(node: Node, place: int) -> Any:
    """An argument that is always there."""
    return node.args[place]


def broadcast(flow: Flow, node: Node, operands: Sequence[Dims], shape: Sequence[int]) -> Dims:
    made = []
    for back in range(len(shape), 0, -1):
        met = [dims[-back] for dims in operands if len(dims) >= back and len(dims[-back]) > 1]
        met.sort(key=lambda labels: not labels.any())
        for other in met[1:]:
            flow.unite(met[0], other, node)
        made.append(met[0] if met else fixed(shape[-back]))
    return tuple(made)
