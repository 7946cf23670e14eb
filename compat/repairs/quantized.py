"""Quantization and dequantization in floats, with the integers that the operators give, bit for bit."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.target import TENSORRT, TVM
from enginesmith.compat.values import argument, attribute, constant, dtype, rank, required, shape, static_shape

FLOAT, INT32 = ir.DataType.FLOAT, ir.DataType.INT32


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


def as_float(build: Builder, value: ir.Value, kind: ir.DataType = FLOAT) -> ir.Value:
    """The value as float32. A constant at once: TensorRT takes no int8 constant but before DequantizeLinear."""
    known = constant(value)
    if known is not None:
        return build.constant(known.astype(kind.numpy()))
    return value if dtype(value) == kind else build.op("Cast", value, to=kind)


def centred(build: Builder, value: ir.Value, zero: ir.Value | None, kind: ir.DataType = FLOAT) -> ir.Value:
    """value - zero as float32, exact for integers of 16 bits and fewer. `zero` broadcasts against it."""
    known = constant(zero)
    plain = as_float(build, value, kind)
    if zero is None or (known is not None and not known.any()):
        return plain
    return build.op("Sub", plain, as_float(build, zero, kind))


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
    whole_sizes = shape(node.inputs[0]) or []
    if None not in (sizes[0], whole_sizes[axis % whole]) and sizes[0] != whole_sizes[axis % whole]:
        raise NotApplicable("it has not one scale for each element of its axis")
    trailing = whole - 1 - axis % whole
    return reshaped(build, parameter, -1, *[1] * trailing) if trailing else parameter


def _blocked(build: Builder, parameter: ir.Value, node: ir.Node, axis: int) -> ir.Value:
    """Each scale stands for `block_size` neighbours along the axis."""
    sizes, block = static_shape(parameter), int(attribute(node, "block_size", 0))
    whole = static_shape(node.inputs[0])
    if sizes is None or whole is None or block < 1:
        raise NotApplicable("the shapes of its inputs are not known")
    axis %= len(whole)
    # in floats: Expand has no integers of 4 bits
    spread = build.op("Unsqueeze", as_float(build, parameter), np.array([axis + 1], np.int64))
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
    """A quantized tensor of int32, with a zero point, or of 4 bits without a sign, which TensorRT doesn't take, is computed in
    float32."""
    kind = dtype(node.inputs[0])
    few = (ir.DataType.INT4, ir.DataType.UINT4)
    if kind not in (ir.DataType.INT8, ir.DataType.UINT8, INT32, *few):
        raise NotApplicable("its input is no integer of 4, 8 or 32 bits")
    if kind in few and constant(node.inputs[0]) is None:
        raise NotApplicable("what it dequantizes is no constant")
    return dequantized_linear(node, build)


@repair(
    "dequantize-few-bits",
    ops="DequantizeLinear",
    backends=TVM,
    example="""
<ir_version: 10, opset_import: ["" : 21]>
weights (float[1, 4] x) => (float[1, 2] y) <float[2, 2] s = {0.5, 1, 2, 4}> {
  q = Constant <value = int8[4, 2] {1, -2, 3, -4, 5, -6, 7, -8}> ()
  w = DequantizeLinear <axis = 0, block_size = 2> (q, s)
  y = MatMul (x, w)
}
""",
)
def dequantize_few_bits(node: ir.Node, build: Builder) -> Replacement:
    """Constants of 4 bits, or with a scale for each block, which TVM doesn't take, are computed in float32."""
    if constant(node.inputs[0]) is None:
        raise NotApplicable("what it dequantizes is no constant")
    return dequantized_linear(node, build)
