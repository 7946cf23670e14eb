"""Pooling in the forms that backends refuse: dilated, over integers, with indices, of any order."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from enginesmith.compat.repairs.arithmetic import modern
from enginesmith.compat.repairs.repair import Builder, NotApplicable, Replacement, repair
from enginesmith.compat.values import Array, argument, attribute, constant, dtype, shape, static_shape, used

LOWEST = float(np.finfo(np.float32).min)
"""What ONNX Runtime takes for the elements beyond the border when it looks for a maximum."""
MAX_TAPS = 256
"""Elements of a window above which a pooling is not written out element by element."""
FLOAT = ir.DataType.FLOAT
INTEGERS = (ir.DataType.INT8, ir.DataType.UINT8)


@dataclass(frozen=True)
class Windows:
    """Where the windows of a pooling lie, one entry per spatial axis. All sizes are in elements."""

    size: list[int]
    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]
    """Padding as the node asks for it."""
    counts: list[int]
    """How many windows there are."""

    @classmethod
    def of(cls, node: ir.Node) -> Windows:
        """Read a pooling node's attributes. Raises NotApplicable where the input's spatial sizes are not known."""
        sizes = shape(node.inputs[0])
        if sizes is None or len(sizes) < 3 or None in sizes[2:]:
            raise NotApplicable("the input's height and width are not known")
        size = [int(n or 0) for n in sizes[2:]]
        axes = range(len(size))
        kernel = attribute(node, "kernel_shape")
        strides = attribute(node, "strides") or [1] * len(size)
        dilations = attribute(node, "dilations") or [1] * len(size)
        pads = attribute(node, "pads") or [0] * (2 * len(size))
        spans = [(kernel[i] - 1) * dilations[i] + 1 for i in axes]
        auto = attribute(node, "auto_pad", "NOTSET")
        if auto.startswith("SAME"):
            counts = [-(-size[i] // strides[i]) for i in axes]
            total = [max((counts[i] - 1) * strides[i] + spans[i] - size[i], 0) for i in axes]
            less = [n // 2 for n in total]
            more = [n - m for n, m in zip(total, less, strict=True)]
            before, after = (less, more) if auto == "SAME_UPPER" else (more, less)
        else:
            before, after = (pads[: len(size)], pads[len(size) :]) if auto == "NOTSET" else ([0] * len(size),) * 2
            counts = []
            for i in axes:
                room = size[i] + before[i] + after[i] - spans[i]
                if attribute(node, "ceil_mode", 0):
                    count = -(-room // strides[i]) + 1
                    # A window that would begin in the padding at the end is left out.
                    count -= (count - 1) * strides[i] >= size[i] + before[i]
                else:
                    count = room // strides[i] + 1
                counts.append(count)
        return cls(size, kernel, strides, dilations, list(before), list(after), counts)

    @property
    def reach(self) -> list[int]:
        """Padding at the end that the last window needs; more than asked for where ceil_mode adds one, or less than 0."""
        return [
            (count - 1) * stride + (kernel - 1) * dilation + 1 - size - before
            for count, stride, kernel, dilation, size, before in zip(
                self.counts, self.strides, self.kernel, self.dilations, self.size, self.before, strict=True
            )
        ]

    def covered(self, *, padding: bool) -> Array:
        """How many elements each window covers, float32[1, 1, *counts]; with those of the padding asked for, or not."""
        result = np.ones((1, 1), np.float32)
        for i, count in enumerate(self.counts):
            starts = np.arange(count)[:, None] * self.strides[i] - self.before[i]
            taps = starts + np.arange(self.kernel[i]) * self.dilations[i]
            low, high = (-self.before[i], self.size[i] + self.after[i]) if padding else (0, self.size[i])
            inside = ((taps >= low) & (taps < high)).sum(axis=1).astype(np.float32)
            result = result[..., None] * inside
        return result


def padded(build: Builder, x: ir.Value, windows: Windows, value: float) -> ir.Value:
    """`x` with the padding that every window needs, filled with `value`."""
    after = [max(n, 0) for n in windows.reach]
    if not any(windows.before) and not any(after):
        return x
    return build.op("Pad", x, np.asarray([0, 0, *windows.before, 0, 0, *after]), np.asarray(value, np.float32))


def tap(build: Builder, x: ir.Value, windows: Windows, offsets: dict[int, int]) -> ir.Value:
    """One element of every window along the given spatial axes, from the padded `x`."""
    axes = list(offsets)
    starts = [offsets[i] * windows.dilations[i] for i in axes]
    ends = [start + (windows.counts[i] - 1) * windows.strides[i] + 1 for start, i in zip(starts, axes, strict=True)]
    steps = [windows.strides[i] for i in axes]
    return build.op("Slice", x, *(np.asarray(part) for part in (starts, ends, [i + 2 for i in axes], steps)))


def maxima(build: Builder, x: ir.Value, windows: Windows) -> ir.Value:
    """The maximum of every window of the float32 `x`, one axis after the other: a maximum is separable."""
    if sum(windows.kernel) > MAX_TAPS:
        raise NotApplicable(f"a window of {windows.kernel} has too many elements")
    x = padded(build, x, windows, LOWEST)
    for i, size in enumerate(windows.kernel):
        taps = [tap(build, x, windows, {i: k}) for k in range(size)]
        x = build.op("Max", *taps) if len(taps) > 1 else taps[0]
    return x


def sums(build: Builder, x: ir.Value, windows: Windows) -> ir.Value:
    """The sum over every window of the float32 `x`: a convolution of each channel with ones."""
    if len(windows.kernel) > 3:
        raise NotApplicable("it pools over more than three axes")
    sizes = shape(x)
    single = build.op("Reshape", x, np.asarray([-1, 1, *windows.size]))
    ones = np.ones((1, 1, *windows.kernel), np.float32)
    after = windows.reach
    if min(after) < 0:
        keep = [size + min(n, 0) for size, n in zip(windows.size, after, strict=True)]
        axes = list(range(2, 2 + len(keep)))
        single = build.op("Slice", single, np.zeros(len(keep), np.int64), np.asarray(keep), np.asarray(axes))
    pads = [*windows.before, *(max(n, 0) for n in after)]
    y = build.op("Conv", single, ones, pads=pads, strides=windows.strides, dilations=windows.dilations)
    if sizes is None or len([n for n in sizes[:2] if n is None]) > 1:
        head = build.op("Slice", build.op("Shape", x), np.asarray([0]), np.asarray([2]))
        return build.op("Reshape", y, build.op("Concat", head, np.asarray(windows.counts), axis=0))
    return build.op("Reshape", y, np.asarray([*(-1 if n is None else n for n in sizes[:2]), *windows.counts]))


def as_float(build: Builder, x: ir.Value | None, *allowed: ir.DataType) -> tuple[ir.Value, bool]:
    """`x` as float32, and whether it was something else. Raises NotApplicable for dtypes not among `allowed`."""
    kind = dtype(x)
    if x is None or kind is None or kind not in (FLOAT, *allowed):
        raise NotApplicable(f"its input is {kind.name.lower() if kind else 'of unknown dtype'}")
    return (x, False) if kind == FLOAT else (build.op("Cast", x, to=int(FLOAT)), True)


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
