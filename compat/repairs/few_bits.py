"""Weights of 2, 4 and 8 bits in blocks, each with a scale: dequantized, and multiplied or looked up as floats."""

from __future__ import annotations

from math import ceil

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.fused_activations import MICROSOFT
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import Array, argument, attribute, constant, dtype, required

ROUNDED = 0.02
"""What accuracy_level 4 of MatMulNBits costs, which rounds the other factor to int8 in blocks: the exact product is right."""
NORMAL_FLOATS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""NF4: quantiles of the normal distribution (Dettmers et al., QLoRA, 2023), as bitsandbytes has them."""
FOUR_BITS = (0.0, 0.005208333333, 0.66666667, 1.0, 0.33333333, 0.5, 0.16666667, 0.25)
"""FP4 of bitsandbytes, the positive half; the fourth bit is the sign."""


@repair(
    "matmul-of-few-bits",
    ops=MICROSOFT + "MatMulNBits",
    tolerance=ROUNDED,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
product (float[2, 16] x) => (float[2, 1] y)
  <uint8[1, 1, 8] w = {16, 50, 84, 118, 152, 186, 220, 254}, float[1] s = {0.5}> {
  y = com.microsoft.MatMulNBits <K = 16, N = 1, bits = 4, block_size = 16> (x, w, s)
}
""",
)
def matmul_of_few_bits(node: ir.Node, build: Builder) -> Replacement:
    """Weights in blocks of 2, 4 or 8 bits are dequantized, and multiplied in floats."""
    x, packed, scales = node.inputs[0], constant(argument(node, 1)), constant(argument(node, 2))
    zeros, order, bias = argument(node, 3), argument(node, 4), argument(node, 5)
    if x is None or packed is None or scales is None or any(v and constant(v) is None for v in (zeros, order)):
        raise NotApplicable("its weights are no constants")
    if zeros is not None and order is not None:
        raise NotApplicable(
            "ONNX Runtime passes over the zero points of reordered weights: nothing shows what is right"
        )
    columns, rows = int(attribute(node, "N")), int(attribute(node, "K"))
    bits, block = int(attribute(node, "bits", 4)), int(attribute(node, "block_size"))
    blocks = -(-rows // block)
    weights = _unpacked(packed.reshape(columns, -1), bits)[:, :rows]
    group = np.arange(rows) // block if order is None else constant(order)
    points = constant(zeros)
    if points is None:
        points = np.full((columns, blocks), 1 << (bits - 1))
    elif points.dtype == np.uint8:
        points = _unpacked(points.reshape(columns, -1), bits)
    points, each = (table.astype(np.float32).reshape(columns, -1)[:, group] for table in (points, scales))
    matrix = np.ascontiguousarray(((weights - points) * each).T).astype(scales.dtype)
    product = build.op("MatMul", x, matrix)
    return product if bias is None else build.op("Add", product, bias)


def _unpacked(rows: Array, bits: int) -> Array:
    """The numbers of so many bits in bytes, the lowest bits first, as float32."""
    if bits not in (2, 4, 8):
        raise NotApplicable(f"its weights have {bits} bits")
    shifts = np.arange(0, 8, bits)
    return ((rows[..., None] >> shifts) & ((1 << bits) - 1)).reshape(*rows.shape[:-1], -1).astype(np.float32)


@repair(
    "matmul-of-four-bit-floats",
    ops=MICROSOFT + "MatMulBnb4",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
product (float[2, 16] x) => (float[2, 1] y) <uint8[8] w = {16, 50, 84, 118, 152, 186, 220, 254}, float[1] s = {0.5}> {
  y = com.microsoft.MatMulBnb4 <K = 16, N = 1, block_size = 16, quant_type = 1> (x, w, s)
}
""",
)
def matmul_of_four_bit_floats(node: ir.Node, build: Builder) -> Replacement:
    """Each 4 bits, the upper of a byte first, are the place of a number in a table, times the scale of the block."""
    packed, scales = constant(argument(node, 1)), constant(argument(node, 2))
    if packed is None or scales is None:
        raise NotApplicable("its weights are no constants")
    columns, rows, block = (int(attribute(node, name)) for name in ("N", "K", "block_size"))
    table = NORMAL_FLOATS if attribute(node, "quant_type") == 1 else (*FOUR_BITS, *(-number for number in FOUR_BITS))
    flat = packed.reshape(-1)
    places = np.stack([flat >> 4, flat & 15], axis=1).reshape(-1)[: columns * rows]
    each = np.repeat(scales.reshape(-1).astype(np.float32), block)[: columns * rows]
    matrix = (np.array(table, np.float32)[places] * each).reshape(columns, rows).astype(scales.dtype)
    return build.op(
        "MatMul", node.inputs[0], np.ascontiguousarray(matrix.T) if attribute(node, "transB", 1) else matrix
    )


@repair(
    "gather-of-few-bits",
    ops=MICROSOFT + "GatherBlockQuantized",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
rows (int64[2] i) => (float[2, 16] y)
  <uint8[2, 8] w = {16, 50, 84, 118, 152, 186, 220, 254, 1, 2, 3, 4, 5, 6, 7, 8}, float[2, 1] s = {0.5, 0.25}> {
  y = com.microsoft.GatherBlockQuantized <block_size = 16, gather_axis = 0, quantize_axis = 1> (w, i, s)
}
""",
)
def gather_of_few_bits(node: ir.Node, build: Builder) -> Replacement:
    """The table is dequantized, each block along an axis by its own scale, and looked up as floats."""
    table, scales, zeros = (constant(argument(node, place)) for place in (0, 2, 3))
    if table is None or scales is None or (zeros is None and argument(node, 3) is not None):
        raise NotApplicable("its table is no constant")
    packed, bits = table.dtype == np.uint8, int(attribute(node, "bits", 4))
    if packed:
        table = _unpacked(table, bits)
        zeros = np.array(1 << (bits - 1)) if zeros is None else _unpacked(zeros, bits)
    axis = int(attribute(node, "quantize_axis", 1)) % table.ndim
    size, block = table.shape[axis], int(attribute(node, "block_size", 128))
    if scales.shape[axis] != ceil(size / block):
        raise NotApplicable(f"its scales are not one for each {block} elements")

    def spread(values: Array) -> Array:
        wide = np.repeat(values.astype(np.float32), block, axis=axis)
        return np.take(wide, np.arange(size), axis=axis)

    less = np.float32(0) if zeros is None else spread(zeros) if zeros.ndim else zeros.astype(np.float32)
    real = ((table.astype(np.float32) - less) * spread(scales)).astype(scales.dtype)
    along = int(attribute(node, "gather_axis", 0)) % real.ndim
    return build.op("Gather", *_with_nothing(build, real, required(node, 2)[1], along), axis=along)


def _with_nothing(build: Builder, table: Array, places: ir.Value, axis: int) -> tuple[Array, ir.Value]:
    """The table with zeros at its end, and the places with those that are none of its own moved there, as ONNX Runtime has it."""
    kind = dtype(places)
    if kind is None:
        raise NotApplicable("the type of its indices is unknown")
    zero, size = (np.array(value, kind.numpy()) for value in (0, table.shape[axis]))
    from_start = build.op("Where", build.op("Less", places, zero), build.op("Add", places, size), places)
    own = build.op("And", build.op("GreaterOrEqual", from_start, zero), build.op("Less", from_start, size))
    longer = np.concatenate([table, np.zeros_like(np.take(table, [0], axis=axis))], axis=axis)
    return longer, build.op("Where", own, from_start, size)
