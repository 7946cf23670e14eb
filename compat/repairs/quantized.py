"""Quantized arithmetic in floats and in int32, with the results of the integer operators bit for bit."""

from __future__ import annotations

from math import ceil
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from enginesmith.compat.repairs.repair import Builder, NotApplicable, Replacement, repair
from enginesmith.compat.target import TENSORRT
from enginesmith.compat.values import argument, attribute, constant, dtype, rank, required, shape, static_shape

FLOAT, INT32 = ir.DataType.FLOAT, ir.DataType.INT32
EXACT = 2**24
"""Integers up to this are exact in float32."""
MAX_CHUNKS = 64
"""Parts into which a sum is split so that each is exact; more would make the graph too large."""


def quantized(build: Builder, x: ir.Value, scale: ir.Value, zero: ir.Value | None, kind: ir.DataType) -> ir.Value:
    """Saturated round(x / scale) + zero as float32, of the range of the integer dtype `kind`.

    `x` is float32; `scale` and `zero` broadcast against it.
    """
    rounded = build.op("Round", build.op("Div", x, scale))
    return saturated(build, rounded, zero, kind)


def saturated(build: Builder, rounded: ir.Value, zero: ir.Value | None, kind: ir.DataType) -> ir.Value:
    """rounded + zero, kept within the range of the integer dtype `kind`, all in float32."""
    shifted = rounded if zero is None else build.op("Add", rounded, as_float(build, zero))
    return build.op("Clip", shifted, np.float32(kind.min), np.float32(kind.max))


def as_float(build: Builder, value: ir.Value) -> ir.Value:
    """The value as float32. A constant at once: TensorRT takes no int8 constant but before DequantizeLinear."""
    known = constant(value)
    if known is not None:
        return build.constant(known.astype(np.float32))
    return value if dtype(value) == FLOAT else build.op("Cast", value, to=FLOAT)


def centred(build: Builder, value: ir.Value, zero: ir.Value | None) -> ir.Value:
    """value - zero as float32, exact for integers of 16 bits and fewer. `zero` broadcasts against it."""
    known = constant(zero)
    plain = as_float(build, value)
    return (
        plain
        if zero is None or (known is not None and not known.any())
        else build.op("Sub", plain, as_float(build, zero))
    )


Given = TypeVar("Given", ir.Value, ir.Value | None)


def positive(build: Builder, *scales: ir.Value) -> None:
    """Have the repair proved with ordinary scales where they are no constants: one of zero has no meaning."""
    for index, scale in enumerate(scales):
        sizes = static_shape(scale)
        if constant(scale) is None and sizes is not None:
            kind = dtype(scale) or FLOAT
            build.assume(scale, np.full(sizes, 0.25 * (index + 1), kind.numpy()))


def reshaped(build: Builder, value: ir.Value, *sizes: int) -> ir.Value:
    """The value in another shape, a constant at once."""
    known = constant(value)
    if known is not None:
        return build.constant(known.reshape(sizes))
    return build.op("Reshape", value, np.array(sizes, np.int64))


def along(build: Builder, parameter: Given, node: ir.Node, axis: int) -> Given:
    """A scale or zero point, one per index of `axis` of the node's first input or one for all, made to broadcast."""
    sizes, whole = shape(parameter), rank(node.inputs[0])
    if parameter is None or sizes == [] or sizes == [1]:
        return parameter
    if sizes is None or whole is None:
        raise NotApplicable("the rank of its inputs is unknown")
    if len(sizes) > 1:
        return _blocked(build, parameter, node, axis)
    trailing = whole - 1 - axis % whole
    return reshaped(build, parameter, -1, *[1] * trailing) if trailing else parameter


def _blocked(build: Builder, parameter: ir.Value, node: ir.Node, axis: int) -> ir.Value:
    """Each scale stands for `block_size` neighbours along the axis."""
    sizes, block = static_shape(parameter), int(attribute(node, "block_size", 0))
    whole = static_shape(node.inputs[0])
    if sizes is None or whole is None or block < 1:
        raise NotApplicable("the shapes of its inputs are not known")
    axis %= len(whole)
    spread = build.op("Unsqueeze", parameter, np.array([axis + 1], np.int64))
    expanded = build.op("Expand", spread, np.array([*sizes[: axis + 1], block, *sizes[axis + 1 :]], np.int64))
    joined = build.op("Reshape", expanded, np.array([*sizes[:axis], sizes[axis] * block, *sizes[axis + 1 :]], np.int64))
    return build.op("Slice", joined, [0], [whole[axis]], [axis])


def quantized_linear(node: ir.Node, build: Builder, kind: ir.DataType) -> ir.Value:
    """What a QuantizeLinear node computes, as float32."""
    x, scale = required(node, 2)
    positive(build, scale)
    axis = int(attribute(node, "axis", 1))
    scale, zero = along(build, scale, node, axis), along(build, argument(node, 2), node, axis)
    if dtype(x) not in (FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, INT32):
        raise NotApplicable("its input is no float tensor")
    return quantized(build, as_float(build, x), as_float(build, scale), zero, kind)


def dequantized_linear(node: ir.Node, build: Builder) -> ir.Value:
    """What a DequantizeLinear node computes: the difference is exact, its product with the scale float32."""
    x, scale = required(node, 2)
    positive(build, scale)
    axis = int(attribute(node, "axis", 1))
    scale, zero = along(build, scale, node, axis), along(build, argument(node, 2), node, axis)
    real = build.op("Mul", centred(build, x, zero), as_float(build, scale))
    kind = dtype(node.outputs[0]) or dtype(node.inputs[1])
    return real if kind == FLOAT else build.op("Cast", real, to=kind or FLOAT)


