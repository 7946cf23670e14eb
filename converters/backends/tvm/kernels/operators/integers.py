"""Products of quantized tensors with constant integer weights, and the roundings that no kernel before them does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Match, Settings
from enginesmith.converters.backends.tvm.kernels.depthwise import DepthwiseConvolution
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, planes_of, shape_of, sizes_of
from enginesmith.converters.backends.tvm.kernels.int8.convolution import IntegerConvolution
from enginesmith.converters.backends.tvm.kernels.int8.product import IntegerProduct, Quantize
from enginesmith.converters.backends.tvm.kernels.int8.quantized import quantization, view_of, weights_of
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO, window_of
from enginesmith.converters.backends.tvm.kernels.steps import step_of

FEW_CHANNELS = 4
"""A block of so many channels is for a picture's three."""


def _convolution(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor | None:
    attrs, simd, dot = node.attrs, settings.simd, settings.dot
    source, shape = node.inputs[0], planes_of(node.var)
    view, found, given = view_of(graph, source), weights_of(graph, node.inputs[1], 0), planes_of(source)
    if view is None or found is None or given is None or shape is None:
        return None
    if (attrs.data_layout, attrs.kernel_layout) != ("NCHW", "OIHW"):
        return None
    weights, scales = found
    groups = int(attrs.groups)
    window = window_of((weights.shape[2], weights.shape[3]), attrs)
    reach = window.reach(given[2:], shape[2:])
    scale = _per_channel(scales * np.float32(view.scale), (1, -1, 1, 1))
    flops = 2 * weights.size * shape[0] * shape[2] * shape[3]
    if groups == shape[1] == given[1] and groups > 1:
        # Sums of so few products are exact in float32, where each channel is by itself.
        sources = [(view.integers, simd.lanes, reach)]
        return Anchor("depthwise", shape, sources, lambda s, t, e: DepthwiseConvolution(simd, window, s[0], t, e),
                      weights.astype(np.float32), flops, scale=scale)  # fmt: skip
    if IntegerConvolution.refusal(dot, window, groups, given[1], shape[1]):
        return None
    block = FEW_CHANNELS if given[1] <= FEW_CHANNELS and not blocked(source) else simd.lanes
    return Anchor("int8 convolution", shape, [(view.integers, block, reach)],
                  lambda s, t, e: IntegerConvolution(simd, dot, window, groups, s[0], t, e),
                  weights, flops, scale=scale)  # fmt: skip


def _product(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor | None:
    left, right = node.inputs
    view, found = view_of(graph, left), weights_of(graph, right, 1)
    shape, first, dot = shape_of(node.var), shape_of(left), settings.dot
    if view is None or found is None or shape is None or first is None or len(first) < 2:
        return None
    weights, scales = found
    kind = quantization(graph, view.integers)
    if weights.ndim != 2 or kind is None or IntegerProduct.refusal(dot, *weights.shape):
        return None
    integers = dot.integers(*kind)
    return Anchor("int8 product", None, [(view.integers, 0, NO_HALO)],
                  lambda s, t, e: IntegerProduct(settings.simd, dot, first, integers, weights.shape[1], e),
                  weights, 2 * weights.size * int(np.prod(first[:-1])),
                  scale=_per_channel(scales * np.float32(view.scale), (-1,)))  # fmt: skip


def quantize_rows(graph: Graph, node: Node, settings: Settings) -> Anchor | None:
    """A QuantizeLinear of numbers in rows; in planes it is an elementwise operator as any other."""
    shape = sizes_of(node.var) if node.op == "relax.quantize" and step_of(graph, node) else None
    if not shape or 0 in shape:
        return None
    source = node.inputs[0]
    return Anchor("quantize", None, [(source, 0, NO_HALO)], lambda s, t, e: Quantize(settings.simd, shape, e))


def _per_channel(scales: NDArray[np.float32], shape: tuple[int, ...]) -> Any:
    """A constant that is read along the channels of a result. A single channel has a number's shape."""
    return relax.const(np.ascontiguousarray(scales.reshape(shape if scales.size > 1 else (1,))))


MATCHES: dict[str, Match] = {"conv2d": _convolution, "matmul": _product}
