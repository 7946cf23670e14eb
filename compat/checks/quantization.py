"""Quantization for TensorRT and TensorRT-RTX: QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.origin import origin
from enginesmith.compat.checks.rule import rule
from enginesmith.compat.checks.sources import CHECKERS
from enginesmith.compat.operators import QUANTIZING
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import argument, attribute, constant, dtype, shape, static_shape

SOURCE = f"{CHECKERS} and onnxOpImporters.cpp, QuantDequantLinearHelper"
QUANTIZED = {ir.DataType[name] for name in ("INT8", "FLOAT8E4M3FN", "INT4", "FLOAT4E2M1")}
"""What there is to quantize to. A zero point of uint8 is read as one of int8."""


@rule(
    "zero-point",
    ops=QUANTIZING,
    backends=TENSORRT,
    remedy="quantize symmetrically, to int8 with zero points of 0",
    source=SOURCE,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
shifted (float[4] x) => (float[4] y) <float s = {0.5}, int8 z = {3}> { q = QuantizeLinear (x, s, z)  y = DequantizeLinear (q, s, z) }
""",
)
def zero_point(node: ir.Node, target: Target) -> str | None:
    """Quantization is symmetric: a zero point is a constant 0."""
    value = argument(node, 2)
    if value is None or dtype(value) == ir.DataType.FLOAT8E4M3FN:
        return None
    known = constant(value)
    if known is None:
        return None if origin(value) == "constant" else "its zero point is known at run time only"
    wrong = known.ravel()[known.ravel().astype("float64") != 0]
    return f"its zero point is {float(wrong[0]):g}" if wrong.size else None


@rule(
    "quantized-to",
    ops=QUANTIZING,
    backends=TENSORRT,
    remedy="quantize weights and activations to int8, and leave the bias in float",
    source="messages of tensorrt-rtx 1.7: «must have type FP8, FP4, Int4, Int8, or UInt8»",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
bias (float[4] x) => (float[4] y) <int32[4] b = {1, 2, 3, 4}, float s = {0.5}> { d = DequantizeLinear (b, s)  y = Add (x, d) }
""",
)
def quantized_to(node: ir.Node, target: Target) -> str | None:
    """There is int8, and from 10.0 int4 and float8, from 10.8 float4. ONNX Runtime's static quantization writes the bias
    as int32, unless told not to."""
    value = node.outputs[0] if node.op_type == "QuantizeLinear" else argument(node, 0)
    found = dtype(value)
    if found is None or found in QUANTIZED:
        return None
    producer = value.producer() if value is not None else None
    inside = node.op_type == "QuantizeLinear" or (producer is not None and producer.op_type == "QuantizeLinear")
    if found == ir.DataType.UINT8 and inside:  # read as int8, since its zero point is 0
        return None
    return f"it is quantized to {found.name.lower()}"


@rule(
    "quantization-scale",
    ops=QUANTIZING,
    backends=TENSORRT,
    remedy="quantize again, with scales above 0",
    source=SOURCE,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
none (float[4] x) => (float[4] y) <float s = {0}, int8 z = {0}> { q = QuantizeLinear (x, s, z)  y = DequantizeLinear (q, s, z) }
""",
)
def quantization_scale(node: ir.Node, target: Target) -> str | None:
    """Scales are above 0."""
    scale = constant(argument(node, 1))
    return (
        "a scale is not above 0"
        if scale is not None and scale.size and not (scale.astype("float64") > 0).all()
        else None
    )


@rule(
    "quantization-axis",
    ops=QUANTIZING,
    backends=TENSORRT,
    remedy="give one scale per element of the axis, or blocks of one size along one axis",
    source=SOURCE,
    example="""
<ir_version: 10, opset_import: ["" : 21]>
blocks (float[4, 6] x) => (float[4, 6] y) <float[2, 3] s = {1, 1, 1, 1, 1, 1}, int8[2, 3] z = {0, 0, 0, 0, 0, 0}> {
  q = QuantizeLinear <axis = 0, block_size = 2> (x, s, z)
  y = DequantizeLinear <axis = 0, block_size = 2> (q, s, z)
}
""",
)
def quantization_axis(node: ir.Node, target: Target) -> str | None:
    """A vector of scales has the size of the axis; a scale of the input's rank differs from the input along one axis."""
    sizes, scales = shape(argument(node, 0)), shape(argument(node, 1))
    if not sizes or not scales or None in sizes or None in scales:
        return None
    if len(scales) == 1:
        return unfit_scales(node) or None
    blocked = [axis for axis, (a, b) in enumerate(zip(sizes, scales, strict=False)) if a != b]
    return f"its scales {scales} are blocked along {len(blocked)} axes" if len(blocked) > 1 else None


def unfit_scales(node: ir.Node) -> str:
    """What is wrong with the scales of a QuantizeLinear or DequantizeLinear node, one for each element of an axis of another
    size; empty where they fit, or a shape isn't known."""
    sizes, scales = shape(argument(node, 0)), shape(argument(node, 1))
    axis = attribute(node, "axis", 1)
    if not sizes or scales is None or len(scales) != 1 or not -len(sizes) <= axis < len(sizes):
        return ""
    if None in (scales[0], sizes[axis]) or scales[0] in (1, sizes[axis]):
        return ""
    fitting = [place for place, size in enumerate(sizes) if size == scales[0]]
    more = f"; they fit axis {fitting[0]}: set axis={fitting[0]}" if len(fitting) == 1 else ""
    return f"it has {scales[0]} scales for the {sizes[axis]} elements of axis {axis}{more}"


@rule(
    "int4-count",
    ops=QUANTIZING,
    backends=TENSORRT,
    remedy="pad the tensor to an even number of elements",
    source="messages of the parser of tensorrt-rtx 1.7: 4-bit quantization requires an even number of elements",
    example="""
<ir_version: 10, opset_import: ["" : 21]>
odd (float[5] x) => (float[5] y) <float s = {0.5}> { q = QuantizeLinear <output_dtype = 22> (x, s)  y = DequantizeLinear (q, s) }
""",
)
def int4_count(node: ir.Node, target: Target) -> str | None:
    """Elements of 4 bits come in pairs."""
    value = node.outputs[0] if node.op_type == "QuantizeLinear" else argument(node, 0)
    sizes = static_shape(value)
    if sizes is None or dtype(value) not in (ir.DataType.INT4, ir.DataType.FLOAT4E2M1):
        return None
    count = 1
    for size in sizes:
        count *= size
    return f"it has {count} elements" if count % 2 else None


@rule(
    "quantization-dtype",
    ops="QuantizeLinear",
    backends=TENSORRT,
    remedy="leave output_dtype out, and give a zero point",
    source="messages of the parser of tensorrt-rtx 1.7: «Attribute output_dtype specifies an unsupported data type»",
    example="""
<ir_version: 10, opset_import: ["" : 21]>
short (float[4] x) => (int16[4] y) <float s = {0.5}> { y = QuantizeLinear <output_dtype = 5> (x, s) }
""",
)
def quantization_dtype(node: ir.Node, target: Target) -> str | None:
    """output_dtype is one of the types that there are."""
    wanted = attribute(node, "output_dtype", 0)
    return None if not wanted or wanted in QUANTIZED else f"output_dtype is {ir.DataType(wanted).name.lower()}"
