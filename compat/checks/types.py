"""Element types that exist in ONNX and not in TensorRT, or only at certain places of a network."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.rule import rule
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import dtype

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
    if dtype(result) != ir.DataType.UINT8 or not result.uses() or result.is_graph_output():
        return None
    return f"{result.name} is uint8 inside of the network"
