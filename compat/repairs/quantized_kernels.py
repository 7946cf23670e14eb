"""Convolutions and products of symmetric int8 as Q/DQ around the float operator: what TensorRT makes int8 kernels of."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.target import TENSORRT
from enginesmith.compat.values import Array, argument, constant, dtype, rank, required

LEVEL = 1.01 / 127
"""One level of int8: sums in float32 are rounded, so that a result between two levels may fall to the other side."""


@repair(
    "qlinear-conv-by-qdq",
    ops="QLinearConv",
    backends=TENSORRT,
    tolerance=LEVEL,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
convolved (int8[1, 2, 4, 4] x) => (int8[1, 2, 3, 3] y)
  <float sx = {0.5}, int8 z = {0}, int8[2, 2, 2, 2] w = {1, -2, 3, 4, 5, 6, -7, 8, 9, 1, 2, -3, 4, 5, 6, 7},
   float[2] sw = {0.25, 0.5}, int8[2] zw = {0, 0}, float sy = {0.25}, int32[2] b = {3, -100}> {
  y = QLinearConv (x, sx, z, w, sw, zw, sy, z, b)
}
""",
)
def qlinear_conv(node: ir.Node, build: Builder) -> Replacement:
    """With zero points of 0 the input and the weights are dequantized, convolved in floats, and quantized again."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = required(node, 8)
    scales = _symmetric(x, (x_zero, w_zero, y_zero), (x_scale, w_scale, y_scale))
    bias = argument(node, 8)
    offset = constant(bias)
    if bias is not None and offset is None:
        raise NotApplicable("its bias is known at run time only")
    given = {name: value.value for name, value in node.attributes.items()}
    axis = 0 if rank(w_scale) else None
    operands = [
        build.op("DequantizeLinear", x, x_scale, x_zero),
        build.op("DequantizeLinear", w, w_scale, w_zero, axis=axis),
    ]
    if offset is not None:
        operands.append(build.constant((offset * (scales[0] * scales[1]).astype(np.float64)).astype(np.float32)))
    return build.op("QuantizeLinear", build.op("Conv", *operands, **given), y_scale, y_zero)


@repair(
    "qlinear-matmul-by-qdq",
    ops="QLinearMatMul",
    backends=TENSORRT,
    tolerance=LEVEL,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
product (int8[2, 4] a, int8[4, 3] b) => (int8[2, 3] y) <float s = {0.25}, int8 z = {0}, float sy = {0.125}> {
  y = QLinearMatMul (a, s, z, b, s, z, sy, z)
}
""",
)
def qlinear_matmul(node: ir.Node, build: Builder) -> Replacement:
    """With zero points of 0 both factors are dequantized, multiplied in floats, and quantized again."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = required(node, 8)
    scales = _symmetric(a, (a_zero, b_zero, y_zero), (a_scale, b_scale, y_scale))
    if any(scale.size > 1 for scale in scales):
        raise NotApplicable("it has a scale for each row or column")
    factors = (build.op("DequantizeLinear", *part) for part in ((a, a_scale, a_zero), (b, b_scale, b_zero)))
    return build.op("QuantizeLinear", build.op("MatMul", *factors), y_scale, y_zero)


def _symmetric(x: ir.Value, zeros: tuple[ir.Value, ...], scales: tuple[ir.Value, ...]) -> list[Array]:
    """The scales, where all is int8 with zero points of 0."""
    points = [constant(zero) for zero in zeros]
    if dtype(x) != ir.DataType.INT8 or any(zero is None or zero.dtype != np.int8 or zero.any() for zero in points):
        raise NotApplicable("it is no symmetric int8")
    known = [constant(scale) for scale in scales]
    found = [scale for scale in known if scale is not None]
    if len(found) < len(known) or any(scale.dtype != np.float32 for scale in found):
        raise NotApplicable("its scales are known at run time only")
    return found
