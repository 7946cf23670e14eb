"""Direct convolution: a tile of output pixels by output channels stays in registers while all inputs go by.

The input is read one number at a time and broadcast, so its layout is free; the halo makes every window look alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.tvm_kernels import tiles
from enginesmith.converters.tvm_kernels.emit import Simd, argument, function, tasks, when
from enginesmith.converters.tvm_kernels.expression import Expression
from enginesmith.converters.tvm_kernels.layout import Blocked, Halo, Window
from enginesmith.converters.tvm_kernels.output import BlockedOutput

SMALL_WIDTH = 14
"""Up to this width tiles run over the ends of rows, so that few are left partly empty."""
FLAT_PIXELS = 96
"""Pixels of a task, where rows follow each other without a gap."""


class DirectConvolution:
    """One convolution, its sizes known. `source.block` may be anything, `target.block` is a multiple of a vector.

    Parameters of `kernel()`: source, weights as `pack` makes them, operands of the expression, result.
    """

    def __init__(
        self, simd: Simd, window: Window, groups: int, source: Blocked, target: Blocked, expression: Expression
    ) -> None:
        per_group = target.channels // groups
        self.simd = simd if groups == 1 else simd.narrowed(tiles.common(per_group, target.block, most=simd.lanes))
        lanes = self.simd.lanes
        self.window, self.groups, self.source, self.target = window, groups, source, target
        self.expression = expression
        self.inputs = source.channels // groups
        vectors = target.blocks * target.block // lanes if groups == 1 else per_group // lanes
        self.vectors = tiles.vectors_for(vectors)
        self.width = self.vectors * lanes
        """Output channels of a tile."""
        self.chunk = tiles.common(self.inputs, source.block, most=8)
        """Input channels that are unrolled; they lie in one block."""
        self.tiles = (target.blocks * target.block if groups == 1 else target.channels) // self.width

    @staticmethod
    def fits(groups: int, outputs: int) -> bool:
        """Whole vectors of at least four outputs in each group."""
        return groups == 1 or outputs // groups % 4 == 0

    def pack(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[O, I / groups, kh, kw] to [tile, chunk, kh, kw, input in the chunk, output in the tile]."""
        outputs, inputs, kh, kw = weights.shape
        padded = np.zeros((self.tiles * self.width, inputs, kh, kw), np.float32)
        padded[:outputs] = weights
        cut = padded.reshape(self.tiles, self.width, inputs // self.chunk, self.chunk, kh, kw)
        return np.ascontiguousarray(cut.transpose(0, 2, 4, 5, 3, 1))

    def kernel(self, name: str) -> Any:
        source, target = self.source, self.target
        kh, kw = self.window.kernel
        work = target.size * self.inputs * self.window.taps
        row_tasks, row_work = self._rows()

        def body() -> None:
            data = argument("source", source.shape)
            packed = (self.tiles, self.inputs // self.chunk, kh, kw, self.chunk, self.width)
            weights = argument("weights", packed)
            output = BlockedOutput(self.simd, target, self.expression)
            with tasks(target.batch * self.tiles * row_tasks, work) as task:
                image = task // (self.tiles * row_tasks)
                rest = task % (self.tiles * row_tasks)
                # What is larger, weights or input, is gone through once.
                if weights_outside(self.tiles * self.width * self.inputs * kh * kw, source.size):
                    tile, rows = rest // row_tasks, rest % row_tasks
                else:
                    rows, tile = rest // self.tiles, rest % self.tiles
                for pixels in row_work(rows):
                    pixels(lambda places: self._tile(data, weights, output, image, tile, places))
                self._clear(output, image, tile, rows, row_tasks)

        return function(name, body)

    def _rows(self) -> tuple[int, Callable[[Any], Iterator[Callable[[Any], None]]]]:
        """Number of tasks that the plane is cut into, and for one of them its loops over tiles of pixels."""
        target = self.target
        height, width = target.height, target.width
        most = tiles.pixels_for(self.simd, self.vectors)
        layouts = [self.source, target, *(op.layout for op in self.expression.operands if op.kind == "tensor")]
        gapless = self.window.pointwise and all(layout and layout.halo == Halo() for layout in layouts)
        if width <= SMALL_WIDTH and not gapless:
            rows = height
        elif gapless:
            rows = tiles.divisor(height, -(-FLAT_PIXELS // width))
        else:
            rows = 1

        def work(task: Any) -> Iterator[Callable[[Any], None]]:
            total = rows * width if gapless or rows > 1 else width
            for start, size, count in tiles.runs(total, most):

                def loop(emit: Any, start: int = start, size: int = size, count: int = count) -> None:
                    with T.serial(count) as index:
                        first = start + index * size
                        if gapless:  # the plane as one long row
                            emit([(0, task * total + first + step) for step in range(size)])
                        elif rows > 1:
                            emit([_divided(first + step, width) for step in range(size)])
                        else:
                            emit([(task, first + step) for step in range(size)])

                yield loop

        return height // rows, work

    def _tile(self, data: Any, weights: Any, output: BlockedOutput, image: Any, tile: Any, places: Any) -> None:
        """All inputs of one tile of pixels, then its end."""
        simd, vectors, lanes = self.simd, self.vectors, self.simd.lanes
        kh, kw = self.window.kernel
        count = len(places) * vectors
        parts = tiles.partial_sums(count, self.chunk)
        sums = simd.zeros(count * parts)
        with T.serial(self.inputs // self.chunk) as chunk:
            block, lane = self._input(tile, chunk)

            def taps(row: Any, column: Any) -> None:
                for step in range(self.chunk):
                    ws = [simd.load(weights, tile, chunk, row, column, step, v * lanes) for v in range(vectors)]
                    for pixel, (y, x) in enumerate(places):
                        value = simd.splat(data[self._read(image, block, y, x, row, column, lane + step)])
                        for v, weight in enumerate(ws):
                            at = (step % parts * count + pixel * vectors + v) * lanes
                            simd.store(sums, simd.fma(value, weight, simd.load(sums, at)), at)

            loop_taps(kh, kw, taps)
        for pixel, (y, x) in enumerate(places):
            for v in range(vectors):
                channel = tile * self.width + v * lanes
                value = simd.total(sums, pixel * vectors + v, count, parts)
                output.write(value, image, channel // self.target.block, y, x, channel % self.target.block)

    def _input(self, tile: Any, chunk: Any) -> tuple[Any, Any]:
        """Block and first lane of a chunk of inputs of the group that `tile` belongs to."""
        if self.groups > 1:
            group = tile // (self.target.channels // self.groups // self.width)
            chunk = group * (self.inputs // self.chunk) + chunk
        per_block = self.source.block // self.chunk
        return chunk // per_block, chunk % per_block * self.chunk

    def _read(self, image: Any, block: Any, y: Any, x: Any, row: Any, column: Any, lane: Any) -> tuple[Any, ...]:
        (sh, sw), (dh, dw), (top, left, _, _) = self.window.strides, self.window.dilations, self.window.pads
        return self.source.place(image, block, y * sh + row * dh - top, x * sw + column * dw - left, lane)

    def _clear(self, output: BlockedOutput, image: Any, tile: Any, rows: Any, row_tasks: int) -> None:
        """The halo of the blocks that this task writes, by the task that writes a block's first lane."""
        if self.target.halo == Halo():
            return
        count = self.target.height // row_tasks
        block, lanes = self.target.block, self.simd.lanes
        for v in range(self.vectors):
            channel = tile * self.width + v * lanes

            def clear(channel: Any = channel) -> None:
                output.clear_halo(image, channel // block, rows * count, count, rows == 0, rows == row_tasks - 1)

            when(True if lanes == block else channel % block == 0, clear)


def loop_taps(kh: int, kw: int, body: Callable[[Any, Any], None]) -> None:
    """Real loops: when the taps of a row are unrolled, LLVM merges their broadcasts, and spills registers."""
    if kh == kw == 1:
        body(0, 0)
    else:
        with T.serial(kh) as row, T.serial(kw) as column:
            body(row, column)


def weights_outside(weights: int, inputs: int) -> bool:
    return weights > inputs


def _divided(pixel: Any, width: int) -> tuple[Any, Any]:
    return T.Bind(tirx.floordiv(pixel, width)), T.Bind(tirx.floormod(pixel, width))
