"""Operators that move or mix the rows and columns of planes: resizing, padding, cropping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enginesmith.converters.backends.tvm.kernels import resample
from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Match, Settings
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, NotCovered, planes_of
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO, Planes
from enginesmith.converters.backends.tvm.kernels.pointwise import Upsample
from enginesmith.converters.backends.tvm.kernels.resample import OUTSIDE, Axis, Resample

LARGEST = 1 << 24
"""Whole numbers up to this are exact in float32."""


def _resize(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor:
    attrs, source, shape = node.attrs, node.inputs[0], planes_of(node.var)
    given = planes_of(source)
    if shape is None or given is None or attrs.layout != "NCHW":
        raise NotCovered("not float32 of a fixed shape")
    mode, rounding = str(attrs.coordinate_transformation_mode), str(attrs.rounding_method)
    whole = shape[2] % given[2] == shape[3] % given[3] == 0
    if (attrs.method, mode, rounding) == ("nearest_neighbor", "asymmetric", "floor") and whole:
        sources = [(source, settings.simd.lanes, NO_HALO)]
        return Anchor("upsample", shape, sources, lambda s, t, e: Upsample(settings.simd, s[0], t, e), linear=True)
    if attrs.method == "cubic" and attrs.cubic_exclude:
        raise NotCovered("a cubic resize that leaves out what lies beyond the edge")

    def axis(size: int, count: int) -> Axis:
        if attrs.method == "nearest_neighbor":
            return resample.nearest(size, count, mode, rounding)
        if attrs.method == "linear":
            return resample.linear(size, count, mode)
        return resample.cubic(size, count, mode, float(attrs.cubic_alpha))

    try:
        rows, columns = (axis(*sizes) for sizes in zip(given[2:], shape[2:], strict=True))
    except KeyError as unknown:
        raise NotCovered(f"coordinates by {unknown}") from unknown
    return _anchor("resize", source, shape, settings, rows, columns)


def _pad(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor | None:
    """Of any mode, of height and width. The frontend gives its lowered form alone, so what it moves is found by a run."""
    source, shape = node.inputs[0], planes_of(node.var)
    given = planes_of(source)
    if shape is None or given is None or shape[:2] != given[:2] or not blocked(source):
        return None
    moved = _moved(graph, node, given, shape)
    if moved is None:
        return None
    places, fill = moved
    axes = _separate(places, given)
    return _anchor("pad", source, shape, settings, *axes, fill) if axes else None


def _crop(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor | None:
    """A slice of height and width."""
    source, shape = node.inputs[0], planes_of(node.var)
    given = planes_of(source)
    if shape is None or given is None or not blocked(source):
        return None
    _, axes, begins, _, *strides = node.value.args
    steps = [int(step.value) for step in strides[0]] if strides else [1] * len(axes)
    starts = {int(a.value) % 4: (int(b.value), step) for a, b, step in zip(axes, begins, steps, strict=True)}
    if not {*starts} <= {2, 3} or shape[:2] != given[:2]:
        return None
    parts = []
    for axis in (2, 3):
        begin, step = starts.get(axis, (0, 1))
        begin += given[axis] if begin < 0 else 0
        begin = min(begin, given[axis] - (step < 0))
        parts.append(Axis.copies(range(begin, begin + shape[axis] * step, step)))
    return _anchor("crop", source, shape, settings, parts[0], parts[1])


def _anchor(
    label: str, source: Any, shape: Planes, settings: Settings, rows: Axis, columns: Axis, fill: float = 0.0
) -> Anchor:
    sources = [(source, settings.simd.lanes, NO_HALO)]
    return Anchor(label, shape, sources, lambda s, t, e: Resample(settings.simd, rows, columns, fill, s[0], t, e),
                  weights=resample.tables(rows, columns))  # fmt: skip


def _moved(graph: Graph, node: Node, given: Planes, shape: Planes) -> tuple[NDArray[np.int64], float] | None:
    """Of each output of a lowered function of one input, the input that it copies; or it gets the number that comes second."""
    import tvm

    count = int(np.prod(given))
    function = graph.lowered.get(node.value.args[0].name_hint)
    if function is None or count > LARGEST // 2 or len(node.inputs) != 1:
        return None
    built = tvm.compile(tvm.IRModule({"main": function.with_attr("global_symbol", "main")}), target="llvm")
    found = []
    for start in (0, count):
        numbers = np.arange(start, start + count, dtype=np.float32).reshape(given)
        result = tvm.runtime.tensor(np.zeros(shape, np.float32))
        built["main"](tvm.runtime.tensor(numbers), result)
        found.append(result.numpy())
    copied = found[1] - found[0] == count
    fills = {float(number) for number in found[0][~copied]}
    if len(fills) > 1:
        return None
    return np.where(copied, found[0], OUTSIDE).astype(np.int64), fills.pop() if fills else 0.0


def _separate(places: NDArray[np.int64], given: Planes) -> tuple[Axis, Axis] | None:
    """The same map for every plane, as one of rows and one of columns; None where it is no such."""
    plane, (height, width) = places[0, 0], given[2:]
    inside = plane != OUTSIDE
    if not inside.any():
        return None
    row, column = (int(inside.any(axis=axis).argmax()) for axis in (1, 0))
    rows = np.where(inside[:, column], plane[:, column] // width, OUTSIDE)
    columns = np.where(inside[row], plane[row] % width, OUTSIDE)
    both = (rows[:, None] != OUTSIDE) & (columns != OUTSIDE)
    starts = np.arange(given[0] * given[1]).reshape(*given[:2], 1, 1) * height * width
    expected = np.where(both, starts + rows[:, None] * width + columns, OUTSIDE)
    return (Axis.copies(rows), Axis.copies(columns)) if np.array_equal(expected, places) else None


MATCHES: dict[str, Match] = {"resize2d": _resize, "pad": _pad, "strided_slice": _crop}
