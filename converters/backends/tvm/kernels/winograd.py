"""3x3 convolutions with stride 1, dilated or not, by Winograd's minimal filtering: F(4, 3) takes 4 times fewer
multiplications, F(2, 3) 2.25.

Lavin, Gray: Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308; the points are 0, 1, -1 (2, -2) and infinity.
A dilation cuts the plane into interleaved ones, whose tiles take turns.
Each strip of tiles goes through three phases: input transform, one matrix product per point, output transform. The
rounding error of F(4, 3) is some ten times that of the direct convolution (measured: 3e-6 of the largest output).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import tiles
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks, when
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO, Blocked, Halo, Window
from enginesmith.converters.backends.tvm.kernels.output import BlockedOutput
from enginesmith.converters.backends.tvm.kernels.schedule import Space, WinogradSchedule, divisors, registers_for_sums

STRIP_BYTES = 600_000
"""Of both workspaces of a strip: they should stay in the L2 cache from one phase to the next."""
MOST_VECTORS = 6
"""Of output channels in a tile, that a search looks at."""
FILTERS = {
    2: np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
    4: np.array([[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
                 [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]),
}  # fmt: skip
"""The filter's transform, by the outputs of a tile."""

Loop = Callable[[int, int], AbstractContextManager[Any]]
"""Takes the count of tasks and the work in all of them."""


