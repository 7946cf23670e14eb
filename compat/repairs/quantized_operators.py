"""Operators of ONNX Runtime's quantizer: each is the operator of its name on floats, between DequantizeLinear and QuantizeLinear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.fused_activations import MICROSOFT
from enginesmith.compat.repairs.quantized import dequantized_linear, quantized_linear, reshaped
from enginesmith.compat.repairs.quantized_kernels import LEVEL
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, dtype, rank, required, shape

BYTES = (ir.DataType.INT8, ir.DataType.UINT8)
POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
Compute = Callable[[ir.Node, Builder, Sequence[ir.Value]], ir.Value]


def _named(op: str, *names: str) -> Compute:
    """The operator `op` with those of the node's attributes."""

    def compute(node: ir.Node, build: Builder, inputs: Sequence[ir.Value]) -> ir.Value:
        return build.op(op, *inputs, **{name: attribute(node, name) for name in names})

    return compute


def _softmax(node: ir.Node, build: Builder, inputs: Sequence[ir.Value]) -> ir.Value:
    axis, dimensions = attribute(node, "axis", -1), rank(node.inputs[0])
    if attribute(node, "opset", 13) < 13 and (dimensions is None or axis % dimensions != dimensions - 1):
        raise NotApplicable("it takes several axes for one")
    return build.op("Softmax", inputs[0], axis=axis)


def _mean(node: ir.Node, build: Builder, inputs: Sequence[ir.Value]) -> ir.Value:
    return build.op("ReduceMean", inputs[0], attribute(node, "axes"), keepdims=attribute(node, "keepdims", 1))


def _leaky(node: ir.Node, build: Builder, inputs: Sequence[ir.Value]) -> ir.Value:
    return build.op("LeakyRelu", inputs[0], alpha=attribute(node, "alpha", 0.01))


COMPUTED: dict[str, tuple[int, int, int, Compute]] = {
    "QLinearAdd": (0, 2, 6, _named("Add")),
    "QLinearMul": (0, 2, 6, _named("Mul")),
    "QLinearSigmoid": (0, 1, 3, _named("Sigmoid")),
    "QLinearLeakyRelu": (0, 1, 3, _leaky),
    "QLinearSoftmax": (0, 1, 3, _softmax),
    "QLinearAveragePool": (0, 1, 3, _named("AveragePool", *POOL)),
    "QLinearGlobalAveragePool": (0, 1, 3, _named("GlobalAveragePool")),
    "QLinearReduceMean": (0, 1, 3, _mean),
    "QLinearConcat": (2, -1, 0, _named("Concat", "axis")),
    "QLinearWhere": (1, 2, 7, _named("Where")),
}
"""For each operator: the place of its first quantized tensor, how many there are (-1: as many as follow), the place of the
result's scale, and what is computed. A quantized tensor is followed by its scale and its zero point."""


@repair(
    "quantized-operator",
    ops=[MICROSOFT + op for op in COMPUTED],
    tolerance=LEVEL,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
sum (uint8[2, 3] a, uint8[2, 3] b) => (uint8[2, 3] y)
  <float sa = {0.5}, uint8 za = {1}, float sb = {0.25}, uint8 zb = {2}, float sy = {0.5}, uint8 zy = {3}> {
  y = com.microsoft.QLinearAdd (a, sa, za, b, sb, zb, sy, zy)
}
""",
)
def quantized_operator(node: ir.Node, build: Builder) -> Replacement:
    """The operator is computed on floats, between DequantizeLinear and QuantizeLinear."""
    first, count, scale, compute = COMPUTED[node.op_type]
    places = range(first, len(node.inputs) if count < 0 else first + 3 * count, 3)
    inputs = [_dequantized(node, build, place) for place in places]
    last = bool(attribute(node, "channels_last", 0))
    if last:
        inputs = [channels(build, inputs[0], _dimensions(node), first=True)]
    result = compute(node, build, [*(value for value in node.inputs[:first] if first == 1 and value), *inputs])
    if last:
        result = channels(build, result, _dimensions(node), first=False)
    given, zero = node.inputs[scale], argument(node, scale + 1)
    assert given is not None
    return build.op("QuantizeLinear", result, _one(build, given), None if zero is None else _one(build, zero))


def _dequantized(node: ir.Node, build: Builder, place: int) -> ir.Value:
    x, scale, zero = node.inputs[place], argument(node, place + 1), argument(node, place + 2)
    assert x is not None
    assert scale is not None
    return build.op("DequantizeLinear", x, _one(build, scale), None if zero is None else _one(build, zero))


def _one(build: Builder, parameter: ir.Value) -> ir.Value:
    """A scale or zero point for a whole tensor, without axes."""
    sizes = shape(parameter)
    if sizes not in ([], [1]):
        raise NotApplicable("it has a scale for each channel")
    return reshaped(build, parameter) if sizes else parameter


def _dimensions(node: ir.Node) -> int:
    dimensions = rank(node.inputs[0])
    if dimensions is None or dimensions < 3:
        raise NotApplicable("the rank of its input is unknown")
    return dimensions


def channels(build: Builder, x: ir.Value, dimensions: int, *, first: bool) -> ir.Value:
    """x, whose channels are last, with channels as the second axis (`first`); or the other way round."""
    middle = list(range(1, dimensions - 1))
    order = [0, dimensions - 1, *middle] if first else [0, *(axis + 1 for axis in middle), 1]
    return build.op("Transpose", x, perm=order)


@repair(
    "channels-last",
    ops=[MICROSOFT + op for op in ("NhwcMaxPool", "QLinearConv")],
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
pool (uint8[1, 4, 4, 2] x) => (uint8[1, 2, 2, 2] y) {
  y = com.microsoft.NhwcMaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
}
""",
)
def channels_last(node: ir.Node, build: Builder) -> Replacement:
    """An operator on tensors whose channels are last lies between two transpositions."""
    (x,), dimensions = required(node, 1), _dimensions(node)
    names = (*CONV, "ceil_mode", "dilations")
    given: dict[str, Any] = {name: attribute(node, name) for name in names}
    if node.op_type == "QLinearConv" and not attribute(node, "channels_last", 0):
        return build.op("QLinearConv", *node.inputs, **given)
    turned = channels(build, x, dimensions, first=True)
    op = node.op_type.removeprefix("Nhwc")
    return channels(build, build.op(op, turned, *node.inputs[1:], **given), dimensions, first=False)


@repair(
    "microsoft-quantization",
    ops=[MICROSOFT + op for op in ("QuantizeLinear", "DequantizeLinear")],
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
read (float[2, 3] x) => (float[2, 3] y) <float s = {0.5}, uint16 z = {3}> {
  q = Cast <to = 4> (x)
  y = com.microsoft.DequantizeLinear (q, s, z)
}
""",
)
def microsoft_quantization(node: ir.Node, build: Builder) -> Replacement:
    """Of 8 bits it is ONNX's own operator; of other widths it is computed in float32."""
    quantizes = node.op_type == "QuantizeLinear"
    kind = dtype(node.outputs[0] if quantizes else node.inputs[0])
    if kind is None or not kind.is_integer():
        raise NotApplicable("its type is unknown")
    if kind in BYTES:
        return build.op(node.op_type, *node.inputs, axis=attribute(node, "axis", 1))
    if quantizes:
        return build.op("Cast", quantized_linear(node, build, kind), to=kind)
    return dequantized_linear(node, build)
