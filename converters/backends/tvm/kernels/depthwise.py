"""Depthwise convolution: each channel by itself, a block of channels at a time, the taps' weights shared by a row of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import tiles
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.layout import Blocked, Window
from enginesmith.converters.backends.tvm.kernels.output import BlockedOutput, finish
from enginesmith.converters.backends.tvm.kernels.schedule import DepthwiseSchedule, Space, divisors

PIXELS = 8


class DepthwiseConvolution:
    """Parameters of `kernel()`: source, weights as `pack` makes them, operands of the expression, result."""

    def __init__(
        self,
        simd: Simd,
        window: Window,
        source: Blocked,
        target: Blocked,
        expression: Expression,
        schedule: DepthwiseSchedule | None = None,
    ) -> None:
        self.simd, self.window = simd, window
        self.source, self.target, self.expression = source, target, expression
        self.schedule = schedule or self.default()

    def default(self) -> DepthwiseSchedule:
        """Enough tasks for some cores; the rows of a task share what they read."""
        target = self.target
        rows = target.height if target.blocks >= 8 else tiles.divisor(target.height, -(-target.height // 4))
        return DepthwiseSchedule(pixels=PIXELS, rows=rows)

    def space(self) -> Space:
        return {"pixels": tuple(range(2, min(self.simd.registers, 16))), "rows": divisors(self.target.height)}

    def pack(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[C, 1, kh, kw] to [block, kh, kw, channel in the block]."""
        channels, _, kh, kw = weights.shape
        padded = np.zeros((self.target.blocks * self.target.block, kh, kw), np.float32)
        padded[:channels] = weights[:, 0]
        return np.ascontiguousarray(padded.reshape(-1, self.target.block, kh, kw).transpose(0, 2, 3, 1))

    def kernel(self, name: str) -> Any:
        simd, target = self.simd, self.target
        kh, kw = self.window.kernel
        rows = self.schedule.rows
        parts = target.height // rows

        def body() -> None:
            data = argument("source", self.source.shape, self.source.dtype)
            weights = argument("weights", (target.blocks, kh, kw, target.block))
            output = BlockedOutput(simd, target, self.expression)
            with tasks(target.batch * target.blocks * parts, target.size * self.window.taps) as task:
                image, block = task // (target.blocks * parts), task // parts % target.blocks
                first = task % parts * rows
                with T.serial(rows) as row:
                    for start, size, count in tiles.runs(target.width, self.schedule.pixels):
                        with T.serial(count) as run:
                            self._tile(data, weights, output, image, block, first + row, start + run * size, size)
                output.clear_halo(image, block, first, rows, task % parts == 0, task % parts == parts - 1)

        return function(name, body)

    def _tile(
        self, data: Any, weights: Any, output: BlockedOutput, image: Any, block: Any, y: Any, x: Any, size: int
    ) -> None:
        simd = self.simd
        kh, kw = self.window.kernel
        (sh, sw), (dh, dw), (top, left, _, _) = self.window.strides, self.window.dilations, self.window.pads
        sums = simd.zeros(size)
        with T.serial(kh) as tap:
            for column in range(kw):
                weight = T.Bind(simd.load(weights, block, tap, column, 0))
                for pixel in range(size):
                    down, across = y * sh + tap * dh - top, (x + pixel) * sw + column * dw - left
                    value = self.source.read(simd, data, image, block, down, across)
                    at = pixel * simd.lanes
                    simd.store(sums, simd.fma(value, weight, simd.load(sums, at)), at)
        finish(simd, self.expression, size, 1, lambda pixel, _: simd.load(sums, pixel * simd.lanes),
               lambda value, pixel, _: output.write(value, image, block, y, x + pixel))  # fmt: skip
