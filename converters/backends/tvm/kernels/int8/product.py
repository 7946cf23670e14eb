"""Products of integers in rows, and how rows of numbers become integers where no kernel has done it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import tiles
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.int8.dots import MOST_PRODUCTS, Dot, with_offset
from enginesmith.converters.backends.tvm.kernels.int8.sums import Sums
from enginesmith.converters.backends.tvm.kernels.integers import Integers
from enginesmith.converters.backends.tvm.kernels.normalization import vectors
from enginesmith.converters.backends.tvm.kernels.output import finish
from enginesmith.converters.backends.tvm.kernels.products import FEWEST_COLUMNS, RowsOutput, at_row

VECTORS = 2
UNROLLED = 4


class IntegerProduct:
    """integers[..., K] x int8[K, N], which is constant. Columns that fill no whole tile are computed by one more tile that
    overlaps the one before it.

    Parameters of `kernel()`: left, weights as `pack` makes them, operands of the expression, result. The result before
    the expression is the sum of the products of integers, as float32.
    """

    def __init__(
        self,
        simd: Simd,
        dot: Dot,
        left: tuple[int, ...],
        integers: Integers,
        columns: int,
        expression: Expression,
    ) -> None:
        self.dot, self.left, self.integers, self.columns, self.expression = dot, left, integers, columns, expression
        lanes = max(lanes for lanes in (4, 8, 16) if lanes <= min(simd.lanes, columns))
        self.simd = simd.narrowed(lanes)
        self.vectors = min(VECTORS, columns // lanes)
        self.width = self.vectors * lanes
        self.tiles = -(-columns // self.width)
        self.sums = Sums(self.simd, dot, self.width, integers.zero)

    @staticmethod
    def refusal(dot: Dot, inner: int, columns: int) -> str:
        """Why there is no kernel, empty where there is one."""
        if columns < FEWEST_COLUMNS or inner % dot.group:
            return f"{inner} rows of weights, or {columns} columns"
        return "sums beyond int32" if inner > MOST_PRODUCTS else ""

    def pack(self, weights: NDArray[np.int8]) -> NDArray[np.int8]:
        """int8[K, N] to [tile, step, column in the tile, row of the step], behind what the sums start from."""
        starts = [min(tile * self.width, self.columns - self.width) for tile in range(self.tiles)]
        cut = np.stack([weights[:, start : start + self.width] for start in starts])
        steps = cut.reshape(self.tiles, -1, self.dot.group, self.width)
        return with_offset(steps.transpose(0, 1, 3, 2), cut.sum(axis=1, dtype=np.int64), self.integers.zero)

    def kernel(self, name: str) -> Any:
        inner, rows = self.left[-1], math.prod(self.left[:-1])
        steps = inner // self.dot.group
        result = (*self.left[:-1], self.columns)

        def body() -> None:
            data = argument("left", self.left, self.integers.dtype)
            weights = argument("weights", (self.tiles, self.sums.length(steps)), "int8")
            output = RowsOutput(self.simd, result, self.expression)
            with tasks(self.tiles, rows * steps * self.columns) as tile:
                column = T.Bind(T.min(tile * self.width, self.columns - self.width))
                for start, size, count in tiles.runs(rows, tiles.pixels_for(self.simd, self.vectors)):
                    with T.serial(count) as run:
                        self._tile(data, weights, output, tile, column, start + run * size, size)

        return function(name, body, computes_in="int8")

    def _tile(self, data: Any, weights: Any, output: RowsOutput, tile: Any, column: Any, first: Any, size: int) -> None:
        group, steps = self.dot.group, self.left[-1] // self.dot.group
        sums = self.sums.begin(weights, tile, size, UNROLLED)

        def add(start: Any, count: int) -> None:
            def read(row: int, step: int) -> Any:
                return self.sums.neighbours(data, (*at_row(self.left, first + row), (start + step) * group))

            sums.add(read, start, count)

        with T.serial(steps // UNROLLED) as chunk:
            add(chunk * UNROLLED, UNROLLED)
        if steps % UNROLLED:
            add(steps // UNROLLED * UNROLLED, steps % UNROLLED)
        finish(self.simd, self.expression, size, self.vectors, sums.total,
               lambda value, row, v: output.write(value, first + row, column + v * self.simd.lanes))  # fmt: skip


class Quantize:
    """Integers of float32 in rows. Parameters of `kernel()`: source, operands of the expression, result."""

    def __init__(self, simd: Simd, shape: tuple[int, ...], expression: Expression) -> None:
        while simd.lanes > shape[-1]:
            simd = simd.narrowed(simd.lanes // 2)
        self.simd, self.shape, self.expression = simd, shape, expression

    def kernel(self, name: str) -> Any:
        simd, columns = self.simd, self.shape[-1]
        rows = math.prod(self.shape[:-1])

        def body() -> None:
            data = argument("source", self.shape)
            output = RowsOutput(simd, self.shape, self.expression)
            with tasks(rows, rows * columns) as row:
                vectors(simd, columns, lambda column: output.write(simd.load(data, *at_row(self.shape, row), column),
                                                                   row, column))  # fmt: skip

        return function(name, body)