class WinogradConvolution:
    """Parameters of `kernel()`: source, weights as `pack` makes them, operands of the expression, result."""

    def __init__(
        self,
        simd: Simd,
        size: int,
        window: Window,
        source: Blocked,
        target: Blocked,
        expression: Expression,
        schedule: WinogradSchedule | None = None,
    ) -> None:
        """`size` is 2 or 4: a tile's outputs along an axis."""
        self.simd, self.size, self.window = simd, size, window
        self.source, self.target, self.expression = source, target, expression
        self.points = (size + 2) ** 2
        self.down, self.across = tiles_along(size, window, (target.height, target.width))
        self.schedule = schedule or self.default()
        self.vectors, self.rows = self.schedule.vectors, self.schedule.rows
        self.width = self.vectors * simd.lanes

    def default(self) -> WinogradSchedule:
        """What measured best over many sizes."""
        source, target, lanes = self.source, self.target, self.simd.lanes
        vectors = tiles.vectors_for(target.blocks)
        row_bytes = 4 * self.points * self.across * (source.blocks + target.blocks) * lanes
        fitting = divisors(self.down)
        if 4 * self.points * source.channels * target.channels > STRIP_BYTES:
            fitting = (self.down,)  # the weights would be read again for every strip, from beyond the L2 cache
        small = [rows for rows in fitting if rows * row_bytes <= STRIP_BYTES]
        return WinogradSchedule(
            vectors=vectors,
            sums=tiles.pixels_for(self.simd, vectors) * vectors,
            rows=max(small, default=fitting[0]),
        )

    def space(self) -> Space:
        return {
            "vectors": tuple(count for count in divisors(self.target.blocks) if count <= MOST_VECTORS),
            "sums": registers_for_sums(
                self.simd.registers, self.default().sums, MOST_VECTORS * self.down * self.across
            ),
            "rows": divisors(self.down),
        }

    @staticmethod
    def fits(simd: Simd, window: Window, groups: int, source: Blocked) -> bool:
        plain = window.kernel == (3, 3) and window.strides == (1, 1)
        return plain and groups == 1 and source.block == simd.lanes and source.channels % simd.lanes == 0

    @staticmethod
    def reach(size: int, window: Window, source: tuple[int, int], target: tuple[int, int]) -> Halo:
        """The halo that the last tiles read, whose outputs are partly thrown away."""
        bottom, right = (
            tiles * size + 2 * dilation - pad - extent
            for tiles, dilation, pad, extent in zip(
                tiles_along(size, window, target), window.dilations, window.pads[:2], source, strict=True
            )
        )
        return Halo(window.pads[0], window.pads[1], max(0, bottom), max(0, right))

    def pack(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[O, I, 3, 3] to transformed [point, tile of outputs, input, output in the tile]."""
        outputs, inputs = weights.shape[:2]
        filters = FILTERS[self.size]
        padded = np.zeros((self.target.blocks * self.simd.lanes, inputs, 3, 3))
        padded[:outputs] = weights
        transformed = np.kron(filters, filters) @ padded.reshape(-1, 9).T
        cut = transformed.astype(np.float32).reshape(self.points, -1, self.width, inputs)
        return np.ascontiguousarray(cut.transpose(0, 1, 3, 2))

    def kernel(self, name: str) -> Any:
        simd, source, target = self.simd, self.source, self.target
        strips = self.down // self.rows
        work = self.points * self.down * self.across * source.channels * target.channels

        def body() -> None:
            data = argument("source", source.shape, source.dtype)
            weights = argument("weights", (self.points, target.blocks // self.vectors, source.channels, self.width))
            output = BlockedOutput(simd, target, self.expression)
            if strips > 1:  # every strip is a task: nothing goes from one core to another between the phases
                with tasks(target.batch * strips, work) as task:
                    self._strip(data, weights, output, task // strips, task % strips, _alone)
            else:
                with T.serial(target.batch) as image:
                    self._strip(data, weights, output, image, 0, tasks)

        return function(name, body)

    def _strip(self, data: Any, weights: Any, output: BlockedOutput, image: Any, strip: Any, loop: Loop) -> None:
        count, lanes = self.rows * self.across, self.simd.lanes
        inputs = T.alloc_buffer((self.source.blocks, self.points, count, lanes), "float32")
        sums = T.alloc_buffer((self.target.blocks, self.points, count, lanes), "float32")
        self._transform_input(data, inputs, image, strip, loop)
        self._multiply(weights, inputs, sums, loop)
        self._transform_output(sums, output, image, strip, loop)

    def _first(self, axis: int, tile: Any) -> Any:
        """The first output of a tile along an axis."""
        dilation = self.window.dilations[axis]
        return tile * self.size if dilation == 1 else tile // dilation * (dilation * self.size) + tile % dilation

    def _transform_input(self, data: Any, inputs: Any, image: Any, strip: Any, loop: Loop) -> None:
        simd, size, n = self.simd, self.size, self.size + 2
        transform = _input_2 if size == 2 else _input_4
        (top, left), (down, across) = self.window.pads[:2], self.window.dilations
        with loop(self.source.blocks * self.rows, self.source.size) as task:
            block, row = task // self.rows, task % self.rows
            with T.serial(self.across) as column:
                y, x = self._first(0, strip * self.rows + row) - top, self._first(1, column) - left

                def load(i: int, j: int, y: Any = y, x: Any = x, block: Any = block) -> Any:
                    return self.source.read(simd, data, image, block, y + i * down, x + j * across)

                def keep(value: Any, i: int, j: int, block: Any = block, at: Any = row * self.across + column) -> None:
                    simd.store(inputs, value, block, i * n + j, at, 0)

                _both_ways(simd, transform, n, n, load, keep)

    def _multiply(self, weights: Any, inputs: Any, sums: Any, loop: Loop) -> None:
        simd, lanes, vectors = self.simd, self.simd.lanes, self.vectors
        outputs = self.target.blocks // vectors
        total = self.rows * self.across
        work = self.points * total * self.source.channels * self.target.channels
        with loop(self.points * outputs, work) as task:
            point, tile = task // outputs, task % outputs
            for start, size, count in tiles.runs(total, max(1, self.schedule.sums // vectors)):
                with T.serial(count) as run:
                    first = start + run * size
                    registers = simd.zeros(size * vectors)
                    with T.serial(self.source.blocks) as block:
                        for lane in range(lanes):
                            ws = [
                                simd.load(weights, point, tile, block * lanes + lane, v * lanes) for v in range(vectors)
                            ]
                            for pixel in range(size):
                                value = simd.splat(inputs[block, point, first + pixel, lane])
                                for v, weight in enumerate(ws):
                                    at = (pixel * vectors + v) * lanes
                                    simd.store(registers, simd.fma(value, weight, simd.load(registers, at)), at)
                    for pixel in range(size):
                        for v in range(vectors):
                            value = simd.load(registers, (pixel * vectors + v) * lanes)
                            simd.store(sums, value, tile * vectors + v, point, first + pixel, 0)

    def _transform_output(self, sums: Any, output: BlockedOutput, image: Any, strip: Any, loop: Loop) -> None:
        simd, size, n = self.simd, self.size, self.size + 2
        target, (down, across) = self.target, self.window.dilations
        # Outputs beyond the plane: only a tile's last ones can be among them.
        spare = self.down * size - target.height, self.across * size - target.width
        transform = _output_2 if size == 2 else _output_4
        with loop(target.blocks * self.rows, target.size) as task:
            block, row = task // self.rows, task % self.rows
            tile_row = strip * self.rows + row
            with T.serial(self.across) as column:

                def load(i: int, j: int, block: Any = block, at: Any = row * self.across + column) -> Any:
                    return simd.load(sums, block, i * n + j, at, 0)

                def keep(value: Any, i: int, j: int, column: Any = column) -> None:
                    y, x = self._first(0, tile_row) + i * down, self._first(1, column) + j * across
                    inside = [y < target.height] if (size - i - 1) * down < spare[0] else []
                    inside += [x < target.width] if (size - j - 1) * across < spare[1] else []
                    condition = tirx.all(*inside) if len(inside) > 1 else inside[0] if inside else True
                    when(condition, lambda: output.write(value, image, block, y, x))

                _both_ways(simd, transform, n, size, load, keep)
            if target.halo != NO_HALO:
                when(tile_row == 0, lambda: output.clear_halo(image, block, 0, target.height, True, True))


def tiles_along(size: int, window: Window, target: tuple[int, int]) -> tuple[int, int]:
    """Tiles of `size` outputs down and across a plane: as many for each of the planes that a dilation makes of it."""
    down, across = (
        dilation * -(-count // (dilation * size)) for count, dilation in zip(target, window.dilations, strict=True)
    )
    return down, across


def _alone(count: int, work: int) -> AbstractContextManager[Any]:
    """A loop within a task."""
    loop: AbstractContextManager[Any] = T.serial(count)
    return loop


Vectors = Sequence[Any]


def _both_ways(
    simd: Simd,
    transform: Callable[[Simd, Vectors], list[Any]],
    n: int,
    kept: int,
    load: Callable[[int, int], Any],
    keep: Callable[[Any, int, int], None],
) -> None:
    """Transform the columns of an n x n tile, then the rows of the result; `kept` rows and columns come out."""
    columns = [[T.Bind(value) for value in transform(simd, [T.Bind(load(i, j)) for i in range(n)])] for j in range(n)]
    for i in range(kept):
        for j, value in enumerate(transform(simd, [columns[j][i] for j in range(n)])):
            keep(T.Bind(value), i, j)


def _input_2(simd: Simd, d: Vectors) -> list[Any]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _output_2(simd: Simd, m: Vectors) -> list[Any]:
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _input_4(simd: Simd, d: Vectors) -> list[Any]:
    def plus(scale: float, x: Any, y: Any) -> Any:
        return simd.fma(simd.splat(scale), x, y)

    a, b = T.Bind(plus(-4.0, d[2], d[4])), T.Bind(plus(-4.0, d[1], d[3]))
    c, e = T.Bind(d[4] - d[2]), T.Bind(simd.splat(2.0) * (d[3] - d[1]))
    return [
        plus(4.0, d[0], plus(-5.0, d[2], d[4])),
        a + b,
        a - b,
        c + e,
        c - e,
        plus(4.0, d[1], plus(-5.0, d[3], d[5])),
    ]


def _output_4(simd: Simd, m: Vectors) -> list[Any]:
    def plus(scale: float, x: Any, y: Any) -> Any:
        return simd.fma(simd.splat(scale), x, y)

    a, b = T.Bind(m[1] + m[2]), T.Bind(m[1] - m[2])
    c, d = T.Bind(m[3] + m[4]), T.Bind(m[3] - m[4])
    return [m[0] + a + c, plus(2.0, d, b), plus(4.0, c, a), plus(8.0, d, b) + m[5]]
