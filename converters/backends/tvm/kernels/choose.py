"""Which of several kernels for one convolution takes the least time, by a model of arithmetic and memory traffic."""

from __future__ import annotations

import math

from enginesmith.converters.backends.tvm.kernels.layout import Window
from enginesmith.converters.backends.tvm.kernels.winograd import tiles_along

FLOPS_PER_BYTE = 5.0
"""Arithmetic that a core does in the time in which a byte comes from beyond the L2 cache: 110 GFLOP/s, 22 GB/s."""
L2_BYTES = 500_000
TRANSFORM_FLOPS = {2: 3.0, 4: 4.0}
"""Cost of both transforms per input and output number, in flops of the product: measured on 56 x 56 and 14 x 14."""
LEAST_CHANNELS = 16
"""Of inputs and of outputs, for Winograd: with fewer the transforms take too much of the time."""
GAIN = 0.9
"""Winograd has to be this much cheaper: its rounding error is larger."""


def winograd_size(
    window: Window, inputs: int, outputs: int, target: tuple[int, int], allowed: bool, seen: float = 1.0
) -> int:
    """Outputs along a side of the tile, 2 or 4; 0 for the direct convolution, which goes through the part `seen` of the
    taps.
    """
    if not allowed or min(inputs, outputs) < LEAST_CHANNELS:
        return 0
    costs = {size: winograd_cost(size, window, inputs, outputs, target) for size in (2, 4)}
    best = min(costs, key=lambda size: costs[size])
    return best if costs[best] < GAIN * seen * direct_cost(window, inputs, outputs, target) else 0


def direct_cost(window: Window, inputs: int, outputs: int, target: tuple[int, int]) -> float:
    """In flops: of the arithmetic, and what the traffic of weights costs beside it."""
    height, width = target
    flops = 2.0 * inputs * outputs * window.taps * height * width
    return flops + _traffic(4.0 * inputs * outputs * window.taps)


def winograd_cost(size: int, window: Window, inputs: int, outputs: int, target: tuple[int, int]) -> float:
    points = (size + 2) ** 2
    tiles = math.prod(tiles_along(size, window, target))
    flops = 2.0 * points * tiles * inputs * outputs
    transforms = TRANSFORM_FLOPS[size] * 2 * points * tiles * (inputs + outputs)
    between = _traffic(4.0 * points * tiles * (inputs + outputs))
    return flops + transforms + _traffic(4.0 * points * inputs * outputs) + between


def _traffic(size: float) -> float:
    """What moving `size` bytes costs in flops: nothing as long as they stay in the L2 cache."""
    return max(0.0, size - L2_BYTES) * FLOPS_PER_BYTE
