"""Transposed convolution, without the zeros that it puts between inputs: an output looks at every stride-th tap only.

With pads counted in, output `q * stride + phase` sums the inputs `q - j` times the taps `j * stride + phase`. So all
outputs of one phase are a plain convolution, and all phases look at the same inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import tiles
from enginesmith.converters.backends.tvm.kernels.convolution import DirectConvolution
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.layout import Blocked, Halo, Window
from enginesmith.converters.backends.tvm.kernels.output import BlockedOutput, finish


class TransposedConvolution(DirectConvolution):
    """One transposed convolution, its sizes known; `window.pads` is what ONNX cuts off the result.

    Parameters of `kernel()`: source, weights as `pack` makes them, operands of the expression, result.
    """

    def __init__(
        self, simd: Simd, window: Window, groups: int, source: Blocked, target: Blocked, expression: Expression
    ) -> None:
        super().__init__(simd, window, groups, source, target, expression)
        self.gapless, self.rows = False, 1
        self.taps = _taps(window)

    @staticmethod
    def reach(window: Window, source: tuple[int, int], target: tuple[int, int]) -> Halo:
        """How far beyond a plane of size `source` the outputs look."""
        before, after = (
            [
                max(0, taps - 1 - pad // stride),
                max(0, (count - 1 + pad) // stride - (size - 1)),
            ]
            for taps, pad, stride, count, size in zip(
                _taps(window), window.pads[:2], window.strides, target, source, strict=True
            )
        )
        return Halo(before[0], after[0], before[1], after[1])

    def pack(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[I, O / groups, kh, kw] to [tile, chunk, phases, taps of a phase, input in the chunk, output in the tile].

        A dilated kernel is written out with the zeros between its taps.
        """
        (sh, sw), (th, tw), (dh, dw) = self.window.strides, self.taps, self.window.dilations
        per_group = weights.shape[1]
        wide = np.zeros((self.groups, self.inputs, per_group, th * sh, tw * sw), np.float32)
        kh, kw = self.window.kernel
        wide[..., : (kh - 1) * dh + 1 : dh, : (kw - 1) * dw + 1 : dw] = weights.reshape(
            self.groups, self.inputs, per_group, kh, kw
        )
        outputs = wide.swapaxes(1, 2).reshape(self.groups * per_group, self.inputs, th * sh, tw * sw)
        padded = np.zeros((self.tiles * self.width, *outputs.shape[1:]), np.float32)
        padded[: len(outputs)] = outputs
        cut = padded.reshape(self.tiles, self.width, self.inputs // self.chunk, self.chunk, th, sh, tw, sw)
        return np.ascontiguousarray(cut.transpose(0, 2, 5, 7, 4, 6, 3, 1))

    def kernel(self, name: str) -> Any:
        source, target = self.source, self.target
        (sh, sw), (th, tw) = self.window.strides, self.taps
        top, left = self.window.pads[:2]
        most = tiles.pixels_for(self.simd, self.vectors)

        def body() -> None:
            data = argument("source", source.shape)
            packed = (self.tiles, self.inputs // self.chunk, sh, sw, th, tw, self.chunk, self.width)
            weights = argument("weights", packed)
            output = BlockedOutput(self.simd, target, self.expression)
            count = self.tiles * target.height
            with tasks(target.batch * count, target.size * self.inputs * th * tw) as task:
                image, tile, y = task // count, task % count // target.height, task % target.height
                row, phase = T.Bind((y + top) // sh), T.Bind((y + top) % sh)
                for first in range(min(sw, target.width)):
                    at = (first + left) // sw, (phase, (first + left) % sw)
                    for start, size, runs in tiles.runs(-(-(target.width - first) // sw), most):
                        with T.serial(runs) as run:
                            pixel = start + run * size
                            place = y, first + pixel * sw
                            self._phase(data, weights, output, image, tile, place, (row, at[0] + pixel), at[1], size)
                output.clear_tile(image, tile * self.width, self.vectors, y, target.height, self.rows)

        return function(name, body)

    def _phase(
        self,
        data: Any,
        weights: Any,
        output: BlockedOutput,
        image: Any,
        tile: Any,
        place: tuple[Any, Any],
        at: tuple[Any, Any],
        phase: tuple[Any, int],
        size: int,
    ) -> None:
        """`size` outputs, a stride apart, from `place` on; `at` is the input that the first of them sees at tap 0."""
        stride = self.window.strides[1]

        def read(block: Any, pixel: int, row: Any, column: Any, lane: Any) -> tuple[Any, ...]:
            return self.source.place(image, block, at[0] - row, at[1] + pixel - column, lane)

        def write(value: Any, pixel: Any, v: int) -> None:
            channel, block = tile * self.width + v * self.simd.lanes, self.target.block
            output.write(value, image, channel // block, place[0], place[1] + pixel * stride, channel % block)

        # the zeros beyond the kernel, in which phases of fewer taps are packed, would make NaN of infinite inputs
        taps = [
            (0, (extent - 1 - of) // step + 1)
            for extent, of, step in zip(_extent(self.window), phase, self.window.strides, strict=True)
        ]
        total = self._sums(data, weights, tile, phase, taps, size, read)
        finish(self.simd, self.expression, size, self.vectors, total, write)


def _taps(window: Window) -> tuple[int, int]:
    """Taps that an output sees, down and across."""
    down, across = (-(-extent // stride) for extent, stride in zip(_extent(window), window.strides, strict=True))
    return down, across


def _extent(window: Window) -> tuple[int, int]:
    """Of the kernel with its dilations, down and across."""
    down, across = ((kernel - 1) * step + 1 for kernel, step in zip(window.kernel, window.dilations, strict=True))
    return down, across
