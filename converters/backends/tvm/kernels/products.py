"""Products of matrices, in rows as ONNX has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import tiles
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.output import finish
from enginesmith.converters.backends.tvm.kernels.schedule import ProductSchedule, Space, registers_for_sums

FEWEST_COLUMNS = 4
VECTORS = 2
MOST_VECTORS = 6
"""Of columns in a tile, that a search looks at."""
UNROLLED = 8


class RowsOutput:
    """Declares a kernel's last parameters: the expression's operands, then the result float32[..., columns]."""

    def __init__(self, simd: Simd, shape: tuple[int, ...], expression: Expression) -> None:
        self.simd, self.expression = simd, expression
        self.shape = shape
        sizes = {"tensor": shape, "number": (1,)}
        self.operands = [
            argument(f"operand{index}", sizes.get(operand.kind, shape[-1:]), operand.dtype)
            for index, operand in enumerate(expression.operands)
        ]
        self.buffer = argument("result", shape, expression.dtype)

    def write(self, value: Any, row: Any, column: Any) -> None:
        """Store one vector: columns from `column` on, of a row counted over all leading axes."""

        def load(index: int) -> Any:
            operand, buffer = self.expression.operands[index], self.operands[index]
            if operand.kind == "number":
                return self.simd.splat(buffer[0])
            if operand.kind == "channel":
                return self.simd.load(buffer, column)
            value = self.simd.load(buffer, *at_row(self.shape, row), column)
            return operand.integers.to_numbers(self.simd, value) if operand.integers else value

        result = self.expression.apply(self.simd, value, load)
        self.simd.store(self.buffer, result, *at_row(self.shape, row), column)


class Product:
    """float32[..., M, K] x float32[..., K, N], leading axes broadcast; the right one may be constant (`packed`).

    Parameters of `kernel()`: left, right, operands of the expression, result. A constant is read in the order that `pack`
    gives it. Columns that fill no whole tile are computed by one more tile that overlaps the one before it.
    """

    def __init__(
        self,
        simd: Simd,
        left: tuple[int, ...],
        right: tuple[int, ...],
        result: tuple[int, ...],
        packed: bool,
        expression: Expression,
        schedule: ProductSchedule | None = None,
    ) -> None:
        self.left, self.right, self.result, self.packed, self.expression = left, right, result, packed, expression
        self.columns = result[-1]
        # A constant factor is the same for all rows, whatever the axes above them.
        self.batch = 1 if packed else math.prod(result[:-2])
        self.rows = math.prod(result[:-1]) // self.batch
        lanes = max(lanes for lanes in (4, 8, 16) if lanes <= min(simd.lanes, self.columns))
        self.simd = simd.narrowed(lanes)
        self.schedule = schedule or self.default()
        self.vectors = self.schedule.vectors
        self.width = self.vectors * lanes
        self.tiles = -(-self.columns // self.width)

    def default(self) -> ProductSchedule:
        """What measured best over many sizes."""
        vectors = min(VECTORS, self.columns // self.simd.lanes)
        return ProductSchedule(vectors, tiles.pixels_for(self.simd, vectors) * vectors, UNROLLED)

    def space(self) -> Space:
        return {
            "vectors": tuple(range(1, min(MOST_VECTORS, self.columns // self.simd.lanes) + 1)),
            "sums": registers_for_sums(self.simd.registers, self.default().sums, MOST_VECTORS * self.rows),
            "unrolled": (1, 2, 4, 8, 16),
        }

    def pack(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[K, N] to [tile, K, column in the tile]."""
        starts = [min(tile * self.width, self.columns - self.width) for tile in range(self.tiles)]
        return np.ascontiguousarray(np.stack([weights[:, start : start + self.width] for start in starts]))

    def kernel(self, name: str) -> Any:
        inner = self.left[-1]
        batch, rows = self.batch, self.rows
        right = (self.tiles, inner, self.width) if self.packed else self.right

        def body() -> None:
            data = argument("left", self.left)
            weights = argument("right", right)
            output = RowsOutput(self.simd, self.result, self.expression)
            with tasks(batch * self.tiles, batch * rows * inner * self.columns) as task:
                matrix, tile = task // self.tiles, task % self.tiles
                column = T.Bind(T.min(tile * self.width, self.columns - self.width))
                first, second = (
                    (T.Bind(_broadcast(self.result[:-2], shape[:-2], matrix)) if batch > 1 else 0)
                    for shape in (self.left, self.right)
                )

                def load(k: Any, v: int) -> Any:
                    if self.packed:
                        return self.simd.load(weights, tile, k, v * self.simd.lanes)
                    return self.simd.load(weights, *at_row(right, second * inner + k), column + v * self.simd.lanes)

                for start, size, count in tiles.runs(rows, max(1, self.schedule.sums // self.vectors)):
                    with T.serial(count) as run:
                        row = start + run * size
                        self._tile(data, load, output, column, (first * rows + row, matrix * rows + row), size)

        return function(name, body)

    def _tile(
        self,
        data: Any,
        load: Callable[[Any, int], Any],
        output: RowsOutput,
        column: Any,
        at: tuple[Any, Any],
        size: int,
    ) -> None:
        """`at` is the first row on the left, and in the result."""
        simd, vectors, lanes, inner = self.simd, self.vectors, self.simd.lanes, self.left[-1]
        count = size * vectors
        unrolled = self.schedule.unrolled
        parts = tiles.partial_sums(count, unrolled)
        sums = simd.zeros(count * parts)

        def add(k: Any, step: int) -> None:
            ws = [load(k, v) for v in range(vectors)]
            for row in range(size):
                value = simd.splat(data[(*at_row(self.left, at[0] + row), k)])
                for v, weight in enumerate(ws):
                    place = (step % parts * count + row * vectors + v) * lanes
                    simd.store(sums, simd.fma(value, weight, simd.load(sums, place)), place)

        with T.serial(inner // unrolled) as chunk:
            for step in range(unrolled):
                add(chunk * unrolled + step, step)
        for step in range(inner % unrolled):
            add(inner // unrolled * unrolled + step, step)
        finish(simd, self.expression, size, vectors,
               lambda row, v: simd.total(sums, row * vectors + v, count, parts),
               lambda value, row, v: output.write(value, at[1] + row, column + v * lanes))  # fmt: skip


def at_row(shape: tuple[int, ...], row: Any) -> tuple[Any, ...]:
    """Index of a row counted over all leading axes: memory has no gaps, so the last of them may run over its size."""
    return (*(0 for _ in shape[:-2]), row) if len(shape) > 1 else ()


def _broadcast(result: tuple[int, ...], operand: tuple[int, ...], matrix: Any) -> Any:
    """Which of an operand's matrices goes into a matrix of the result, both counted over their leading axes."""
    index: Any = T.int32(0)
    stride, below = 1, 1
    for size, own in zip(reversed(result), reversed((1,) * (len(result) - len(operand)) + operand), strict=True):
        if own > 1:
            index = index + matrix // below % size * stride
        stride, below = stride * own, below * size
    return index
