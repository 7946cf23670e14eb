"""Cross-layer equalization: the channels that a convolution gives to another one are scaled to fill int8's range.

Activations have one scale for all channels, so that a channel of small numbers has few levels left. A convolution's
output channel can be divided by s, and the weights that the next one has for it multiplied with s: a ReLU between them
lets the factor through, and a ReLU6 does with a bound of its own for each channel (Nagel et al., Data-Free Quantization
Through Weight Equalization and Bias Correction, ICCV 2019, section 4.1).

The factors there balance ranges of weights. Here these have a scale for each channel anyway, so the factors balance the
measured ranges of activations, and only before depthwise convolutions, whose weights don't mix channels: it costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from enginesmith.compat.graphs import initializer
from enginesmith.compat.saving import save
from enginesmith.compat.values import argument, attribute, constant, label, shape
from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.precision.int8.placement import candidates
from enginesmith.converters.precision.int8.weights import array_of

Floats = NDArray[np.float32]
HOMOGENEOUS = frozenset(("Relu", "LeakyRelu", "MaxPool"))
"""Operators on channels for which f(s x) = s f(x) with every s > 0."""
POWER = 0.5
"""Of a channel's range relative to the largest one. With 1 all channels would fill the range, and those that the
calibration saw little of would be clipped on other data."""
SMALLEST = 1 / 8
"""Factors are at least this."""


@dataclass(frozen=True)
class Pair:
    """A convolution and a depthwise one, with nothing but homogeneous operators, and at most one Clip, between them."""

    first: ir.Node
    second: ir.Node
    clip: ir.Node | None


def equalize(model: ir.Model, feeds: Iterable[Mapping[str, Any]], folder: Path) -> list[Pair]:
    """Change the weights of a prepared model, in place, before its calibration. In float32 it computes the same.

    Runs the model once on `feeds`; `folder` holds the instrumented file. Returns the pairs that were equalized.
    """
    pairs = list(_pairs(model))
    if not pairs:
        return []
    for pair, peaks in zip(pairs, _channel_peaks(model, pairs, feeds, folder), strict=True):
        largest = peaks.max(initial=0)
        if not 0 < largest < np.inf:
            continue
        factors = np.maximum((peaks / largest) ** POWER, SMALLEST).astype(np.float32)
        _scale(pair.first, 1, 1 / factors)
        if argument(pair.first, 2) is not None:
            _scale(pair.first, 2, 1 / factors)
        _scale(pair.second, 1, factors)
        if pair.clip is not None:
            _bound(pair.clip, factors)
    common.RemoveUnusedNodesPass()(model)
    return pairs


def _pairs(model: ir.Model) -> Iterator[Pair]:
    nodes = {node for node, reason in candidates(model).items() if not reason and node.op_type == "Conv"}
    for node in model.graph:
        bias = argument(node, 2)
        if node in nodes and (bias is None or constant(bias) is not None):
            pair = _pair(node)
            if pair is not None and pair.second in nodes and _is_depthwise(pair.second):
                yield pair


def _pair(first: ir.Node) -> Pair | None:
    """The convolution that alone reads what becomes of this one's output."""
    clip, value = None, first.outputs[0]
    while True:
        uses = list(value.uses())
        if len(uses) != 1 or uses[0].idx != 0 or value.is_graph_output():
            return None
        node = uses[0].node
        if node.op_type == "Conv":
            return Pair(first, node, clip)
        if node.op_type == "Clip" and clip is None and _is_relu6(node):
            clip = node
        elif node.op_type not in HOMOGENEOUS or len(node.outputs) > 1:
            return None
        value = node.outputs[0]


def _is_relu6(clip: ir.Node) -> bool:
    low, high = (constant(argument(clip, index)) for index in (1, 2))
    return low is not None and high is not None and not low.any() and bool((high > 0).all())


def _is_depthwise(node: ir.Node) -> bool:
    sizes = shape(node.inputs[1])
    return sizes is not None and sizes[1] == 1 and sizes[0] == attribute(node, "group", 1)


def _channel_peaks(
    model: ir.Model, pairs: Iterable[Pair], feeds: Iterable[Mapping[str, Any]], folder: Path
) -> list[Floats]:
    """The largest magnitude of each channel that the second convolution of each pair reads; reduced within the graph."""
    graph = model.graph.clone()
    values = {value.name: value for node in graph for value in node.outputs}
    names = []
    for index, pair in enumerate(pairs):
        value = values[pair.second.inputs[0].name]  # type: ignore[union-attr]
        axes = [axis for axis in range(len(shape(pair.second.inputs[1]) or ())) if axis != 1]
        names.append(f"int8/channels{index}")
        over = ir.node("Constant", [], {"value": ir.tensor(np.array(axes, np.int64))})
        magnitude = ir.node("Abs", [value])
        reduced = ir.node("ReduceMax", [*magnitude.outputs, *over.outputs], {"keepdims": 0})
        reduced.outputs[0].name, reduced.outputs[0].type = names[-1], value.type
        graph.extend([over, magnitude, reduced])
        graph.outputs.append(reduced.outputs[0])
    path = folder / "channels.onnx"
    save(ir.Model(graph, ir_version=model.ir_version), path)
    session = onnxruntime.session(path, optimize=False)
    peaks: list[Floats] = []
    for feed in feeds:
        found = session.run(names, dict(feed))
        peaks = [np.maximum(*both) for both in zip(peaks, found, strict=True)] if peaks else found
    return peaks


def _scale(node: ir.Node, index: int, factors: Floats) -> None:
    """Multiply what makes each output channel; of a depthwise convolution that is also its input channel."""
    array = array_of(node.inputs[index])
    changed = array * factors.reshape(-1, *[1] * (array.ndim - 1))
    _replace(node, index, f"equalized_{'weights' if index == 1 else 'bias'}", changed)


def _replace(node: ir.Node, index: int, what: str, array: Floats) -> None:
    assert isinstance(node.graph, ir.Graph)
    name, count = f"{label(node)}/{what}", 1
    while name in node.graph.initializers:  # a depthwise convolution may be the first of the next pair
        count += 1
        name = f"{label(node)}/{what}{count}"
    node.replace_input_with(index, initializer(node.graph, name, array))


def _bound(clip: ir.Node, factors: Floats) -> None:
    """Clip takes one bound for all channels: a Min behind it has one for each."""
    high, result = constant(argument(clip, 2)), clip.outputs[0]
    assert high is not None
    assert isinstance(clip.graph, ir.Graph)
    bounds = (high / factors).reshape(1, -1, *[1] * (len(shape(result) or (0,) * 4) - 2)).astype(np.float32)
    uses = list(result.uses())
    out = ir.Value(name=f"{result.name}/bounded", type=result.type, shape=result.shape)
    bounded = ir.node("Min", [result, initializer(clip.graph, f"{label(clip)}/bounds", bounds)], outputs=[out])
    bounded.name = f"{label(clip)}/Min"
    clip.resize_inputs(2)
    clip.graph.insert_after(clip, bounded)
    for use in uses:
        use.node.replace_input_with(use.idx, out)
