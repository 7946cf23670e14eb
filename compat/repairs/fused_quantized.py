"""Products of quantized factors into which ONNX Runtime's optimizer has put their scales."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.fused_activations import MICROSOFT
from enginesmith.compat.repairs.fused_attention import attended
from enginesmith.compat.repairs.quantized import positive, saturated
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, constant, dtype, required, static_shape

FLOAT = ir.DataType.FLOAT
SUMS = 1e-5
"""Sums of floats in another order."""


def _product(
    build: Builder,
    a: ir.Value,
    b: ir.Value,
    scales: tuple[ir.Value, ir.Value],
    zeros: tuple[ir.Value | None, ir.Value | None],
) -> ir.Value:
    """The integer product of a and b, less their zero points, times both scales, in float32."""
    total = build.op("Cast", build.op("MatMulInteger", a, b, *zeros), to=FLOAT)
    return build.op("Mul", total, build.op("Mul", *scales))


@repair(
    "matmul-integer-to-float",
    ops=MICROSOFT + "MatMulIntegerToFloat",
    tolerance=SUMS,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
product (uint8[2, 4] a, int8[4, 3] b, float sa, float[3] sb, uint8 za) => (float[2, 3] y) {
  y = com.microsoft.MatMulIntegerToFloat (a, b, sa, sb, za)
}
""",
)
def matmul_integer_to_float(node: ir.Node, build: Builder) -> Replacement:
    """The integer product, scaled, and the bias."""
    a, b, a_scale, b_scale = required(node, 4)
    positive(build, a_scale, b_scale)
    product = _product(build, a, b, (a_scale, b_scale), (argument(node, 4), argument(node, 5)))
    bias = argument(node, 6)
    return product if bias is None else build.op("Add", product, bias)


@repair(
    "dynamic-quantize-matmul",
    ops=MICROSOFT + "DynamicQuantizeMatMul",
    tolerance=SUMS,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
product (float[2, 4] a) => (float[2, 3] y)
  <int8[4, 3] b = {1, 2, 3, -4, 5, 6, 7, -8, 9, 1, 2, 3}, float[3] s = {0.5, 0.25, 1}> {
  y = com.microsoft.DynamicQuantizeMatMul (a, b, s)
}
""",
)
def dynamic_quantize_matmul(node: ir.Node, build: Builder) -> Replacement:
    """The first factor is quantized by DynamicQuantizeLinear, then the integer product is scaled."""
    a, b, b_scale = required(node, 3)
    positive(build, b_scale)
    q, scale, zero = build.ops("DynamicQuantizeLinear", a, outputs=3)
    product = _product(build, q, b, (scale, b_scale), (zero, argument(node, 3)))
    bias = argument(node, 4)
    return product if bias is None else build.op("Add", product, bias)


@repair(
    "quantized-gemm",
    ops=MICROSOFT + "QGemm",
    tolerance=1.01 / 127,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
product (uint8[2, 4] a) => (uint8[2, 3] y)
  <float sa = {0.5}, uint8 za = {1}, int8[4, 3] b = {1, 2, 3, -4, 5, 6, 7, -8, 9, 1, 2, 3}, float sb = {0.25},
   int8 zb = {0}, int32[3] c = {30, -20, 10}, float sy = {2}, uint8 zy = {128}> {
  y = com.microsoft.QGemm (a, sa, za, b, sb, zb, c, sy, zy)
}
""",
)
def quantized_gemm(node: ir.Node, build: Builder) -> Replacement:
    """The integer product with its bias is scaled, and quantized again where a scale for that is given."""
    a, a_scale, a_zero, b, b_scale, b_zero = required(node, 6)
    given = [value for value in (a_scale, b_scale, argument(node, 7)) if value is not None]
    positive(build, *given)
    if attribute(node, "transA", 0):
        a = build.op("Transpose", a, perm=[1, 0])
    if attribute(node, "transB", 0):
        content = constant(b)
        b = (
            build.op("Transpose", b, perm=[1, 0])
            if content is None
            else build.constant(np.ascontiguousarray(content.T))
        )
    total = build.op("MatMulInteger", a, b, a_zero, b_zero)
    if (bias := argument(node, 6)) is not None:
        total = build.op("Add", total, bias)
    factor = build.op("Mul", build.op("Mul", a_scale, b_scale), np.float32(attribute(node, "alpha", 1.0)))
    y_scale, kind = argument(node, 7), dtype(node.outputs[0])
    if y_scale is None:
        return build.op("Mul", build.op("Cast", total, to=FLOAT), factor)
    if kind not in (ir.DataType.INT8, ir.DataType.UINT8):
        raise NotApplicable("its type is unknown")
    rounded = build.op("Round", build.op("Mul", build.op("Cast", total, to=FLOAT), build.op("Div", factor, y_scale)))
    return build.op("Cast", saturated(build, rounded, argument(node, 8), kind), to=kind)


@repair(
    "quantized-attention",
    ops=MICROSOFT + "QAttention",
    tolerance=SUMS,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
attend (uint8[1, 2, 4] x) => (float[1, 2, 2] y)
  <int8[4, 6] w = {1, 2, 3, -4, 5, 6, 7, -8, 9, 1, 2, 3, 4, 5, -6, 7, 8, 9, 1, -2, 3, 4, 5, 6},
   float[6] b = {0.5, 1, 2, 0, 1, 3}, float sx = {0.01}, float sw = {0.02}, uint8 z = {128}> {
  y = com.microsoft.QAttention <num_heads = 1> (x, w, b, sx, sw, , z)
}
""",
)
def quantized_attention(node: ir.Node, build: Builder) -> Replacement:
    """Queries, keys and values are one integer product, scaled; the attention itself is in floats."""
    x, weights, bias, x_scale, w_scale = required(node, 5)
    positive(build, x_scale, w_scale)
    sizes = static_shape(weights)
    if sizes is None:
        raise NotApplicable("the shape of its weights is unknown")
    product = _product(build, x, weights, (x_scale, w_scale), (argument(node, 6), argument(node, 7)))
    product = build.op("Add", product, bias)
    return attended(node, build, product, bias, [sizes[1] // 3] * 3, argument(node, 5), argument(node, 8))
