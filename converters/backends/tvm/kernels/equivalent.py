"""Convolutions that compute the same from other weights: without taps that see nothing, with groups that fill vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enginesmith.converters.backends.tvm.kernels.layout import Window

LEAST_OUTPUTS = 4
"""Of a group: the narrowest vector."""


def seeing(
    window: Window, weights: NDArray[np.float32], source: tuple[int, int], target: tuple[int, int]
) -> tuple[Window, NDArray[np.float32]]:
    """Without the outer taps that lie beyond the plane for all outputs, as most do where a dilation is as large as it."""
    (top, bottom), (left, right) = (_seen(window, axis, source[axis], target[axis]) for axis in (0, 1))
    kernel = (bottom - top, right - left)
    if kernel == window.kernel:
        return window, weights
    down, across = window.dilations
    pads = (window.pads[0] - top * down, window.pads[1] - left * across)
    dilations = (down if kernel[0] > 1 else 1, across if kernel[1] > 1 else 1)
    inner = replace(window, kernel=kernel, dilations=dilations, pads=(*pads, 0, 0))
    reach = inner.reach(source, target)
    return replace(inner, pads=(*pads, reach.bottom, reach.right)), weights[:, :, top:bottom, left:right]


def share_seen(window: Window, source: tuple[int, int], target: tuple[int, int]) -> float:
    """Which part of all taps of all outputs lies in the plane."""
    seen = 1.0
    for axis in (0, 1):
        step, dilation, pad = window.strides[axis], window.dilations[axis], window.pads[axis]
        places = [y * step + tap * dilation - pad for y in range(target[axis]) for tap in range(window.kernel[axis])]
        seen *= sum(0 <= place < source[axis] for place in places) / len(places)
    return seen


def _seen(window: Window, axis: int, source: int, target: int) -> tuple[int, int]:
    """The first tap along an axis that lies in the plane for some output, and the one after the last."""
    stride, pad = window.strides[axis], window.pads[axis]
    starts = [tap * window.dilations[axis] - pad for tap in range(window.kernel[axis])]
    seen = [tap for tap, start in enumerate(starts) if any(0 <= y * stride + start < source for y in range(target))]
    # A window that begins within the plane has no name: pads aren't negative.
    return (seen[0], seen[-1] + 1) if seen and starts[seen[0]] <= 0 else (0, window.kernel[axis])


def merged(groups: int, weights: NDArray[np.float32], outputs_axis: int = 0) -> tuple[int, NDArray[np.float32]]:
    """Fewer groups, of neighbours with zeros between them, such that each has whole vectors of outputs if that can be.

    `weights` are [outputs, inputs of a group, ...]; of a transposed convolution (`outputs_axis` 1) [inputs, outputs of a
    group, ...].
    """
    own = weights.shape[0] // groups if outputs_axis == 0 else weights.shape[1]
    if groups == 1 or own % LEAST_OUTPUTS == 0:
        return groups, weights
    together = next(
        size
        for size in range(2, groups + 1)
        if groups % size == 0 and (own * size % LEAST_OUTPUTS == 0 or size == groups)
    )
    count, inner = weights.shape[0] // groups, weights.shape[1]
    wide: NDArray[Any] = np.zeros((weights.shape[0], together * inner, *weights.shape[2:]), np.float32)
    for group in range(groups):
        at = group % together * inner
        wide[group * count : (group + 1) * count, at : at + inner] = weights[group * count : (group + 1) * count]
    return groups // together, wide
