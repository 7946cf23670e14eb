"""Operators on the bits of integers, by arithmetic."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.integers import bitwise
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.target import TENSORRT, TVM
from enginesmith.compat.values import attribute, dtype, required

INT8, INT32, INT64 = ir.DataType.INT8, ir.DataType.INT32, ir.DataType.INT64


@repair(
    "bitwise-by-digits",
    ops=("BitwiseAnd", "BitwiseOr", "BitwiseXor"),
    backends=TENSORRT,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
both (int32[2, 3] a, int32[3] b) => (int32[2, 3] y) { y = BitwiseAnd (a, b) }
""",
)
def bitwise_by_digits(node: ir.Node, build: Builder) -> Replacement:
    """Each number is taken apart into digits of four bits, and a table tells the result for each pair of digits."""
    a, b = required(node, 2)
    kind = dtype(a)
    if kind in (INT32, INT64):
        return bitwise(build, node.op_type, a, b, kind, kind)
    if kind != INT8:
        raise NotApplicable("its inputs are no integers that TensorRT has")
    a, b = (build.op("Cast", value, to=INT32) for value in (a, b))
    return build.op("Cast", bitwise(build, node.op_type, a, b, INT32, INT8), to=INT8)


@repair(
    "bitwise-not-by-subtraction",
    ops="BitwiseNot",
    backends=TENSORRT,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
flipped (int64[2, 3] x) => (int64[2, 3] y) { y = BitwiseNot (x) }
""",
)
def bitwise_not(node: ir.Node, build: Builder) -> Replacement:
    """All bits of a signed x flipped is -1 - x."""
    kind = dtype(node.inputs[0])
    if kind not in (INT8, INT32, INT64):
        raise NotApplicable("its input is no signed integer that TensorRT has")
    return build.op("Sub", kind.numpy().type(-1), node.inputs[0])


@repair(
    "bitcast-by-cast",
    ops="BitCast",
    backends=TVM,
    example="""
<ir_version: 12, opset_import: ["" : 26]>
signed (uint32[3] x) => (int32[3] y) { y = BitCast <to = 6> (x) }
""",
)
def bitcast(node: ir.Node, build: Builder) -> Replacement:
    """Between integers of one size the same bits are what a Cast leaves, which wraps around."""
    source, made = dtype(node.inputs[0]), ir.DataType(attribute(node, "to"))
    if source is None or not source.is_integer() or not made.is_integer():
        raise NotApplicable("the bits of a float can't be had by arithmetic")
    return build.op("Cast", node.inputs[0], to=made)
