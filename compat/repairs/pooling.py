"""Pooling in the forms that backends refuse: dilated, over integers, with indices, of any order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import modern
from enginesmith.compat.repairs.pool_windows import MAX_TAPS, Windows, maxima, padded, sums, tap
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, constant, dtype, shape, static_shape, used

FLOAT = ir.DataType.FLOAT
INTEGERS = (ir.DataType.INT8, ir.DataType.UINT8)


def as_float(build: Builder, x: ir.Value | None, *allowed: ir.DataType) -> tuple[ir.Value, bool]:
    """`x` as float32, and whether it was something else. Raises NotApplicable for dtypes not among `allowed`."""
    kind = dtype(x)
    if x is None or kind is None or kind not in (FLOAT, *allowed):
        raise NotApplicable(f"its input is {kind.name.lower() if kind else 'of unknown dtype'}")
    return (x, False) if kind == FLOAT else (build.op("Cast", x, to=int(FLOAT)), True)


@repair(
    "pool-explicit-pads",
    ops=("MaxPool", "AveragePool", "LpPool"),
    tolerance=1e-6,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pool (float[1, 3, 7, 9] x) => (float[1, 3, 4, 5] y) {
  y = MaxPool <auto_pad = "SAME_LOWER", kernel_shape = [3, 2], strides = [2, 2]> (x)
}
""",
)
def pool_explicit_pads(node: ir.Node, build: Builder) -> Replacement:
    """`auto_pad` becomes the padding that it stands for."""
    auto = attribute(node, "auto_pad", "NOTSET")
    if auto == "NOTSET":
        raise NotApplicable("it has that form already")
    windows = Windows.of(node)
    if auto.startswith("SAME") and min(windows.reach) < min(0, *windows.after):
        raise NotApplicable("its strides leave gaps between the windows")
    kept = {name: item.value for name, item in node.attributes.items() if name not in ("auto_pad", "pads")}
    pads = [*windows.before, *windows.after]
    return build.ops(node.op_type, node.inputs[0], outputs=2 if used(node, 1) else 1, **kept, pads=pads)


@repair(
    "max-pool-float",
    ops="MaxPool",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pool (uint8[1, 3, 8, 8] x) => (uint8[1, 3, 4, 4] y) {
  y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
}
""",
)
def max_pool_float(node: ir.Node, build: Builder) -> Replacement:
    """A maximum of 8-bit integers is taken of the same numbers in float32, which holds each of them."""
    if dtype(node.inputs[0]) not in INTEGERS:
        raise NotApplicable("its input is no 8-bit integer")
    x = build.op("Cast", node.inputs[0], to=int(FLOAT))
    kept = {name: item.value for name, item in node.attributes.items()}
    pooled = build.ops("MaxPool", x, outputs=2 if used(node, 1) else 1, **kept)
    return [build.op("CastLike", pooled[0], node.inputs[0]), *pooled[1:]]


@repair(
    "max-pool-indices",
    ops="MaxPool",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pool (float[2, 3, 8, 8] x) => (float[2, 3, 4, 4] y, int64[2, 3, 4, 4] at) {
  y, at = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 0, 0]> (x)
}
""",
)
def max_pool_indices(node: ir.Node, build: Builder) -> Replacement:
    """The index of each maximum is found by ArgMax over the elements of a window, laid one behind the other."""
    if not used(node, 1):
        raise NotApplicable("its indices are not used")
    modern(build)
    windows = Windows.of(node)
    sizes = static_shape(node.inputs[0])
    if sizes is None:
        raise NotApplicable("the input's sizes are not known")
    if math.prod(windows.kernel) > MAX_TAPS:
        raise NotApplicable(f"a window of {windows.kernel} has too many elements")
    x, cast = as_float(build, node.inputs[0], ir.DataType.FLOAT16, *INTEGERS)
    wide = padded(build, x, windows, -math.inf)
    spatial = range(len(windows.kernel))
    places = list(itertools.product(*(range(k) for k in windows.kernel)))
    taps = [tap(build, wide, windows, dict(zip(spatial, place, strict=True))) for place in places]
    stack = build.op("Concat", *(build.op("Unsqueeze", part, [0]) for part in taps), axis=0)
    which = build.op("ArgMax", stack, axis=0, keepdims=0)
    pooled = build.op("ReduceMax", stack, np.asarray([0]), keepdims=0)
    order = list(reversed(spatial)) if attribute(node, "storage_order", 0) == 0 else list(spatial)
    steps, step = [0] * len(windows.size), 1
    for i in order:
        steps[i], step = step, step * windows.size[i]
    shifts = [sum(k * d * s for k, d, s in zip(place, windows.dilations, steps, strict=True)) for place in places]
    origin = np.arange(sizes[0] * sizes[1]).reshape(sizes[:2]) * step
    for i, count in enumerate(windows.counts):
        origin = origin[..., None] + (np.arange(count) * windows.strides[i] - windows.before[i]) * steps[i]
    at = build.op("Add", build.op("Gather", np.asarray(shifts, np.int64), which, axis=0), origin.astype(np.int64))
    if cast:
        pooled = build.op("CastLike", pooled, node.inputs[0])
    return [pooled, at]


