"""Nodes that take the place of another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from enginesmith.compat.target import Target
from enginesmith.compat.values import Array, opset_of, to_array, used


class NotApplicable(Exception):
    """A repair can't be made here; the text says why, in a few words that a user understands."""


class Builder:
    """Collects the nodes that replace one node. Operators have the meaning of the graph's own opset (18 or later)."""

    def __init__(self, node: ir.Node, target: Target) -> None:
        self.node = node
        self.target = target
        self.opset = opset_of(node.graph)
        self.nodes: list[ir.Node] = []
        self.cases: list[dict[str, Array]] = []

    def assume(self, value: ir.Value, *contents: Any) -> None:
        """State what an input may contain, each possibility in turn: the declared shapes leave no other.

        The repair is proved for each of them, since generated inputs would hardly meet one.
        """
        known = self.cases or [{}]
        self.cases = [{**case, value.name or "": to_array(content)} for content in contents for case in known]

    def op(self, op_type: str, *inputs: Any, domain: str = "", **attributes: Any) -> ir.Value:
        """A new node's one output. An input that is no ir.Value or None becomes a constant, as `constant` makes it."""
        return self.ops(op_type, *inputs, outputs=1, domain=domain, **attributes)[0]

    def ops(self, op_type: str, *inputs: Any, outputs: int, domain: str = "", **attributes: Any) -> Sequence[ir.Value]:
        """A new node's outputs."""
        values = [item if item is None or isinstance(item, ir.Value) else self.constant(item) for item in inputs]
        given = {name: value for name, value in attributes.items() if value is not None}
        node = ir.node(op_type, values, given, domain=domain, num_outputs=outputs)
        self.nodes.append(node)
        return node.outputs

    def again(self, node: ir.Node, *inputs: Any, **changed: Any) -> ir.Value:
        """The one output of a node like this one, of other inputs; of its attributes those that are `changed` to None go."""
        attributes: dict[str, Any] = {**node.attributes, **changed}
        return self.op(node.op_type, *inputs, domain=node.domain, **attributes)

    def constant(self, value: Any) -> ir.Value:
        """A constant: an array, an onnx_ir tensor, or Python numbers, which become int64, float32 or bool."""
        tensor = value if isinstance(value, ir.TensorProtocol) else ir.tensor(to_array(value))
        node = ir.node("Constant", [], {"value": tensor})
        output = node.outputs[0]
        output.const_value = tensor
        output.dtype = tensor.dtype
        output.shape = ir.Shape(tensor.shape.numpy())
        self.nodes.append(node)
        return output


Replacement = ir.Value | Sequence[ir.Value | None]
"""What takes the place of a node's outputs, in their order; None for one that nothing reads."""


def replace(node: ir.Node, builder: Builder, results: Replacement) -> None:
    """Put what the builder holds in the node's place, `results` for its outputs. Raises NotApplicable before it does."""
    replacement = _sequence(results)[: len(node.outputs)]
    if len(replacement) < len(node.outputs):
        replacement = [*replacement, *[None] * (len(node.outputs) - len(replacement))]
    for index, new in enumerate(replacement):
        if new is None and used(node, index):
            raise NotApplicable(f"its output {index} is used")
    made = {value for inner in builder.nodes for value in inner.outputs}
    for index, new in enumerate(replacement):
        if new is not None and (new not in made or replacement.index(new) != index):
            # A value that was there before, or one that stands for two outputs, can't take over a name.
            replacement[index] = builder.op("Identity", new)
    insert(node, builder)
    for old, new in zip(node.outputs, replacement, strict=True):
        if new is None:
            continue
        new.type = old.type or new.type
        # The shape of a scalar is empty, and so counts as false.
        new.shape = new.shape if old.shape is None else old.shape
        name, old.name = old.name, f"{old.name}/replaced"
        new.name = name
        old.replace_all_uses_with(new, replace_graph_outputs=True)
    assert node.graph is not None
    node.graph.remove(node, safe=True)


def insert(node: ir.Node, builder: Builder) -> None:
    """Put what the builder holds before the node, whose name its names begin with."""
    prefix = node.name or next((value.name for value in node.outputs if value.name), "node")
    for count, inner in enumerate(builder.nodes):
        inner.name = f"{prefix}/{inner.op_type}_{count}"
        for place, value in enumerate(inner.outputs):
            value.name = f"{inner.name}:{place}"
    assert node.graph is not None
    node.graph.insert_before(node, builder.nodes)


def _sequence(replacement: Replacement) -> list[ir.Value | None]:
    return [replacement] if isinstance(replacement, ir.Value) else list(replacement)
