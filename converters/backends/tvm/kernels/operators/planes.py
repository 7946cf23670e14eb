"""Operators on blocked planes that move, join and reduce numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Match, Settings
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, NotCovered, planes_of, shape_of
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO, window_of
from enginesmith.converters.backends.tvm.kernels.pointwise import Concat
from enginesmith.converters.backends.tvm.kernels.pooling import Kind, Plane, Pool


def _pool(kind: Literal["max", "mean"]) -> Callable[..., Anchor]:
    def match(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor:
        attrs, source, shape = node.attrs, node.inputs[0], planes_of(node.var)
        given = planes_of(source)
        if shape is None or given is None or attrs.layout != "NCHW":
            raise NotCovered("not float32 of a fixed shape")
        window = window_of(tuple(int(size) for size in attrs.pool_size), attrs)
        if shape[2:] == (1, 1) and window.kernel == given[2:] and not any(window.pads):
            return _plane(kind, given, source, settings)
        exact: Kind = "max" if kind == "max" else "mean_with_pads" if attrs.count_include_pad else "mean"
        if refusal := Pool.refusal(exact, window, given[2:], shape[2:]):
            raise NotCovered(refusal)
        reach = NO_HALO if kind == "max" else window.reach(given[2:], shape[2:])
        sources = [(source, settings.simd.lanes, reach)]
        return Anchor(f"{kind} pool", shape, sources, lambda s, t, e: Pool(settings.simd, exact, window, s[0], t, e),
                      linear=True)  # fmt: skip

    return match


def _mean(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor | None:
    source = node.inputs[0]
    given = planes_of(source)
    if given is None or shape_of(node.var) is None:
        return None
    if node.short_op == "adaptive_avg_pool2d":
        if any(int(size) != 1 for size in node.attrs.output_size):
            return None
    elif node.attrs.axis is None or sorted(int(axis) % 4 for axis in node.attrs.axis) != [2, 3]:
        return None
    return _plane("mean", given, source, settings)


def _plane(kind: Literal["max", "mean"], given: tuple[int, int, int, int], source: Any, settings: Settings) -> Anchor:
    sources = [(source, settings.simd.lanes, NO_HALO)]
    name = "mean" if kind == "mean" else "maximum"
    return Anchor(name, (given[0], given[1], 1, 1), sources, lambda s, t, e: Plane(settings.simd, kind, s[0], t, e),
                  linear=True)  # fmt: skip


def _concat(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor | None:
    shape, lanes = planes_of(node.var), settings.simd.lanes
    parts = [planes_of(tensor) for tensor in node.inputs]
    if shape is None or int(node.attrs.axis) % 4 != 1 or 2 * sum(map(blocked, node.inputs)) < len(parts):
        return None
    if None in parts or not Concat.fits([part[1] for part in parts if part], lanes):
        return None
    sources = [(tensor, lanes, NO_HALO) for tensor in node.inputs]
    return Anchor("concat", shape, sources, lambda s, t, e: Concat(settings.simd, s, t, e), linear=True)


MATCHES: dict[str, Match] = {
    "max_pool2d": _pool("max"),
    "avg_pool2d": _pool("mean"),
    "adaptive_avg_pool2d": _mean,
    "mean": _mean,
    "concat": _concat,
}
