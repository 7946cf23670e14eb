"""Integers that TensorRT doesn't have, carried by wider ones through the whole graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, replace
from enginesmith.compat.graphs import infer, opset
from enginesmith.compat.interface import record
from enginesmith.compat.operators import QUANTIZING
from enginesmith.compat.repairs.graph_form import MODERN
from enginesmith.compat.repairs.integers import bitwise, wrapped
from enginesmith.compat.repairs.quantized import dequantized_linear, quantized_linear
from enginesmith.compat.repairs.repair import graph_repair
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import DEFAULT_DOMAINS, attribute, constant_tensor, dtype, required
from enginesmith.compat.walk import graphs


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


INT8, INT32, INT64 = ir.DataType.INT8, ir.DataType.INT32, ir.DataType.INT64
UINT8, UINT64, FLOAT = ir.DataType.UINT8, ir.DataType.UINT64, ir.DataType.FLOAT
CARRIERS = {ir.DataType.INT16: INT32, ir.DataType.UINT16: INT32, ir.DataType.UINT32: INT64, UINT64: INT64, UINT8: INT32}
"""The dtype that carries each one. TensorRT takes uint8 at the ends of a graph only, between Cast nodes."""
AT_THE_ENDS = {UINT8}
"""Dtypes that an input or output may keep."""
KEPT = _names(
    "Identity Reshape Transpose Squeeze Unsqueeze Flatten Concat Slice Gather GatherElements GatherND Split Expand "
    "Tile Where Pad DepthToSpace SpaceToDepth ScatterElements ScatterND ReduceMax ReduceMin ArgMax ArgMin "
    "TopK Equal Less LessOrEqual Greater GreaterOrEqual Shape Size NonZero Compress Unique If Loop Scan Clip Trilu "
    "ReverseSequence Constant ConstantOfShape Mod Sign OneHot CenterCropPad"
)
"""Operators that only move or compare numbers: the same in the wider dtype."""
WRAPPED = _names("Add Sub Mul Div Neg Abs Sum ReduceSum ReduceProd ReduceL1 ReduceSumSquare CumSum Pow")
"""Operators that may leave the range: the result is brought back into it, as an overflow in the narrow dtype would."""
IN_FLOAT = _names("MaxPool Resize Upsample MatMul")
"""Operators that ONNX or TensorRT doesn't have for int32: done in float32, exact for numbers of 16 bits or fewer."""

Carried = dict[ir.Value, ir.DataType]
"""The dtype that each carried value had."""


@graph_repair(
    "carried-integers",
    backends=TENSORRT,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sums (uint16[3] x, uint16[3] z) => (uint16[3] y, uint16[3] b) { y = Add (x, z)  b = BitwiseXor (x, z) }
""",
)
def carried_integers(model: ir.Model, target: Target) -> int:
    """Integers of 16 bits, unsigned ones and uint8 inside a graph are computed in int32 or int64, exactly.

    Results are wrapped as an overflow would. An input or output of 16 bits, uint32 or uint64 gets the wider dtype, on
    record in the model's metadata; a uint64 keeps its 64 bits, so numbers from 2^63 on compare and divide as negative.
    """
    if opset(model) < MODERN or not any(_declared(model)):
        return 0
    infer(model)
    carried = _carried(model)
    for graph in graphs(model):
        for node in graph:
            _check(node, carried)
    before = [[carried.get(value) for value in ends] for ends in (model.graph.inputs, model.graph.outputs)]
    for value, original in carried.items():
        _retype(value, CARRIERS[original])
    # before the first rewrite, which puts another value in the place of a carried one
    touched = [
        (node, [carried[value] for value in node.outputs if value in carried], kinds)
        for graph in graphs(model)
        for node in graph
        if (kinds := [carried[value] for value in (*node.outputs, *node.inputs) if value in carried])
    ]
    for node, made, kinds in touched:
        _rewrite(node, made[0] if made else None, kinds[0], target)
    _interface(model, before)
    return len(carried)


def _declared(model: ir.Model) -> Iterator[bool]:
    """Does the graph say somewhere, before any inference, that it has such a dtype?"""
    for graph in model.graphs():
        for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
            yield dtype(value) in CARRIERS
        for node in graph:
            yield any(dtype(value) in CARRIERS for value in node.outputs)
            yield node.op_type == "Cast" and ir.DataType(attribute(node, "to", 1)) in CARRIERS


def _carried(model: ir.Model) -> Carried:
    """The values to carry: all of a dtype that TensorRT doesn't have, and of those at the ends the touched ones."""
    carried: Carried = {}
    touched: list[ir.Value] = []
    linked: dict[ir.Value, set[ir.Value]] = {}
    for graph in graphs(model):
        for value in (*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)):
            kind = dtype(value)
            if kind in CARRIERS and kind not in AT_THE_ENDS:
                carried[value] = kind
        for node in graph:
            narrow = [v for v in (*node.inputs, *node.outputs) if v is not None and dtype(v) in AT_THE_ENDS]
            if node.op_type == "Cast":
                made = node.outputs[0]
                touched += [made] if dtype(made) in AT_THE_ENDS and made.uses() else []
            elif node.op_type not in QUANTIZING:
                touched += narrow
                for value in narrow:
                    linked.setdefault(value, set()).update(narrow)
    while touched:
        value = touched.pop()
        if value not in carried:
            carried[value] = UINT8
            touched += linked.get(value, ())
    return carried


