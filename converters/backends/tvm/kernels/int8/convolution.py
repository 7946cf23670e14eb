"""Direct convolution of integers: a tile of output pixels by output channels is summed in int32 registers.

Neighbouring channels of a pixel are read together and broadcast, each lane has their weights. What the zero point adds to
every sum is known, since the halo holds it too, so that the sums start from its negative.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import tiles
from enginesmith.converters.backends.tvm.kernels.convolution import FLAT_PIXELS, SMALL_WIDTH, loop_taps
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.int8.dots import MOST_PRODUCTS, Dot, with_offset
from enginesmith.converters.backends.tvm.kernels.int8.sums import Sums
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO, Blocked, Window
from enginesmith.converters.backends.tvm.kernels.output import BlockedOutput, finish

UNROLLED = 4
"""Steps of the innermost loop, each of which takes as many channels as the target's instruction does."""


class IntegerConvolution:
    """Parameters of `kernel()`: source, weights as `pack` makes them, operands of the expression, result.

    The result before the expression is the sum of the products of integers, as float32.
    """

    def __init__(
        self,
        simd: Simd,
        dot: Dot,
        window: Window,
        groups: int,
        source: Blocked,
        target: Blocked,
        expression: Expression,
    ) -> None:
        assert source.integers is not None
        per_group = target.channels // groups
        self.simd = simd if groups == 1 else simd.narrowed(tiles.common(per_group, target.block, most=simd.lanes))
        self.dot, self.window, self.groups = dot, window, groups
        self.source, self.target, self.expression = source, target, expression
        lanes = self.simd.lanes
        self.steps = -(-source.channels // groups // dot.group)
        """Of one window's pixel: channels by the group that is read together."""
        self.chunk = tiles.common(self.steps, source.block // dot.group, most=UNROLLED)
        vectors = target.blocks * target.block // lanes if groups == 1 else per_group // lanes
        self.vectors = tiles.vectors_for(vectors)
        self.width = self.vectors * lanes
        """Output channels of a tile."""
        self.tiles = (target.blocks * target.block if groups == 1 else target.channels) // self.width
        self.sums = Sums(self.simd, dot, self.width, source.integers.zero)
        layouts = [source, target, *(operand.layout for operand in expression.operands if operand.kind == "tensor")]
        self.gapless = window.pointwise and all(layout and layout.halo == NO_HALO for layout in layouts)
        self.rows = 1
        """Of a task."""
        if self.gapless:
            self.rows = tiles.divisor(target.height, -(-FLAT_PIXELS // target.width))
        elif target.width <= SMALL_WIDTH:
            self.rows = target.height

    @staticmethod
    def refusal(dot: Dot, window: Window, groups: int, inputs: int, outputs: int) -> str:
        """Why there is no kernel, empty where there is one. `inputs` and `outputs` are of all groups."""
        if inputs // groups * window.taps > MOST_PRODUCTS:
            return "sums beyond int32"
        if groups > 1 and (inputs // groups % dot.group or outputs // groups % 4):
            return f"groups of {inputs // groups} inputs and {outputs // groups} outputs"
        return ""

    def pack(self, weights: NDArray[np.int8]) -> NDArray[np.int8]:
        """int8[O, I / groups, kh, kw] to [tile, chunk, kh, kw, step in the chunk, output in the tile, input of the step],
        behind what the sums start from.
        """
        outputs, inputs, kh, kw = weights.shape
        group, chunks = self.dot.group, self.steps // self.chunk
        padded = np.zeros((self.tiles * self.width, self.steps * group, kh, kw), np.int8)
        padded[:outputs, :inputs] = weights
        offset = padded.sum(axis=(1, 2, 3), dtype=np.int64).reshape(self.tiles, self.width)
        cut = padded.reshape(self.tiles, self.width, chunks, self.chunk, group, kh, kw)
        return with_offset(cut.transpose(0, 2, 5, 6, 3, 1, 4), offset, self.sums.zero)

    def kernel(self, name: str) -> Any:
        source, target = self.source, self.target
        work = target.size * self.steps * self.window.taps
        parts = target.height // self.rows
        most = tiles.pixels_for(self.simd, self.vectors)
        length = self.sums.length(self.steps * self.window.taps)

        def body() -> None:
            data = argument("source", source.shape, source.dtype)
            weights = argument("weights", (self.tiles, length), "int8")
            output = BlockedOutput(self.simd, target, self.expression)
            with tasks(target.batch * self.tiles * parts, work) as task:
                image, rest = task // (self.tiles * parts), task % (self.tiles * parts)
                # What is larger, weights or input, is gone through once.
                if self.tiles * length > source.size:
                    tile, part = rest // parts, rest % parts
                else:
                    part, tile = rest // self.tiles, rest % self.tiles
                for start, size, count in tiles.runs(self.rows * target.width, most):
                    with T.serial(count) as run:
                        self._tile(data, weights, output, image, tile, part, start + run * size, size)
                output.clear_tile(image, tile * self.width, self.vectors, part, parts, self.rows)

        return function(name, body, computes_in="int8")

    def _place(self, part: Any, pixel: Any) -> tuple[Any, Any]:
        """Row and column of a pixel that is counted from the start of a task's rows."""
        width = self.target.width
        if self.gapless:  # the plane as one long row
            return 0, part * (self.rows * width) + pixel
        if self.rows == 1:
            return part, pixel
        return T.Bind(tirx.floordiv(pixel, width)), T.Bind(tirx.floormod(pixel, width))

    def _tile(
        self, data: Any, weights: Any, output: BlockedOutput, image: Any, tile: Any, part: Any, first: Any, size: int
    ) -> None:
        """All inputs of `size` pixels from `first` on, then their end."""
        kh, kw = self.window.kernel
        (sh, sw), (dh, dw), (top, left, _, _) = self.window.strides, self.window.dilations, self.window.pads
        places = [self._place(part, first + step) for step in range(size)]
        sums = self.sums.begin(weights, tile, size, self.chunk)
        per_block = self.source.block // self.dot.group // self.chunk
        with T.serial(self.steps // self.chunk) as chunk:
            place = chunk
            if self.groups > 1:
                group = tile // (self.target.channels // self.groups // self.width)
                place = group * (self.steps // self.chunk) + chunk
            block, lane = place // per_block, place % per_block * (self.chunk * self.dot.group)

            def taps(row: Any, column: Any) -> None:
                at = ((chunk * kh + row) * kw + column) * self.chunk

                def read(pixel: int, step: int) -> Any:
                    y, x = places[pixel]
                    index = self.source.place(
                        image,
                        block,
                        y * sh + row * dh - top,
                        x * sw + column * dw - left,
                        lane + step * self.dot.group,
                    )
                    return self.sums.neighbours(data, index)

                sums.add(read, at, self.chunk)

            loop_taps((0, kh), (0, kw), taps)

        def write(value: Any, pixel: Any, v: int) -> None:
            y, x = places[pixel] if isinstance(pixel, int) else self._place(part, first + pixel)
            channel = tile * self.width + v * self.simd.lanes
            output.write(value, image, channel // self.target.block, y, x, channel % self.target.block)

        finish(self.simd, self.expression, size, self.vectors, sums.total, write)