@repair(
    "quantize-in-float",
    ops="QuantizeLinear",
    backends=TENSORRT,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
asymmetric (float[2, 3] x) => (int8[2, 3] y) <float scale = {0.5}, int8 zero = {3}> {
  y = QuantizeLinear (x, scale, zero)
}
""",
)
def quantize(node: ir.Node, build: Builder) -> Replacement:
    """Quantization with a zero point, which TensorRT has not, is division, rounding and clipping in float32."""
    kind = dtype(node.outputs[0])
    if kind not in (ir.DataType.INT8, ir.DataType.UINT8):
        raise NotApplicable("it quantizes to no 8-bit integer")
    return build.op("Cast", quantized_linear(node, build, kind), to=kind)


@repair(
    "dequantize-in-float",
    ops="DequantizeLinear",
    backends=TENSORRT,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
bias (float[2, 3] x) => (float[2, 3] y) <int32[3] b = {1, -200, 3000}, float scale = {0.5}> {
  r = DequantizeLinear (b, scale)
  y = Add (x, r)
}
""",
)
def dequantize(node: ir.Node, build: Builder) -> Replacement:
    """A quantized tensor of int32 or with a zero point, which TensorRT doesn't take, is computed in float32."""
    kind = dtype(node.inputs[0])
    if kind not in (ir.DataType.INT8, ir.DataType.UINT8, INT32):
        raise NotApplicable("its input is no integer of 8 or 32 bits")
    return dequantized_linear(node, build)


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
    return _matmul(build, *required(node, 2), argument(node, 2), argument(node, 3))


def _matmul(build: Builder, a: ir.Value, b: ir.Value, a_zero: ir.Value | None, b_zero: ir.Value | None) -> ir.Value:
    left, right = shape(a), shape(b)
    if not left or not right:
        raise NotApplicable("the ranks of its inputs are unknown")
    terms = left[-1] or (right[-2] if len(right) > 1 else right[-1])
    if a_zero is not None and rank(a_zero) == 1 and shape(a_zero) != [1]:
        a_zero = reshaped(build, a_zero, -1, 1)
    x, y = centred(build, a, a_zero), centred(build, b, b_zero)
    parts = _parts(terms, _largest(b, b_zero, axis=-2 if len(right) > 1 else 0), terms)
    if parts == 1 or terms is None:
        return build.op("Cast", build.op("MatMul", x, y), to=INT32)
    step = ceil(terms / parts)
    total: ir.Value | None = None
    for start in range(0, terms, step):
        end = min(start + step, terms)
        piece = build.op(
            "MatMul",
            build.op("Slice", x, [start], [end], [-1]),
            build.op("Slice", y, [start], [end], [-2 if len(right) > 1 else 0]),
        )
        whole = build.op("Cast", piece, to=INT32)
        total = whole if total is None else build.op("Add", total, whole)
    assert total is not None
    return total


def _largest(weight: ir.Value, zero: ir.Value | None, axis: int | tuple[int, ...]) -> float | None:
    """The largest sum of magnitudes along `axis` of constant weights, None where they are no constants."""
    values, offset = constant(weight), constant(zero)
    if values is None or (zero is not None and (offset is None or offset.size > 1)):
        return None
    shift = 0 if offset is None else int(offset.reshape(()))
    return float(np.abs(values.astype(np.int64) - shift).sum(axis=axis).max(initial=0))


def _parts(terms: int | None, weights: float | None, splittable: int | None) -> int:
    """Into how many parts a sum of `terms` products of 8-bit numbers is split so that each stays exact in float32."""
    if weights is not None and weights * 255 < EXACT:
        return 1
    if terms is None:
        raise NotApplicable("the number of terms of its sums is unknown")
    parts = ceil(terms * 255 * 255 / EXACT)
    if parts > MAX_CHUNKS or parts > (splittable or 1):
        raise NotApplicable(f"its sums of {terms} products are not exact in float32")
    return parts


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
    product = build.op("Cast", _matmul(build, a, b, a_zero, b_zero), to=FLOAT)
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
    return _conv(node, build, *required(node, 2), argument(node, 2), argument(node, 3))


def _conv(
    node: ir.Node,
    build: Builder,
    x: ir.Value,
    w: ir.Value,
    x_zero: ir.Value | None,
    w_zero: ir.Value | None,
) -> ir.Value:
    kernel = static_shape(w)
    if kernel is None:
        raise NotApplicable("the shape of its weights is not known")
    if w_zero is not None and (shape(w_zero) or [1]) != [1]:
        w_zero = reshaped(build, w_zero, -1, *[1] * (len(kernel) - 1))
    given = {name: value.value for name, value in node.attributes.items()}
    data, weights = centred(build, x, x_zero), centred(build, w, w_zero)
    channels = kernel[1]
    bound = _largest(w, w_zero, axis=tuple(range(1, len(kernel))))
    parts = _parts(int(np.prod(kernel[1:])), bound, channels if int(given.get("group", 1)) == 1 else 1)
    step = ceil(channels / parts)
    total: ir.Value | None = None
    for start in range(0, channels, step):
        pieces = [data, weights]
        if parts > 1:
            pieces = [build.op("Slice", piece, [start], [start + step], [1]) for piece in pieces]
        whole = build.op("Cast", build.op("Conv", *pieces, **given), to=INT32)
        total = whole if total is None else build.op("Add", total, whole)
    assert total is not None
    return total


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
        total = build.op("Add", total, reshaped(build, bias, *per_channel))
    if (shape(w_scale) or [1]) != [1]:
        w_scale = reshaped(build, w_scale, *per_channel)
    return _requantized(build, node, build.op("Cast", total, to=FLOAT), (x_scale, w_scale, y_scale), y_zero)
