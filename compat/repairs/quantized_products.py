"""Products and convolutions of quantized integers, in floats that hold their sums exactly."""

from __future__ import annotations

from math import ceil

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.quantized import as_float, centred, positive, reshaped, saturated
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.target import TVM
from enginesmith.compat.values import argument, attribute, constant, dtype, rank, required, shape, static_shape

FLOAT, INT32 = ir.DataType.FLOAT, ir.DataType.INT32
EXACT = 2**24
"""Integers up to this are exact in float32."""
MAX_CHUNKS = 64
"""Parts into which a sum is split so that each is exact; more would make the graph too large."""


@repair(
    "matmul-integer-in-float",
    ops="MatMulInteger",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
product (uint8[2, 300] a, uint8[300, 3] b, uint8 za) => (int32[2, 3] y) { y = MatMulInteger (a, b, za) }
""",
)
def matmul_integer(node: ir.Node, build: Builder) -> Replacement:
    """The product is computed in float32, in parts whose sums are exact, which are added in int32."""
    a, b = required(node, 2)
    return _as(build, _matmul(build, a, b, argument(node, 2), argument(node, 3)), INT32)


Total = tuple[ir.Value, ir.DataType]
"""Exact sums of products, with the dtype in which they came out: float32, float64 or int32."""


def _matmul(build: Builder, a: ir.Value, b: ir.Value, a_zero: ir.Value | None, b_zero: ir.Value | None) -> Total:
    left, right = shape(a), shape(b)
    if not left or not right:
        raise NotApplicable("the ranks of its inputs are unknown")
    inner = -2 if len(right) > 1 else 0
    terms = left[-1] or right[inner]
    if a_zero is not None and rank(a_zero) == 1 and shape(a_zero) != [1]:
        a_zero = reshaped(build, a_zero, -1, 1)
    parts, kind = _parts(build, terms, _largest(b, b_zero, axis=inner), terms)
    x, y = centred(build, a, a_zero, kind), centred(build, b, b_zero, kind)
    if parts == 1 or terms is None:
        return build.op("MatMul", x, y), kind
    step = ceil(terms / parts)
    pieces = []
    for start in range(0, terms, step):
        left_part = build.op("Slice", x, [start], [start + step], [-1])
        pieces.append(build.op("MatMul", left_part, build.op("Slice", y, [start], [start + step], [inner])))
    return _added(build, pieces)


def _added(build: Builder, pieces: list[ir.Value]) -> Total:
    """The sum of whole numbers in float32, in int32."""
    total, *others = (build.op("Cast", piece, to=INT32) for piece in pieces)
    for other in others:
        total = build.op("Add", total, other)
    return total, INT32


def _as(build: Builder, total: Total, kind: ir.DataType) -> ir.Value:
    return total[0] if total[1] == kind else build.op("Cast", total[0], to=kind)


def _largest(weight: ir.Value, zero: ir.Value | None, axis: int | tuple[int, ...]) -> float | None:
    """The largest sum of magnitudes along `axis` of constant weights, None where they are no constants."""
    values, offset = constant(weight), constant(zero)
    if values is None or (zero is not None and (offset is None or offset.size > 1)):
        return None
    shift = 0 if offset is None else int(offset.reshape(()))
    return float(np.abs(values.astype(np.int64) - shift).sum(axis=axis).max(initial=0))


def _parts(build: Builder, terms: int | None, weights: float | None, splittable: int | None) -> tuple[int, ir.DataType]:
    """Into how many parts a sum of `terms` products of 8-bit numbers is split so that each is exact, and its dtype.

    `weights` bounds the sum of one factor's magnitudes. TVM has float64 and needs no parts: there each Cast to an
    integer repeats what it is applied to, and those of a split sum make an expression that takes forever to compile.
    """
    if weights is not None and weights * 255 < EXACT:
        return 1, FLOAT
    if terms is None:
        raise NotApplicable("the number of terms of its sums is unknown")
    parts = ceil(terms * 255 * 255 / EXACT)
    if parts > 1 and build.target.backend in TVM:
        return 1, ir.DataType.DOUBLE
    if parts > MAX_CHUNKS or parts > (splittable or 1):
        raise NotApplicable(f"its sums of {terms} products are not exact in float32")
    return parts, FLOAT


@repair(
    "qlinear-matmul-in-float",
    ops="QLinearMatMul",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
product (int8[2, 4] a, int8[4, 3] b) => (int8[2, 3] y)
  <float sa = {0.5}, int8 za = {1}, float sb = {0.25}, int8 zb = {-2}, float sy = {2}, int8 zy = {0}> {
  y = QLinearMatMul (a, sa, za, b, sb, zb, sy, zy)
}
""",
)
def qlinear_matmul(node: ir.Node, build: Builder) -> Replacement:
    """The integer product, computed exactly in float32, is scaled, rounded and clipped."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = required(node, 8)
    positive(build, a_scale, b_scale, y_scale)
    product = _as(build, _matmul(build, a, b, a_zero, b_zero), FLOAT)
    if rank(a_scale) == 1 and shape(a_scale) != [1]:
        a_scale = reshaped(build, a_scale, -1, 1)
    return _requantized(build, node, product, (a_scale, b_scale, y_scale), y_zero)


def _requantized(
    build: Builder, node: ir.Node, total: ir.Value, scales: tuple[ir.Value, ir.Value, ir.Value], zero: ir.Value | None
) -> ir.Value:
    """Rounded total · (a · b / y), shifted by the zero point and saturated: the order of ONNX Runtime's kernels."""
    kind = dtype(node.outputs[0])
    if kind not in (ir.DataType.INT8, ir.DataType.UINT8):
        raise NotApplicable("its result is no 8-bit integer")
    a, b, y = (as_float(build, scale) for scale in scales)
    factor = build.op("Div", build.op("Mul", a, b), y)
    rounded = build.op("Round", build.op("Mul", total, factor))
    return build.op("Cast", saturated(build, rounded, zero, kind), to=kind)


