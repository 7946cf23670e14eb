"""Element types that exist in ONNX and not in TensorRT, or only at certain places of a network."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.rule import rule
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import argument, constant_tensor, dtype, opset_of, rank

MAX_DIMENSIONS = 8
LEAST_DIMENSIONS = {
    "ArgMax": 2, "ArgMin": 2, "GlobalAveragePool": 3, "GlobalLpPool": 3, "GlobalMaxPool": 3, "Hardmax": 2, "LRN": 4,
    "LogSoftmax": 2, "LpNormalization": 1, "ReduceL1": 1, "ReduceL2": 1, "ReduceLogSum": 1, "ReduceLogSumExp": 1,
    "ReduceMax": 1, "ReduceMean": 1, "ReduceMin": 1, "ReduceProd": 1, "ReduceSum": 1, "ReduceSumSquare": 1, "Softmax": 2,
}  # fmt: skip
"""Dimensions that the layers behind these operators need, where ONNX allows fewer; measured with tensorrt-rtx 1.7."""
READ_BY_PARSER = ("Clip", "Constant", "Pad")
"""Operators whose constant operands the parser reads for itself."""
REMEDY = "cast to a type that TensorRT has, or let `doctor --fix` do so"
TAKEN = {
    ir.DataType[name]
    for name in (
        "UNDEFINED", "FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT32", "INT64", "BOOL",
        "FLOAT8E4M3FN", "FLOAT4E2M1", "INT4",
    )
}  # fmt: skip
"""What onnx-tensorrt's convertDtype knows."""
QUANTIZED = {ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT4E2M1, ir.DataType.INT4}
"""Types that exist only between QuantizeLinear, DequantizeLinear and what moves data."""
MOVES = ("Concat", "DequantizeLinear", "Expand", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Shape", "Squeeze",
         "Transpose", "Unsqueeze")  # fmt: skip


@rule(
    "no-such-type",
    ops="*",
    backends=TENSORRT,
    remedy=REMEDY,
    source="onnx-tensorrt onnxProtoUtils.cpp, convertDtype",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
short (float[4] x) => (float[4] y) { s = Cast <to = 5> (x)  y = Cast <to = 1> (s) }
""",
)
def no_such_type(node: ir.Node, target: Target) -> str | None:
    """TensorRT has no int16, uint16, uint32, uint64, complex or string, and of the float8 types only E4M3FN."""
    for value in (*node.outputs, *(v for v in node.inputs if v is not None)):
        found = dtype(value)
        if found is not None and found not in TAKEN:
            return f"{value.name} is {found.name.lower()}"
    return None


@rule(
    "quantized-type",
    ops="*",
    backends=TENSORRT,
    remedy="use QuantizeLinear and DequantizeLinear instead of Cast",
    source="TensorRT: what may produce and consume FP8, FP4 and INT4",
    example="""
<ir_version: 10, opset_import: ["" : 19]>
small (float[4] x) => (float[4] y) { s = Cast <to = 17> (x)  y = Cast <to = 1> (s) }
""",
)
def quantized_type(node: ir.Node, target: Target) -> str | None:
    """float8, float4 and int4 come out of QuantizeLinear and go into DequantizeLinear: nothing computes with them, and
    no Cast makes them."""
    if node.op_type in MOVES or node.op_type == "Constant":
        return None
    for value in (*node.outputs, *(v for v in node.inputs[:1] if v is not None)):
        if (found := dtype(value)) in QUANTIZED:
            return f"{value.name} is {found.name.lower()}"
    return None


@rule(
    "uint8-inside",
    ops=("Cast", "CastLike", "ConstantOfShape"),
    backends=TENSORRT,
    remedy="use int32 inside of the network",
    source="onnx-tensorrt onnxOpImporters.cpp, Cast: UINT8 is for the network's inputs and outputs",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
inside (float[4] x) => (float[4] y) { s = Cast <to = 2> (x)  y = Cast <to = 1> (s) }
""",
)
def uint8_inside(node: ir.Node, target: Target) -> str | None:
    """uint8 is a type of a network's inputs and outputs; inside there is none."""
    result = node.outputs[0]
    if dtype(result) != ir.DataType.UINT8:
        return None
    if node.op_type != "ConstantOfShape" and (not result.uses() or result.is_graph_output()):
        return None
    return f"{result.name} is uint8 inside of the network"


@rule(
    "too-many-dimensions",
    ops="*",
    backends=TENSORRT,
    remedy="fold dimensions together",
    source="TensorRT: Dims::MAX_DIMS",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
deep (float[1, 1, 1, 1, 1, 1, 1, 2] x) => (float[1, 1, 1, 1, 1, 1, 1, 2] y) <int64[1] a = {0}> {
  b = Unsqueeze (x, a)
  y = Squeeze (b, a)
}
""",
)
def too_many_dimensions(node: ir.Node, target: Target) -> str | None:
    """A tensor has 8 dimensions at most."""
    for value in (*node.inputs, *node.outputs):
        if value is not None and (found := rank(value)) is not None and found > MAX_DIMENSIONS:
            return f"{value.name} has {found} dimensions"
    return None


@rule(
    "too-few-dimensions",
    ops=tuple(LEAST_DIMENSIONS),
    backends=TENSORRT,
    remedy="unsqueeze the input, and squeeze the result",
    source="messages of tensorrt-rtx 1.7: «at least 2 dimensions are required for input»",
    example="""
<ir_version: 10, opset_import: ["" : 13]>
first (float[8] x) => (int64[1] y) { y = ArgMax (x) }
""",
)
def too_few_dimensions(node: ir.Node, target: Target) -> str | None:
    """The layers behind some operators take no vectors or scalars, and for these the parser adds no dimension."""
    found, least = rank(argument(node, 0)), LEAST_DIMENSIONS[node.op_type]
    flattened = node.op_type in ("Softmax", "LogSoftmax", "Hardmax") and opset_of(node.graph) < 13
    return (
        f"its input has {found} dimensions, and must have {least}"
        if found is not None and found < least and not flattened
        else None
    )


@rule(
    "int8-constant",
    ops="*",
    backends=TENSORRT,
    remedy="make the constant int32, and cast it where it is used",
    source="messages of tensorrt-rtx 1.7: «Quantized constant is only allowed before DQ»",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
shifted (int8[2] x) => (int8[2] y) <int8[2] w = {1, 2}> { y = Add (x, w) }
""",
)
def int8_constant(node: ir.Node, target: Target) -> str | None:
    """In a strongly typed network, which TensorRT 10 can build and later versions always do, an int8 constant is a
    quantized one: it may go into a DequantizeLinear alone."""
    if node.op_type in (*MOVES, *READ_BY_PARSER) or (target.backend == "tensorrt" and target.within("<10")):
        return None
    if node.op_type == "ConstantOfShape":
        return f"{node.outputs[0].name} is int8" if dtype(node.outputs[0]) == ir.DataType.INT8 else None
    for value in node.inputs:
        tensor = constant_tensor(value)
        if value is not None and tensor is not None and tensor.dtype == ir.DataType.INT8:
            return f"the constant {value.name} is int8"
    return None
