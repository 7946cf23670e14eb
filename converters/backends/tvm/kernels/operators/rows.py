"""Operators on rows, as ONNX has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Match, Settings
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, NotCovered, shape_of
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO
from enginesmith.converters.backends.tvm.kernels.normalization import LEAST_COLUMNS, LayerNorm, Softmax
from enginesmith.converters.backends.tvm.kernels.products import FEWEST_COLUMNS
from enginesmith.converters.backends.tvm.kernels.steps import step_of
from enginesmith.converters.backends.tvm.kernels.strided import Strided


def _product(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor:
    left, right = node.inputs
    shape, first, second = shape_of(node.var), shape_of(left), shape_of(right)
    if shape is None or first is None or second is None:
        raise NotCovered("not float32 of a fixed shape")
    columns, weights = second[-1], graph.constant(right)
    if len(second) < 2 or len(first) < 2 or columns < FEWEST_COLUMNS:
        raise NotCovered(f"a vector, or fewer than {FEWEST_COLUMNS} columns")
    flops = 2 * first[-1] * math.prod(shape)
    packed = weights is not None and weights.ndim == 2
    sources = [(left, 0, NO_HALO)] if packed else [(left, 0, NO_HALO), (right, 0, NO_HALO)]
    return Anchor("product" if packed else "batched product", None, sources,
                  lambda s, t, e: settings.kernel("product", settings.simd, first, second, shape, packed, e),
                  weights if packed else None, flops)  # fmt: skip


def _softmax(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor:
    source, shape = node.inputs[0], shape_of(node.var)
    if shape is None:
        raise NotCovered("not float32 of a fixed shape")
    if int(node.attrs.axis) % len(shape) != len(shape) - 1 or shape[-1] < LEAST_COLUMNS:
        raise NotCovered("not along the last axis, or along a short one")
    logarithm = node.short_op == "log_softmax"
    return Anchor("softmax", None, [(source, 0, NO_HALO)], lambda s, t, e: Softmax(settings.simd, shape, logarithm, e))


def _layer_norm(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor:
    attrs, shape = node.attrs, shape_of(node.var)
    source, *parameters = node.inputs
    if shape is None or None in map(shape_of, parameters):
        raise NotCovered("not float32 of a fixed shape")
    axes = [int(axis) % len(shape) for axis in attrs.axes]
    if axes != [len(shape) - 1] or shape[-1] < LEAST_COLUMNS or not (attrs.center and attrs.scale):
        raise NotCovered("not along the last axis alone, or along a short one")
    sources = [(tensor, 0, NO_HALO) for tensor in (source, *parameters)]
    epsilon = float(attrs.epsilon)
    return Anchor("layer norm", None, sources, lambda s, t, e: LayerNorm(settings.simd, shape, epsilon, e))


def _concat(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor | None:
    """Of anything, along any axis."""
    shape = shape_of(node.var)
    shapes = [shape_of(tensor) for tensor in node.inputs]
    if shape is None or any(part is None or 0 in part for part in shapes):
        return None
    sources = [(tensor, 0, NO_HALO) for tensor in node.inputs]
    axis = int(node.attrs.axis) % len(shape)
    return Anchor("concat", None, sources, lambda s, o, e: Strided(settings.simd, s, o, shape, axis, e), strided=True)


def elementwise(graph: Graph, node: Node, settings: Settings) -> Anchor | None:
    """An elementwise operator on anything, its operands broadcast. The first source is a value of the expression."""
    shape, step = shape_of(node.var), step_of(graph, node)
    if shape is None or 0 in shape or step is None or None in map(shape_of, step.tensors):
        return None
    source = next((tensor for tensor in step.tensors if graph.constant(tensor) is None), None)
    if source is None:
        return None
    return Anchor("elementwise", None, [(source, 0, NO_HALO)],
                  lambda s, o, e: Strided(settings.simd, s, o, shape, 0, e), strided=True)  # fmt: skip


MATCHES: dict[str, Match] = {
    "concat": _concat,
    "matmul": _product,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "layer_norm": _layer_norm,
}
