"""Attentions and normalizations: a fusion broken by an output, another form, a higher precision."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.building import NotApplicable, Replacement
from enginesmith.compat.miscompiles.patterns.around import MOVING, following, is_one, maker
from enginesmith.compat.repairs import REPAIRS
from enginesmith.compat.values import argument, dtype, required
from enginesmith.compat.workarounds.workaround import EXACT, ROUNDED, Around, workaround

FUSIBLE = ("Mul", "Div", "Add", "Sub", "Where", "Cast", "Clip", "Identity")
"""What stands between the products of an attention and its Softmax."""


@workaround(EXACT)
def weights_as_output(node: ir.Node, build: Around) -> None:
    """The weights of the attention are an output of the graph too."""
    weights = maker(argument(node, 0), "Softmax")
    assert weights is not None
    build.keep(weights.outputs[0])


@workaround(ROUNDED)
def scaled_once(node: ir.Node, build: Around) -> Replacement:
    """The queries are scaled by both numbers, the keys by none."""
    queries, keys = required(node, 2)
    scaled = maker(keys, "Mul", through=MOVING)
    assert scaled is not None
    number, matrix = sorted(required(scaled, 2), key=lambda side: not is_one(side))
    if len(scaled.outputs[0].uses()) > 1 or scaled.outputs[0].is_graph_output():
        raise NotApplicable("the scaled keys are read elsewhere too")
    if keys is scaled.outputs[0]:
        keys = matrix
    else:
        scaled.outputs[0].replace_all_uses_with(matrix)
    return build.op("MatMul", build.op("Mul", queries, number), keys)


@workaround(ROUNDED)
def attention_written_out(node: ir.Node, build: Around) -> Replacement:
    """The attention is written as the standard defines it: products, a mask and a Softmax."""
    return REPAIRS["function-body"].rewrite(node, build)


@workaround(ROUNDED)
def attention_in_float32(node: ir.Node, build: Around) -> Replacement:
    """Both products of the attention and the Softmax are computed in float32."""
    weights = next(following(node, "Softmax", through=FUSIBLE), None)
    last = next(following(weights, "MatMul", through=FUSIBLE), None) if weights is not None else None
    if last is None:
        raise NotApplicable("what follows its Softmax is no product")
    return _in_float32(build, _between(node, last))


@workaround(ROUNDED)
def variance_in_float32(node: ir.Node, build: Around) -> Replacement:
    """The squares, their mean and its root are computed in float32."""
    mean = maker(argument(node, 0), "ReduceMean", through=("Add",))
    squares = maker(argument(mean, 0), "Pow", "Mul", through=()) if mean is not None else None
    assert squares is not None
    return _in_float32(build, _between(squares, node))


def _between(first: ir.Node, last: ir.Node) -> list[ir.Node]:
    """The nodes from one to another that follows from it, in order. Raises NotApplicable where others read what is between."""
    chain = [first]
    while chain[-1] is not last:
        users = {user for user, _ in chain[-1].outputs[0].uses()}
        if len(users) != 1 or chain[-1].outputs[0].is_graph_output():
            raise NotApplicable("what is computed on the way is read elsewhere too")
        chain.append(users.pop())
    return chain


def _in_float32(build: Around, chain: list[ir.Node]) -> ir.Value:
    """The nodes of a chain anew, in float32; the last one's result in the type that it had. It takes the last one's place."""
    half = dtype(chain[-1].outputs[0])
    wider: dict[ir.Value, ir.Value] = {}
    for node in chain:
        if node.op_type == "Cast":
            wider[node.outputs[0]] = build.op("Cast", wider[required(node, 1)[0]], to=ir.DataType.FLOAT)
            continue
        operands = [
            wider[value]
            if value in wider
            else build.op("Cast", value, to=ir.DataType.FLOAT)
            if value is not None and dtype(value) == half
            else value
            for value in node.inputs
        ]
        wider[node.outputs[0]] = build.again(node, *operands)
    build.node = chain[-1]
    return build.op("Cast", wider[chain[-1].outputs[0]], to=half)
