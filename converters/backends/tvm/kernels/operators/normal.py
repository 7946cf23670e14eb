"""Instance and group normalization, which the frontend writes out as means, differences and quotients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Settings
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, number, planes_of, shape_of
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO
from enginesmith.converters.backends.tvm.kernels.plane_norm import PlaneNorm


@dataclass(frozen=True)
class Standardization:
    """(x - mean) / sqrt(variance + epsilon) over some axes, and the nodes that compute it before the quotient does."""

    source: Any
    axes: tuple[int, ...]
    epsilon: float
    inner: list[Node]


def standardization(graph: Graph, quotient: Node) -> Standardization | None:
    """What a node of the operator `divide` is the end of."""
    difference, root = (
        _made_by(graph, tensor, op) for tensor, op in zip(quotient.inputs, ("subtract", "sqrt"), strict=True)
    )
    mean = _made_by(graph, difference.inputs[1], "mean") if difference else None
    shifted = _made_by(graph, root.inputs[0], "add") if root else None
    variance = _made_by(graph, shifted.inputs[0], "variance") if shifted else None
    if difference is None or mean is None or root is None or shifted is None or variance is None:
        return None
    source, axes, epsilon = difference.inputs[0], _axes(mean), number(graph.constant(shifted.inputs[1]))
    if axes is None or epsilon is None or _axes(variance) != axes:
        return None
    if not mean.inputs[0].same_as(source) or not variance.inputs[0].same_as(source):
        return None
    return Standardization(source, axes, epsilon, [mean, difference, variance, shifted, root])


def instance_norm(graph: Graph, node: Node, settings: Settings) -> Anchor | None:
    """Over height and width; `node` is the quotient."""
    found, shape = standardization(graph, node), planes_of(node.var)
    if found is None or shape is None or found.axes != (2, 3):
        return None
    return _anchor("instance norm", found.source, 1, found.epsilon, found.inner, settings)


def group_norm(graph: Graph, node: Node, settings: Settings) -> Anchor | None:
    """Over all but the first two axes of a reshaped plane; `node` gives it its shape back."""
    shape, inner, at = planes_of(node.var), [], graph.producer.get(node.inputs[0])
    while at is not None and at.short_op != "divide":
        # Scale and shift of the normalization that the frontend makes of one by groups are 1 and 0.
        if not _neutral(graph, at):
            return None
        inner.append(at)
        at = graph.producer.get(at.inputs[0])
    found = standardization(graph, at) if at else None
    first = _made_by(graph, found.source, "reshape") if found else None
    if at is None or found is None or first is None or shape is None:
        return None
    groups = shape_of(first.var)
    if groups is None or groups[:1] != shape[:1] or shape[1] % groups[1] or planes_of(first.inputs[0]) != shape:
        return None
    if found.axes != tuple(range(2, len(groups))) or len(groups) < 3:
        return None
    inner += [first, *found.inner, at]
    return _anchor("group norm", first.inputs[0], shape[1] // groups[1], found.epsilon, inner, settings)


def _anchor(label: str, source: Any, size: int, epsilon: float, inner: list[Node], settings: Settings) -> Anchor:
    sources = [(source, settings.simd.lanes, NO_HALO)]
    return Anchor(label, planes_of(source), sources,
                  lambda s, t, e: PlaneNorm(settings.simd, size, epsilon, s[0], t, e), inner=inner)  # fmt: skip


def _neutral(graph: Graph, node: Node) -> bool:
    """Does it multiply by ones, add zeros or only change the shape?"""
    if node.short_op == "reshape":
        return True
    neutral = {"multiply": 1.0, "add": 0.0}.get(node.short_op)
    array = graph.constant(node.inputs[1]) if neutral is not None else None
    return array is not None and bool((array == neutral).all())


def _made_by(graph: Graph, tensor: Any, op: str) -> Node | None:
    """The node that computes a tensor, if it is of that kind."""
    node = graph.producer.get(tensor)
    return node if node is not None and node.short_op == op else None


def _axes(node: Node) -> tuple[int, ...] | None:
    """The axes of a reduction that keeps its dimensions."""
    shape = shape_of(node.inputs[0])
    if shape is None or node.attrs.axis is None or not node.attrs.keepdims:
        return None
    return tuple(sorted(int(axis) % len(shape) for axis in node.attrs.axis))
