"""Labels through an exported program, node by node: the rules of `operators`, and what they find on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from enginesmith.converters.compression.labels import Dims, Indices, Labels, fixed
from enginesmith.converters.compression.reshaping import Splits

if TYPE_CHECKING:
    from torch.fx import Node

Rule = Callable[["Flow", "Node"], "Dims | list[Dims]"]
"""Labels of the tensor, or the tensors, that an operator gives."""


@dataclass
class Product:
    """A layer with weights: a convolution, a matrix product."""

    node: Node
    weight: Node
    outputs: Indices
    """Along the channels that it makes."""
    axis: int
    """Of the weight, the axis with those."""
    groups: Indices
    """One label of each group's inputs, where it is cut by groups; empty otherwise."""


class Flow:
    """`values` are the labels of each node's result; a tuple of tensors has a list."""

    def __init__(self, splits: Splits) -> None:
        self.labels, self.splits = Labels(), splits
        self.values: dict[Node, Dims | list[Dims]] = {}
        self.products: list[Product] = []

    def of(self, node: Any) -> Dims:
        """Labels of a node that gives one tensor; of anything else none."""
        found = self.values.get(node, ()) if isinstance(node, torch.fx.Node) else ()
        return found if isinstance(found, tuple) else ()

    def unite(self, one: Indices, other: Indices, node: Node) -> None:
        self.labels.unite(one, other, f"{_op(node)} joins it with a dimension that is never cut")

    def freeze(self, dims: Sequence[Indices], reason: str) -> None:
        self.labels.freeze_all(dims, reason)

    def run(self, graph: torch.fx.Graph, state: Mapping[str, str], rules: Mapping[str, Rule]) -> None:
        """`state` are the placeholders that are parameters and buffers; what isn't one is an input of the model."""
        for node in graph.nodes:
            shape = _shapes(node)
            if node.op == "placeholder":
                own = node.name in state and isinstance(shape, tuple)
                self.values[node] = tuple(
                    map(self.labels.fresh if own else fixed, shape if isinstance(shape, tuple) else ())
                )
            elif node.op == "output":
                for each in node.all_input_nodes:
                    self.freeze(self.of(each), "it is the model's output")
            elif node.op == "call_function":
                rule = rules.get(_op(node)) or (rules["pointwise"] if _pointwise(node) else None)
                self.values[node] = rule(self, node) if rule else self._unknown(node)

    def _unknown(self, node: Node) -> Dims | list[Dims]:
        for each in node.all_input_nodes:
            given = self.values.get(each, ())
            for dims in given if isinstance(given, list) else [given]:
                self.freeze(dims, f"what {_op(node)} does to its channels isn't known")
        return fixed_like(node)


def fixed_like(node: Node) -> Dims | list[Dims]:
    """A result without channels."""
    shapes = _shapes(node)
    if isinstance(shapes, list):
        return [tuple(map(fixed, each)) for each in shapes]
    return tuple(map(fixed, shapes or ()))


def shape_of(node: Any) -> tuple[int, ...]:
    found = _shapes(node)
    assert isinstance(found, tuple)
    return found


def _shapes(node: Node) -> tuple[int, ...] | list[tuple[int, ...]] | None:
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor):
        return tuple(map(int, value.shape))
    if isinstance(value, tuple | list):
        return [tuple(map(int, each.shape)) if isinstance(each, torch.Tensor) else () for each in value]
    return None


def _op(node: Node) -> str:
    """`aten.conv2d`, without the overload."""
    return str(node.target).rpartition(".")[0] if isinstance(node.target, torch._ops.OpOverload) else "getitem"


def _pointwise(node: Node) -> bool:
    return torch.Tag.pointwise in getattr(node.target, "tags", ())