@repair(
    "max-pool-dilated",
    ops="MaxPool",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pool (float[1, 3, 9, 9] x) => (float[1, 3, 5, 5] y) {
  y = MaxPool <kernel_shape = [3, 3], dilations = [2, 2]> (x)
}
""",
)
def max_pool_dilated(node: ir.Node, build: Builder) -> Replacement:
    """The maximum of a window is the maximum of its elements, each a strided slice, one axis after the other."""
    if used(node, 1):
        raise NotApplicable("its indices are used")
    x, cast = as_float(build, node.inputs[0], ir.DataType.FLOAT16)
    y = maxima(build, x, Windows.of(node))
    return build.op("CastLike", y, node.inputs[0]) if cast else y


@repair(
    "average-pool-by-convolution",
    ops="AveragePool",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 19]>
pool (float[2, 3, 9, 9] x) => (float[2, 3, 6, 6] y) {
  y = AveragePool <kernel_shape = [3, 3], dilations = [2, 2], pads = [1, 1, 0, 0]> (x)
}
""",
)
def average_pool(node: ir.Node, build: Builder) -> Replacement:
    """The sum over a window is a convolution of each channel with ones; it is divided by how many elements count."""
    windows = Windows.of(node)
    x, cast = as_float(build, node.inputs[0], ir.DataType.FLOAT16)
    total = sums(build, x, windows)
    covered = windows.covered(padding=bool(attribute(node, "count_include_pad", 0)))
    y = build.op("Div", total, covered if np.ptp(covered) else covered.reshape(-1)[0])
    return build.op("CastLike", y, node.inputs[0]) if cast else y


@repair(
    "lp-pool-by-convolution",
    ops="LpPool",
    tolerance=1e-4,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pool (float[1, 3, 8, 8] x) => (float[1, 3, 7, 7] y) {
  y = LpPool <kernel_shape = [2, 2], p = 3> (x)
}
""",
)
def lp_pool(node: ir.Node, build: Builder) -> Replacement:
    """The p-th root of the sum of the elements' p-th powers; the sum is a convolution of each channel with ones."""
    windows = Windows.of(node)
    x, cast = as_float(build, node.inputs[0], ir.DataType.FLOAT16)
    y = _root(build, sums(build, _power(build, x, attribute(node, "p", 2)), windows), attribute(node, "p", 2))
    return build.op("CastLike", y, node.inputs[0]) if cast else y


@repair(
    "global-lp-pool",
    ops="GlobalLpPool",
    tolerance=1e-4,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pool (float[2, 3, 8, 8] x) => (float[2, 3, 1, 1] y) { y = GlobalLpPool <p = 3> (x) }
""",
)
def global_lp_pool(node: ir.Node, build: Builder) -> Replacement:
    """The p-th root of the sum of all the channel's p-th powers."""
    sizes = shape(node.inputs[0])
    if sizes is None:
        raise NotApplicable("the input's rank is not known")
    modern(build)
    order = attribute(node, "p", 2)
    x, cast = as_float(build, node.inputs[0], ir.DataType.FLOAT16)
    axes = np.arange(2, len(sizes))
    y = _root(build, build.op("ReduceSum", _power(build, x, order), axes, keepdims=1), order)
    return build.op("CastLike", y, node.inputs[0]) if cast else y


def _power(build: Builder, x: ir.Value, order: int) -> ir.Value:
    size = build.op("Abs", x)
    return size if order == 1 else build.op("Pow", size, float(order))


def _root(build: Builder, x: ir.Value, order: int) -> ir.Value:
    return x if order == 1 else build.op("Sqrt", x) if order == 2 else build.op("Pow", x, 1 / order)


@repair(
    "max-unpool-by-scatter",
    ops="MaxUnpool",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
unpool (float[1, 1, 2, 2] x, int64[1, 1, 2, 2] at) => (float[1, 1, 4, 4] y) {
  y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (x, at)
}
""",
)
def max_unpool(node: ir.Node, build: Builder) -> Replacement:
    """The maxima are scattered over zeros, both laid out flat, as their indices count them."""
    x, at = node.inputs[0], node.inputs[1]
    given = constant(argument(node, 2))
    sizes = [int(n) for n in given] if given is not None else static_shape(node.outputs[0])
    kind = dtype(x)
    if sizes is None or x is None or kind is None:
        raise NotApplicable("the output's size is not known")
    zeros = np.zeros(math.prod(sizes), kind.numpy())
    flat = build.op("ScatterElements", zeros, build.op("Reshape", at, [-1]), build.op("Reshape", x, [-1]), axis=0)
    return build.op("Reshape", flat, np.asarray(sizes))
