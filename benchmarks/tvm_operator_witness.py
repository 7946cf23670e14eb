"""A second witness beside ONNX Runtime: onnx's reference evaluator, and NumPy where that has no answer or a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from enginesmith.compat.evaluator import evaluator

Arrays = list[NDArray[Any]]


def witness(model: onnx.ModelProto, feed: dict[str, NDArray[Any]], shape: tuple[int, ...]) -> Arrays:
    """What the model's outputs are, the first of `shape`. Raises what the reference evaluator does."""
    nodes = model.graph.node
    own = OWN.get(nodes[0].op_type) if len(nodes) == 1 else None
    with np.errstate(all="ignore"):
        if own is not None:
            attributes = {given.name: onnx.helper.get_attribute_value(given) for given in nodes[0].attribute}
            return [own(feed[nodes[0].input[0]], attributes, shape)]
        return [np.asarray(array) for array in evaluator(model).run(None, feed)]


def max_pool(x: NDArray[Any], attributes: dict[str, Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """NaN left out, as the reference has it, which raises where a window has nothing else: there it is the least number."""
    kernel = attributes["kernel_shape"]
    rank = len(kernel)
    strides, gaps = (attributes.get(name, [1] * rank) for name in ("strides", "dilations"))
    before = attributes.get("pads", [0] * 2 * rank)[:rank]
    if attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        total = [max(0, (out - 1) * s + (k - 1) * g + 1 - size) for out, s, k, g, size in
                 zip(shape[2:], strides, kernel, gaps, x.shape[2:], strict=True)]  # fmt: skip
        before = [(pad + (attributes["auto_pad"] == b"SAME_LOWER")) // 2 for pad in total]
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    result = np.full(shape, least, x.dtype)
    for place in np.ndindex(*shape[2:]):
        for tap in np.ndindex(*kernel):
            at = [i * s + t * g - b for i, s, t, g, b in zip(place, strides, tap, gaps, before, strict=True)]
            if all(0 <= index < size for index, size in zip(at, x.shape[2:], strict=True)):
                there = (slice(None), slice(None), *place)
                result[there] = np.fmax(result[there], x[(slice(None), slice(None), *at)])
    return result


def lrn(x: NDArray[Any], attributes: dict[str, Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """ONNX Runtime's running sum never forgets an infinite number."""
    size = attributes["size"]
    alpha, beta, bias = (
        attributes.get(name, usual) for name, usual in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    squares = np.zeros_like(x)
    for channel in range(x.shape[1]):
        first = max(0, channel - (size - 1) // 2)
        squares[:, channel] = (x[:, first : channel + size // 2 + 1] ** 2).sum(axis=1)
    return np.asarray(x / (bias + alpha / size * squares) ** beta, x.dtype)


OWN: dict[str, Callable[[NDArray[Any], dict[str, Any], tuple[int, ...]], NDArray[Any]]] = {
    "LRN": lrn,
    "MaxPool": max_pool,
}