@repair(
    "conv-integer-in-float",
    ops="ConvInteger",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
convolved (uint8[1, 2, 4, 4] x, uint8[3, 2, 2, 2] w, uint8 zx) => (int32[1, 3, 5, 5] y) {
  y = ConvInteger <pads = [1, 1, 1, 1]> (x, w, zx)
}
""",
)
def conv_integer(node: ir.Node, build: Builder) -> Replacement:
    """The convolution is computed in float32, in parts whose sums are exact, which are added in int32."""
    x, w = required(node, 2)
    return _as(build, _conv(node, build, x, w, argument(node, 2), argument(node, 3)), INT32)


def _conv(
    node: ir.Node, build: Builder, x: ir.Value, w: ir.Value, x_zero: ir.Value | None, w_zero: ir.Value | None
) -> Total:
    kernel = static_shape(w)
    if kernel is None:
        raise NotApplicable("the shape of its weights is not known")
    if w_zero is not None and (shape(w_zero) or [1]) != [1]:
        w_zero = reshaped(build, w_zero, -1, *[1] * (len(kernel) - 1))
    given = {name: value.value for name, value in node.attributes.items()}
    channels = kernel[1]
    bound = _largest(w, w_zero, axis=tuple(range(1, len(kernel))))
    splittable = channels if attribute(node, "group", 1) == 1 else 1
    parts, kind = _parts(build, int(np.prod(kernel[1:])), bound, splittable)
    data, weights = centred(build, x, x_zero, kind), centred(build, w, w_zero, kind)
    if parts == 1:
        return build.op("Conv", data, weights, **given), kind
    step = ceil(channels / parts)
    pieces = []
    for start in range(0, channels, step):
        part, kernels = (build.op("Slice", whole, [start], [start + step], [1]) for whole in (data, weights))
        pieces.append(build.op("Conv", part, kernels, **given))
    return _added(build, pieces)


@repair(
    "qlinear-conv-in-float",
    ops="QLinearConv",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
convolved (int8[1, 2, 4, 4] x) => (int8[1, 2, 3, 3] y)
  <float sx = {0.5}, int8 zx = {1}, int8[2, 2, 2, 2] w = {1, -2, 3, 4, 5, 6, -7, 8, 9, 1, 2, -3, 4, 5, 6, 7},
   float[2] sw = {0.25, 0.5}, int8[2] zw = {0, 0}, float sy = {4}, int8 zy = {-1}, int32[2] b = {3, -100}> {
  y = QLinearConv (x, sx, zx, w, sw, zw, sy, zy, b)
}
""",
)
def qlinear_conv(node: ir.Node, build: Builder) -> Replacement:
    """The integer convolution, computed exactly in float32, gets its bias, is scaled, rounded and clipped."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = required(node, 8)
    positive(build, x_scale, w_scale, y_scale)
    total = _conv(node, build, x, w, x_zero, w_zero)
    per_channel = (-1, *[1] * ((rank(w) or 3) - 2))
    bias = argument(node, 8)
    if bias is not None:
        value, kind = total
        # One addition of two whole numbers, rounded once: what converting their sum gives.
        known = constant(bias)
        if kind == FLOAT and (known is None or np.abs(known.astype(np.int64)).max(initial=0) > EXACT):
            value, kind = build.op("Cast", value, to=INT32), INT32
        shaped = reshaped(build, bias, *per_channel)
        total = build.op("Add", value, shaped if kind == INT32 else as_float(build, shaped, kind)), kind
    if (shape(w_scale) or [1]) != [1]:
        w_scale = reshaped(build, w_scale, *per_channel)
    return _requantized(build, node, _as(build, total, FLOAT), (x_scale, w_scale, y_scale), y_zero)
