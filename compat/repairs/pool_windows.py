"""Where the windows of a pooling lie, and how maxima and sums over them are written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable
from enginesmith.compat.values import Array, attribute, shape

LOWEST = float(np.finfo(np.float32).min)
"""What ONNX Runtime takes for the elements beyond the border when it looks for a maximum."""
MAX_TAPS = 256
"""Elements of a window above which a pooling is not written out element by element."""


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
