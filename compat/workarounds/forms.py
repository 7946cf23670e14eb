"""Other forms of operators, and products that are kept apart."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import NotApplicable, Replacement
from enginesmith.compat.graphs import ELEMENTWISE
from enginesmith.compat.miscompiles.patterns.around import maker, weighted
from enginesmith.compat.repairs import REPAIRS
from enginesmith.compat.values import argument, attribute, constant, dtype, rank, required, static_shape
from enginesmith.compat.walk import subgraphs
from enginesmith.compat.workarounds.workaround import EXACT, ROUNDED, Around, workaround

MAX_SUMMED = 4096
"""Elements along the axis up to which a running sum is a product with a triangular matrix."""


@workaround(EXACT)
def products_as_outputs(node: ir.Node, build: Around) -> None:
    """All but one of the products of the input are outputs of the graph too."""
    (x,) = required(node, 1)
    others = [user for user, place in x.uses() if place == 0 and user is not node and weighted(user)]
    for other in others:
        build.keep(other.outputs[0])


@workaround(EXACT)
def relu_and_minimum(node: ir.Node, build: Around) -> Replacement:
    """A Clip from 0 is a Relu and a Min."""
    x, _, high = required(node, 3)
    return build.op("Min", build.op("Relu", x), high)


@workaround(ROUNDED)
def two_rows(node: ir.Node, build: Around) -> Replacement:
    """The vector is put there twice, and one row, or column, of the product is taken."""
    x, w = required(node, 2)
    sizes = static_shape(node.outputs[0])
    if sizes is None or rank(x) in (None, 1) or rank(w) in (None, 1):
        raise NotApplicable("the sizes of its operands aren't known")
    row = sizes[-2] == 1
    turned = attribute(node, "transA" if row else "transB", 0)
    axis = -1 if row == bool(turned) else -2
    twice = build.op("Concat", *([x, x] if row else [w, w]), axis=axis)
    rest = node.inputs[2:]
    if not row and rest and rest[0] is not None and (static_shape(rest[0]) or [0])[-1] != 1:
        raise NotApplicable("the sizes of its operands aren't known")
    product = build.again(node, *((twice, w) if row else (x, twice)), *rest)
    place = len(sizes) - (2 if row else 1)
    return build.op("Slice", product, np.array([0]), np.array([1]), np.array([place]))


@workaround(EXACT)
def transposed_in_branches(node: ir.Node, build: Around) -> None:
    """Each branch of the If transposes what it computes its result from, element by element. The Transpose as such is no result
    of a branch: the builder of TensorRT-RTX 1.7 fails on that."""
    turned = maker(argument(node, 0), "Transpose", through=())
    chosen = maker(argument(turned, 0), "If", through=()) if turned is not None else None
    assert turned is not None
    assert chosen is not None
    (value,) = required(turned, 1)
    if len(value.uses()) > 1 or value.is_graph_output():
        raise NotApplicable("what the If returns is read elsewhere too")
    place = list(chosen.outputs).index(value)
    ends = [_elementwise_end(branch.outputs[place]) for branch in subgraphs(chosen)]
    for branch, end in zip(subgraphs(chosen), ends, strict=True):
        inner = ir.node("Transpose", [end[0].inputs[0]], dict(turned.attributes))
        inner.outputs[0].name = f"{end[0].outputs[0].name}/transposed"
        branch.insert_before(end[0], inner)
        end[0].replace_input_with(0, inner.outputs[0])
        for each in end:
            each.outputs[0].shape = turned.outputs[0].shape
    value.shape = turned.outputs[0].shape
    turned.outputs[0].replace_all_uses_with(value, replace_graph_outputs=True)
    assert turned.graph is not None
    turned.graph.remove(turned, safe=True)


@workaround(ROUNDED)
def triangular_product(node: ir.Node, build: Around) -> Replacement:
    """A running sum is a product with a triangular matrix."""
    x, axis = required(node, 2)
    place, sizes, kind = constant(axis), static_shape(x), dtype(x)
    if place is None or sizes is None or kind is None:
        raise NotApplicable("its axis or its sizes aren't known")
    if not kind.is_floating_point():
        raise NotApplicable("it sums integers, which products of floats may round")
    along = int(place.reshape(-1)[0]) % len(sizes)
    count = sizes[along]
    if count > MAX_SUMMED:
        raise NotApplicable(f"it sums {count} elements, for which the matrix is too large")
    summed = np.triu(np.ones((count, count), kind.numpy()), attribute(node, "exclusive", 0))
    matrix = summed.T.copy() if attribute(node, "reverse", 0) else summed
    order = [index for index in range(len(sizes)) if index != along] + [along]
    result = build.op("MatMul", build.op("Transpose", x, perm=order), matrix)
    return build.op("Transpose", result, perm=[int(index) for index in np.argsort(order)])


@workaround(ROUNDED)
def explicit_padding(node: ir.Node, build: Around) -> Replacement:
    """`output_shape` becomes the pads that it stands for."""
    return REPAIRS["conv-transpose-explicit"].rewrite(node, build)


@workaround(EXACT)
def nan_put_back(node: ir.Node, build: Around) -> Replacement:
    """Where an operand is NaN, it is taken in place of the result."""
    result = build.op(node.op_type, *node.inputs)
    for value in node.inputs if node.op_type == "Min" else node.inputs[:1]:
        if value is not None:
            result = build.op("Where", build.op("IsNaN", value), value, result)
    return result


@workaround(EXACT)
def modulus_by_division(node: ir.Node, build: Around) -> Replacement:
    """x - x / y * y in integers, which rounds towards 0, and y more where that has the other sign."""
    x, by = required(node, 2)
    zero = np.zeros((), (dtype(x) or ir.DataType.INT64).numpy())
    rest = build.op("Sub", x, build.op("Mul", build.op("Div", x, by), by))
    other = build.op("Xor", build.op("Less", rest, zero), build.op("Less", by, zero))
    wrong = build.op("And", build.op("Not", build.op("Equal", rest, zero)), other)
    return build.op("Where", wrong, build.op("Add", rest, by), rest)


def _elementwise_end(value: ir.Value) -> list[ir.Node]:
    """The elementwise operators of one operand that end in the value and that nothing else reads, in order. Raises NotApplicable
    where there are none."""
    end: list[ir.Node] = []
    node = value.producer()
    while (
        node is not None
        and node.graph is value.graph
        and node.op_type in ELEMENTWISE
        and len(node.inputs) == 1
        and len(node.outputs[0].uses()) == min(len(end), 1)
    ):
        end.insert(0, node)
        before = argument(node, 0)
        node = before.producer() if before is not None and not before.is_graph_output() else None
    if not end:
        raise NotApplicable("a branch of the If doesn't end in an operator of single elements")
    return end