def _check(node: ir.Node, carried: Carried) -> None:
    kinds = {carried[value] for value in (*node.inputs, *node.outputs) if value in carried}
    known = node.domain in DEFAULT_DOMAINS and (
        node.op_type in KEPT | WRAPPED | {*QUANTIZING, "Cast", *_REWRITES}
        or (node.op_type in IN_FLOAT and all(kind.bitwidth <= 16 for kind in kinds))
    )
    reduction = attribute(node, "reduction", "none") if node.op_type.startswith("Scatter") else "none"
    if kinds and (not known or reduction in ("add", "mul")):
        names = " and ".join(sorted(kind.name.lower() for kind in kinds))
        raise NotApplicable(f"{node.op_type} of {names} has no form in wider integers")


def _retype(value: ir.Value, wide: ir.DataType) -> None:
    tensor = constant_tensor(value)
    value.type = ir.TensorType(wide)  # the type's own dtype is shared with the model that this one is a copy of
    if tensor is None:
        return
    widened = ir.tensor(tensor.numpy().astype(wide.numpy()), name=value.name)
    value.const_value = widened
    node = value.producer()
    if node is not None and node.op_type == "Constant":
        node.attributes.clear()
        node.attributes["value"] = ir.AttrTensor("value", widened)


def _rewrite(node: ir.Node, made: ir.DataType | None, narrow: ir.DataType, target: Target) -> None:
    """What the node needs beside its new dtypes: of its first output, None where that is not carried, and of any."""
    rewrite = _REWRITES.get(node.op_type)
    if node.op_type == "ConstantOfShape" and made is not None:
        content = attribute(node, "value").numpy().astype(CARRIERS[made].numpy())
        node.attributes["value"] = ir.AttrTensor("value", ir.tensor(content))
    elif node.op_type in WRAPPED and made is not None:
        rewrite = _wrapped
    elif node.op_type in IN_FLOAT:
        rewrite = _in_float
    if rewrite is None or (node.op_type in ("Cast", "QuantizeLinear") and made is None):
        return
    build = Builder(node, target)
    replace(node, build, [rewrite(node, build, narrow)])


def _again(node: ir.Node, build: Builder, inputs: list[ir.Value | None], **attributes: int) -> ir.Value:
    """The same node once more, on other inputs."""
    copy = ir.node(node.op_type, inputs, attributes, num_outputs=1)
    for name, given in node.attributes.items():
        copy.attributes.setdefault(name, given)
    build.nodes.append(copy)
    return copy.outputs[0]


def _wrapped(node: ir.Node, build: Builder, narrow: ir.DataType) -> ir.Value:
    result = _again(node, build, list(node.inputs))
    grows = narrow.is_signed() or node.op_type not in ("Div", "Abs")
    return wrapped(build, result, CARRIERS[narrow], narrow) if grows else result


def _in_float(node: ir.Node, build: Builder, narrow: ir.DataType) -> ir.Value:
    wide = CARRIERS[narrow]
    inputs = [build.op("Cast", v, to=FLOAT) if v is not None and v.dtype == wide else v for v in node.inputs]
    if node.op_type != "MatMul":
        inputs[1:] = node.inputs[1:]
    return build.op("Cast", _again(node, build, inputs), to=wide)


def _cast(node: ir.Node, build: Builder, narrow: ir.DataType) -> ir.Value:
    """From a float or a wider integer the number is wrapped too, which is what processors do."""
    wide = CARRIERS[narrow]
    result = _again(node, build, list(node.inputs), to=wide)
    return result if dtype(node.inputs[0]) == ir.DataType.BOOL else wrapped(build, result, wide, narrow)


def _bitwise(node: ir.Node, build: Builder, narrow: ir.DataType) -> ir.Value:
    a, b = required(node, 2)
    return bitwise(build, node.op_type, a, b, CARRIERS[narrow], INT64 if narrow == UINT64 else narrow)


def _extreme(node: ir.Node, build: Builder, narrow: ir.DataType) -> ir.Value:
    """By comparison: ONNX Runtime 1.31 compares the low 32 bits only in its Max and Min of int64."""
    result, *others = required(node, len(node.inputs))
    compared = "Greater" if node.op_type == "Max" else "Less"
    for other in others:
        result = build.op("Where", build.op(compared, result, other), result, other)
    return result


