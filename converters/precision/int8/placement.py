"""Where int8 may be: the products, the branches that are added to them, and the tensors that share a scale."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from enginesmith.compat.values import argument, attribute, constant, rank
from enginesmith.converters.graphs.structure import is_constant, is_dequantized, is_float, is_standard, ordered, owners
from enginesmith.converters.precision import rules
from enginesmith.converters.precision.int8.weights import OPERATORS, factors

PASSING = frozenset((
    "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "SpaceToDepth", "Squeeze",
    "Tile", "Transpose", "Unsqueeze",
))  # fmt: skip
"""Operators whose output holds elements of their first input alone; with Concat and Split, and Pad and Resize in some
forms. Q and DQ can move across them where both sides have one scale."""
AFFINE = frozenset(("Add", "BatchNormalization", "Mul"))
"""What TensorRT folds into the product before it, where the other inputs are constants."""

TABLE = "a table of weights that is looked up is no product of int8"
BODY = "it is in the body of an If, a Loop or a Scan"
ACTIVATIONS = "both its factors are activations: no weights to save, and the rounding of both counts"
COMPUTED = "its weights are computed, or an input of the model"
VECTOR = "a product with a vector gains nothing in integers"
QUANTIZED = "it is quantized already"


@dataclass(frozen=True)
class Port:
    """An input of a node."""

    node: ir.Node
    index: int

    @property
    def value(self) -> ir.Value:
        value = self.node.inputs[self.index]
        assert value is not None
        return value


def candidates(model: ir.Model) -> dict[ir.Node, str]:
    """Every product of the model; empty where int8 is for it, else why not."""
    features, choosers = rules.products(model), rules.choosers(model)
    found = {}
    for node in ordered(model.graph):
        if not rules.is_product(node):
            continue
        if node in choosers:
            found[node] = rules.CHOICE
        elif node not in features:
            found[node] = rules.MASKS
        else:
            found[node] = _objection(node, model.graph)
    return found


def _objection(node: ir.Node, graph: ir.Graph) -> str:
    if node.op_type == "Gather":
        return TABLE
    if node.op_type not in OPERATORS:
        return f"TensorRT has no {node.op_type} in int8"
    if any(is_dequantized(value) for value in node.inputs):
        return QUANTIZED
    if not all(is_float(value) for value in node.inputs[:2]):
        return "it is not in float32"
    if any(rank(value) == 1 for value in node.inputs[:2]):
        return VECTOR
    if factors(node) is None:
        return COMPUTED if node.op_type in ("Conv", "ConvTranspose") or _has_constant(node) else ACTIVATIONS
    return BODY if node.graph is not graph else ""


def _has_constant(node: ir.Node) -> bool:
    return any(is_constant(value) for value in node.inputs[:2])


def data_port(node: ir.Node) -> Port:
    """The input of a candidate that its weights are multiplied with."""
    found = factors(node)
    assert found is not None
    return Port(node, found.data)


def skip_ports(model: ir.Model, chosen: Collection[ir.Node]) -> list[Port]:
    """The inputs of sums that are added to a convolution of `chosen`: with Q/DQ on the other branch, and none on the
    convolution's own, TensorRT makes one kernel of convolution and sum.

    Where both branches are convolutions, the later one is fused.
    """
    sums = _sums(model)
    ports = [port for node in chosen if (port := _skip_port(node, sums)) is not None]
    return list({port.node: port for port in ports}.values())


def _sums(model: ir.Model) -> set[ir.Node]:
    """Sums of features: neither do they choose positions, nor are they a result, which would only lose digits."""
    products = {node for node, reason in candidates(model).items() if not reason}
    leading = rules.before_products(model, owners(model), products)
    return {node for node in model.graph if node.op_type == "Add" and node in leading} - rules.choosers(model)


def _skip_port(node: ir.Node, sums: Collection[ir.Node]) -> Port | None:
    end = _fused(node)
    user = _only_reader(end)
    if node.op_type not in ("Conv", "ConvTranspose") or user is None or user not in sums:
        return None
    other = Port(user, 1 - next(iter(end.uses())).idx)
    if other.value is end or is_constant(other.value) or not _same_shape(other.value, end):
        return None
    return other


def _fused(node: ir.Node) -> ir.Value:
    """The product's output, behind scaling and shifting by constants."""
    value = node.outputs[0]
    user = _only_reader(value)
    while user is not None and user.op_type in AFFINE and all(v is value or is_constant(v) for v in user.inputs):
        value = user.outputs[0]
        user = _only_reader(value)
    return value


def _only_reader(value: ir.Value) -> ir.Node | None:
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() and is_standard(uses[0].node) else None


def _same_shape(one: ir.Value, other: ir.Value) -> bool:
    return one.shape is not None and one.shape == other.shape


def observed(model: ir.Model) -> list[str]:
    """Names of all tensors that a quantization of some candidates may need the histogram of."""
    chosen = [node for node, reason in candidates(model).items() if not reason]
    sums = _sums(model)
    # with other nodes chosen, another branch may be the one that is fused
    skips = [port for node in chosen if (port := _skip_port(node, sums)) is not None]
    ports = [*map(data_port, chosen), *skips]
    return list(dict.fromkeys(port.value.name for port in ports if port.value.name))


def scale_groups(graph: ir.Graph, values: Iterable[ir.Value]) -> list[list[ir.Value]]:
    """`values` by the scale that they share: all that are joined by a Concat, or by an operator that only moves
    elements, so that TensorRT can do it in int8.
    """
    parents: dict[ir.Value, ir.Value] = {}

    def root(value: ir.Value) -> ir.Value:
        while value in parents:
            value = parents[value]
        return value

    for node in graph:
        alike = _alike(node)
        for value in alike[1:]:
            if root(value) is not root(alike[0]):
                parents[root(value)] = root(alike[0])
    groups: dict[ir.Value, list[ir.Value]] = {}
    for value in values:
        groups.setdefault(root(value), []).append(value)
    return list(groups.values())


def _alike(node: ir.Node) -> list[ir.Value]:
    """The inputs and outputs of a node whose elements are the same ones."""
    if not is_standard(node) or not node.inputs or not is_float(node.outputs[0]):
        return []
    if node.op_type == "Concat":
        return [v for v in (*node.inputs, *node.outputs) if v is not None and not is_constant(v)]
    if node.op_type in PASSING or node.op_type == "Split" or _keeps_elements(node):
        return [v for v in (node.inputs[0], *node.outputs) if v is not None and is_float(v) and not is_constant(v)]
    return []


def _keeps_elements(node: ir.Node) -> bool:
    if node.op_type == "Pad":
        if attribute(node, "mode", "constant") != "constant":
            return True
        if argument(node, 2) is None:
            return True
        filled = constant(argument(node, 2))
        return filled is not None and not np.any(filled)
    return node.op_type in ("Resize", "Upsample") and attribute(node, "mode", "nearest") == "nearest"
