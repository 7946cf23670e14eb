"""Convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enginesmith.converters.backends.tvm.kernels import choose
from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Match, Settings
from enginesmith.converters.backends.tvm.kernels.convolution import SPARSE
from enginesmith.converters.backends.tvm.kernels.equivalent import merged, seeing, share_seen
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, NotCovered, planes_of
from enginesmith.converters.backends.tvm.kernels.layout import Blocked, Planes, window_of
from enginesmith.converters.backends.tvm.kernels.transposed import TransposedConvolution
from enginesmith.converters.backends.tvm.kernels.winograd import WinogradConvolution
from enginesmith.converters.backends.tvm.kernels.workload import geometry


def _operands(graph: Graph, node: Node, kernel_layout: str) -> tuple[Planes, NDArray[np.float32], Planes]:
    """Sizes of the source, the weights, and sizes of the result. Raises NotCovered where one isn't known."""
    given, weights, shape = planes_of(node.inputs[0]), graph.constant(node.inputs[1]), planes_of(node.var)
    if shape is None or given is None or (node.attrs.data_layout, node.attrs.kernel_layout) != ("NCHW", kernel_layout):
        raise NotCovered("not float32 of a fixed shape")
    if weights is None:
        raise NotCovered("weights that are computed at run time")
    return given, weights, shape


def _convolution(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor:
    attrs, simd, source = node.attrs, settings.simd, node.inputs[0]
    given, weights, shape = _operands(graph, node, "OIHW")
    groups = int(attrs.groups)
    window = window_of((weights.shape[2], weights.shape[3]), attrs)
    flops = 2 * weights.size * shape[0] * shape[2] * shape[3]
    window, weights = seeing(window, weights, given[2:], shape[2:])
    reach = window.reach(given[2:], shape[2:])
    if groups == shape[1] == given[1] and groups > 1:
        sources = [(source, simd.lanes, reach)]
        return Anchor("depthwise", shape, sources, lambda s, t, e: settings.kernel("depthwise", simd, window, s[0], t, e),
                      weights, flops)  # fmt: skip
    groups, weights = merged(groups, weights)
    outputs, inputs = weights.shape[:2]
    block = 1 if given[1] < simd.lanes // 2 and not blocked(source) else simd.lanes
    size = 0
    if WinogradConvolution.fits(simd, window, groups, Blocked(*given, block)):
        seen = share_seen(window, given[2:], shape[2:])
        seen = seen if seen < SPARSE else 1.0
        size = choose.winograd_size(window, inputs, outputs, shape[2:], settings.winograd, seen)
        if settings.winograd:
            size = settings.tuned.sizes.get(
                geometry(Blocked(*given, block), Blocked(*shape, block), window.dilations), size
            )
    if size:
        reach = WinogradConvolution.reach(size, window, given[2:], shape[2:])
        sources = [(source, block, reach)]
        return Anchor(f"winograd{size}", shape, sources,
                      lambda s, t, e: settings.kernel("winograd", simd, size, window, s[0], t, e), weights, flops)  # fmt: skip
    sources = [(source, block, reach)]
    return Anchor("convolution", shape, sources,
                  lambda s, t, e: settings.kernel("convolution", simd, window, groups, s[0], t, e),
                  weights, flops)  # fmt: skip


def _transposed(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor:
    attrs, simd, source = node.attrs, settings.simd, node.inputs[0]
    given, weights, shape = _operands(graph, node, "IOHW")
    flops = 2 * weights.size * given[0] * given[2] * given[3]
    window = window_of((weights.shape[2], weights.shape[3]), attrs)
    groups, weights = merged(int(attrs.groups), weights, outputs_axis=1)
    block = 1 if given[1] < simd.lanes // 2 and not blocked(source) else simd.lanes
    sources = [(source, block, TransposedConvolution.reach(window, given[2:], shape[2:]))]
    return Anchor("transposed convolution", shape, sources,
                  lambda s, t, e: TransposedConvolution(simd, window, groups, s[0], t, e), weights, flops)  # fmt: skip


MATCHES: dict[str, Match] = {"conv2d": _convolution, "conv2d_transpose": _transposed}
