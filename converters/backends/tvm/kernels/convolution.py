"""Direct convolution: a tile of output pixels by output channels stays in registers while all inputs go by.

The input is read one number at a time and broadcast, so its layout is free; the halo makes every window look alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import tiles
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.equivalent import share_seen
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO, Blocked, Window
from enginesmith.converters.backends.tvm.kernels.output import BlockedOutput, finish
from enginesmith.converters.backends.tvm.kernels.schedule import DirectSchedule, Space, divisors, registers_for_sums

SMALL_WIDTH = 14
"""Up to this width tiles run over the ends of rows, so that few are left partly empty."""
FLAT_PIXELS = 96
"""Pixels of a task, where rows follow each other without a gap."""
FEWEST_TASKS = 16
TASK_WORK = 4_000_000
"""Multiplications of a task of a large 1x1 convolution: some 70 us."""
SPARSE = 0.8
"""Where less than this part of the taps lies in the plane, it pays to go through those alone that do."""
MOST_VECTORS = 6
"""Of output channels in a tile, that a search looks at."""


class DirectConvolution:
    """One convolution, its sizes known. `source.block` may be anything, `target.block` is a multiple of a vector.

    Parameters of `kernel()`: source, weights as `pack` makes them, operands of the expression, result.
    """

    def __init__(
        self,
        simd: Simd,
        window: Window,
        groups: int,
        source: Blocked,
        target: Blocked,
        expression: Expression,
        schedule: DirectSchedule | None = None,
    ) -> None:
        per_group = target.channels // groups
        self.simd = simd if groups == 1 else simd.narrowed(tiles.common(per_group, target.block, most=simd.lanes))
        lanes = self.simd.lanes
        self.window, self.groups, self.source, self.target = window, groups, source, target
        self.expression = expression
        self.inputs = source.channels // groups
        self.outputs = target.blocks * target.block if groups == 1 else per_group
        """Of a group."""
        layouts = [source, target, *(operand.layout for operand in expression.operands if operand.kind == "tensor")]
        self.gapless = window.pointwise and all(layout and layout.halo == NO_HALO for layout in layouts)
        planes = (source.height, source.width), (target.height, target.width)
        self.sparse = share_seen(window, *planes) < SPARSE
        self.schedule = schedule or self.default()
        self.vectors, self.chunk, self.rows = self.schedule.vectors, self.schedule.inputs, self.schedule.rows
        self.width = self.vectors * lanes
        """Output channels of a tile."""
        self.tiles = groups * self.outputs // self.width

    def default(self) -> DirectSchedule:
        """What measured best over many sizes."""
        target = self.target
        vectors = tiles.vectors_for(self.outputs // self.simd.lanes)
        rows = 1
        if self.gapless:
            rows = tiles.divisor(target.height, -(-FLAT_PIXELS // target.width))
        elif target.width <= SMALL_WIDTH and not self.sparse:
            rows = target.height
        across = self.gapless or rows > 1
        if self.window.taps == 1:
            rows = max(rows, self._rows_of_coarse_tasks(vectors))
        return DirectSchedule(
            vectors=vectors,
            sums=tiles.pixels_for(self.simd, vectors) * vectors,
            inputs=tiles.common(self.inputs, self.source.block, most=8),
            rows=rows,
            across=across,
            # What is larger, weights or input, is gone through once.
            weights_once=self.groups * self.outputs * self.inputs * self.window.taps > self.source.size,
        )

    def _rows_of_coarse_tasks(self, vectors: int) -> int:
        """A task of a 1x1 convolution is short, and reads its weights anew: with fewer, longer ones 5 to 20 % less time.
        Enough of them are left for many cores.
        """
        target, columns = self.target, self.outputs * self.groups // (vectors * self.simd.lanes)
        enough = max(FEWEST_TASKS, target.size * self.inputs // TASK_WORK)
        return target.height // tiles.divisor(target.height, -(-enough // (target.batch * columns)))

    def space(self) -> Space:
        default = self.default()
        return {
            "vectors": tuple(count for count in divisors(self.outputs // self.simd.lanes) if count <= MOST_VECTORS),
            "sums": registers_for_sums(
                self.simd.registers, default.sums, MOST_VECTORS * self.target.height * self.target.width
            ),
            "inputs": divisors(tiles.common(self.inputs, self.source.block, most=16)),
            "rows": divisors(self.target.height),
            "across": (True,) if self.gapless else (False, True),
            "weights_once": (False, True),
        }

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
        plan = self.schedule
        parts = target.height // plan.rows
        rows, length = (1, plan.rows * target.width) if plan.across else (plan.rows, target.width)
        most = max(1, plan.sums // plan.vectors)

        def body() -> None:
            data = argument("source", source.shape)
            packed = (self.tiles, self.inputs // self.chunk, kh, kw, self.chunk, self.width)
            weights = argument("weights", packed)
            output = BlockedOutput(self.simd, target, self.expression)
            with tasks(target.batch * self.tiles * parts, work) as task:
                image, rest = task // (self.tiles * parts), task % (self.tiles * parts)
                if plan.weights_once:
                    tile, part = rest // parts, rest % parts
                else:
                    part, tile = rest // self.tiles, rest % self.tiles
                with T.serial(rows) as row:
                    for start, size, count in tiles.runs(length, most):
                        with T.serial(count) as run:
                            place = partial(self._place, part, row, start + run * size)
                            self._tile(data, weights, output, image, tile, place, size)
                output.clear_tile(image, tile * self.width, self.vectors, part, parts, self.rows)

        return function(name, body)

    def _place(self, part: Any, row: Any, first: Any, step: Any) -> tuple[Any, Any]:
        """Row and column of a pixel of a task, counted from the start of the task where tiles run over the ends of rows,
        else from the start of `row`."""
        width, top, pixel = self.target.width, part * self.rows, first + step
        if self.gapless:  # the plane as one long row
            return 0, top * width + pixel
        if not self.schedule.across or self.rows == 1:
            return top + row, pixel
        return T.Bind(top + tirx.floordiv(pixel, width)), T.Bind(tirx.floormod(pixel, width))

    def _tile(
        self,
        data: Any,
        weights: Any,
        output: BlockedOutput,
        image: Any,
        tile: Any,
        place: Callable[[Any], tuple[Any, Any]],
        size: int,
    ) -> None:
        """All inputs of `size` pixels, then their end. `place` gives the row and column of each."""
        places = [place(step) for step in range(size)]

        def read(block: Any, pixel: int, row: Any, column: Any, lane: Any) -> tuple[Any, ...]:
            return self._read(image, block, *places[pixel], row, column, lane)

        def write(value: Any, pixel: Any, v: int) -> None:
            y, x = places[pixel] if isinstance(pixel, int) else place(pixel)
            channel = tile * self.width + v * self.simd.lanes
            output.write(value, image, channel // self.target.block, y, x, channel % self.target.block)

        taps = [(0, count) for count in self.window.kernel]
        if self.sparse and not self.schedule.across:
            ends = places[0], places[-1]
            taps = [self._seen(axis, ends[0][axis], ends[1][axis]) for axis in (0, 1)]
        total = self._sums(data, weights, tile, (), taps, size, read)
        finish(self.simd, self.expression, size, self.vectors, total, write)

    def _seen(self, axis: int, first: Any, last: Any) -> tuple[Any, Any]:
        """The first tap along an axis that one of the outputs from `first` to `last` sees in the plane, and the one after
        the last.
        """
        extent = (self.source.height, self.source.width)[axis]
        stride, dilation, pad = self.window.strides[axis], self.window.dilations[axis], self.window.pads[axis]
        start, end = (
            tirx.floordiv(T.max(0, distance) + dilation - 1, dilation)
            for distance in (pad - last * stride, extent + pad - first * stride)
        )
        return T.Bind(start), T.Bind(T.min(self.window.kernel[axis], end))

    def _sums(
        self,
        data: Any,
        weights: Any,
        tile: Any,
        phase: tuple[Any, ...],
        taps: Sequence[tuple[Any, Any]],
        size: int,
        read: Callable[[Any, int, Any, Any, Any], tuple[Any, ...]],
    ) -> Callable[[Any, int], Any]:
        """Sums over all inputs and taps for `size` pixels: a function of the pixel and the vector of outputs.

        `read` gives the index of the number that a pixel sees at a tap, from block, pixel, row, column and lane; `taps`
        has the first tap and the one after the last, down and across; `phase` is where the weights of these pixels lie, if
        not all have the same.
        """
        simd, vectors, lanes = self.simd, self.vectors, self.simd.lanes
        count = size * vectors
        parts = tiles.partial_sums(count, self.chunk)
        widths = [simd] * (vectors - 1) + [self._last()]
        sums = [width.zeros(size * parts) for width in widths]
        with T.serial(self.inputs // self.chunk) as chunk:
            block, lane = self._input(tile, chunk)

            def add(row: Any, column: Any) -> None:
                for step in range(self.chunk):
                    ws = [
                        width.load(weights, tile, chunk, *phase, row, column, step, v * lanes)
                        for v, width in enumerate(widths)
                    ]
                    for pixel in range(size):
                        value = data[read(block, pixel, row, column, lane + step)]
                        for width, weight, own in zip(widths, ws, sums, strict=True):
                            at = (step % parts * size + pixel) * width.lanes
                            width.store(own, width.fma(width.splat(value), weight, width.load(own, at)), at)

            loop_taps(taps[0], taps[1], add)

        def total(pixel: int, v: int) -> Any:
            return simd.widened(widths[v], widths[v].total(sums[v], pixel, size, parts))

        return total

    def _last(self) -> Simd:
        """Of the last vector of outputs only half is summed up, where channels fill no more of it and all tiles are alike."""
        lanes, rest = self.simd.lanes, self.target.channels % self.simd.lanes
        half_filled = self.tiles == 1 and lanes > 4 and 0 < rest <= lanes // 2
        return self.simd.narrowed(lanes // 2) if half_filled else self.simd

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


def loop_taps(down: tuple[Any, Any], across: tuple[Any, Any], body: Callable[[Any, Any], None]) -> None:
    """Real loops: when the taps of a row are unrolled, LLVM merges their broadcasts, and spills registers."""
    known = all(isinstance(end, int) for end in (*down, *across))
    if known and down == across == (0, 1):
        body(0, 0)
    else:
        with T.serial(*down) as row, T.serial(*across) as column:
            body(row, column)