def _not(node: ir.Node, build: Builder, narrow: ir.DataType) -> ir.Value:
    """All bits flipped is -1 - x, and 2^bits - 1 - x where there is no sign."""
    largest = -1 if narrow.is_signed() or narrow == UINT64 else 2**narrow.bitwidth - 1
    return build.op("Sub", CARRIERS[narrow].numpy().type(largest), node.inputs[0])


def _shift(node: ir.Node, build: Builder, narrow: ir.DataType) -> ir.Value:
    """A shift by n multiplies or divides by 2^n; one by all the bits or more leaves nothing."""
    x, by = node.inputs
    if narrow == UINT64:
        return _shift_of_all_bits(node, build)
    wide = CARRIERS[narrow]
    kind, bits = wide.numpy().type, narrow.bitwidth
    power = build.op("Gather", kind(2) ** np.arange(bits, dtype=kind), build.op("Min", by, kind(bits - 1)))
    left = attribute(node, "direction") == "LEFT"
    moved = wrapped(build, build.op("Mul", x, power), wide, narrow) if left else build.op("Div", x, power)
    return build.op("Where", build.op("Less", by, kind(bits)), moved, kind(0))


def _shift_of_all_bits(node: ir.Node, build: Builder) -> ir.Value:
    """A shift of uint64, whose 64 bits are those of an int64. To the left they fall out of a product. To the right the quotient
    of a negative number is rounded down, as -1 - (-1 - x) / 2^n, and 2^(64 - n) is added for the sign that is none.

    The greatest powers have no place in an int64, so that all are taken in two halves.
    """
    x, by = node.inputs
    places = np.arange(64, dtype=np.int64)
    low, high = np.int64(2) ** (places // 2), np.int64(2) ** (places - places // 2)
    some = build.op("Min", by, np.int64(63))
    halves = [build.op("Gather", powers, some) for powers in (low, high)]
    # ONNX Runtime compares the low 32 bits only in its Min of int64; a shift that is too large is seen here.
    fits = build.op("And", build.op("Less", by, np.int64(64)), build.op("GreaterOrEqual", by, np.int64(0)))
    if attribute(node, "direction") == "LEFT":
        moved = build.op("Mul", build.op("Mul", x, halves[0]), halves[1])
        return build.op("Where", fits, moved, np.int64(0))
    negative = build.op("Less", x, np.int64(0))
    turned = build.op("Where", negative, build.op("Sub", np.int64(-1), x), x)
    quotient = build.op("Div", build.op("Div", turned, halves[0]), halves[1])
    half = build.op("Gather", np.where(places > 0, np.int64(2) ** np.maximum(63 - places, 0), 0), some)
    down = build.op("Add", build.op("Add", build.op("Sub", np.int64(-1), quotient), half), half)
    return build.op("Where", fits, build.op("Where", negative, down, quotient), np.int64(0))


def _bitcast(node: ir.Node, build: Builder, narrow: ir.DataType) -> ir.Value:
    """Between integers of one size the same bits are the number congruent modulo that size."""
    made, wide = ir.DataType(attribute(node, "to")), CARRIERS[narrow]
    source = dtype(node.inputs[0])
    if not made.is_integer() or source is None or not source.is_integer():
        raise NotApplicable("the bits of a float can't be had by arithmetic")
    same = wrapped(build, build.op("Cast", node.inputs[0], to=wide), wide, made)
    return same if made in CARRIERS else build.op("Cast", same, to=made)


def _quantize(node: ir.Node, build: Builder, narrow: ir.DataType) -> ir.Value:
    return build.op("Cast", quantized_linear(node, build, narrow), to=CARRIERS[narrow])


def _dequantize(node: ir.Node, build: Builder, narrow: ir.DataType) -> ir.Value:
    return dequantized_linear(node, build)


_REWRITES: dict[str, Callable[[ir.Node, Builder, ir.DataType], ir.Value]] = {
    "Cast": _cast,
    "Max": _extreme,
    "Min": _extreme,
    "BitwiseAnd": _bitwise,
    "BitwiseOr": _bitwise,
    "BitwiseXor": _bitwise,
    "BitwiseNot": _not,
    "BitShift": _shift,
    "BitCast": _bitcast,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
}


def _interface(model: ir.Model, before: list[list[ir.DataType | None]]) -> None:
    """Inputs and outputs that may keep their dtype get a Cast; of the others the original dtype goes on record."""
    graph = model.graph
    for ends, kinds in zip((graph.inputs, graph.outputs), before, strict=True):
        for index, (value, original) in enumerate(zip(list(ends), kinds, strict=True)):
            if original in AT_THE_ENDS:
                outer = ir.Value(name=value.name, shape=value.shape, type=ir.TensorType(original))
                value.name = f"{value.name}/wide"
                ends[index] = outer
                if ends is graph.inputs:
                    graph.insert_before(graph[0], ir.node("Cast", [outer], {"to": CARRIERS[original]}, outputs=[value]))
                else:
                    graph.append(ir.node("Cast", [value], {"to": original}, outputs=[outer]))
            elif original is not None:
                record(model, value.name or "", original)
