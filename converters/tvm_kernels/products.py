"""Products of a matrix of activations with a constant one, in rows as ONNX has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.tvm_kernels import tiles
from enginesmith.converters.tvm_kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.tvm_kernels.expression import Expression

FEWEST_COLUMNS = 4
VECTORS = 2


class RowsOutput:
    """Declares a kernel's last parameters: the expression's operands, then the result float32[..., columns]."""

    def __init__(self, simd: Simd, shape: tuple[int, ...], expression: Expression) -> None:
        self.simd, self.expression = simd, expression
        self.shape = shape
        self.operands = [
            argument(f"operand{index}", shape if operand.kind == "tensor" else shape[-1:])
            for index, operand in enumerate(expression.operands)
        ]
        self.buffer = argument("result", shape)

    def write(self, value: Any, row: Any, column: Any) -> None:
        """Store one vector: columns from `column` on, of a row counted over all leading axes."""

        def load(index: int) -> Any:
            if self.expression.operands[index].kind == "tensor":
                return self.simd.load(self.operands[index], *at_row(self.shape, row), column)
            return self.simd.load(self.operands[index], column)

        result = self.expression.apply(self.simd, value, load)
        self.simd.store(self.buffer, result, *at_row(self.shape, row), column)


class MatrixProduct:
    """float32[..., M, K] x constant float32[K, N]. Parameters of `kernel()`: source, weights as `pack` makes them,
    operands of the expression, result.

    Columns that fill no whole tile are computed by one more tile that overlaps the one before it.
    """

    def __init__(self, simd: Simd, source: tuple[int, ...], columns: int, expression: Expression) -> None:
        self.source, self.columns, self.expression = source, columns, expression
        lanes = max(lanes for lanes in (4, 8, 16) if lanes <= min(simd.lanes, columns))
        self.simd = simd.narrowed(lanes)
        self.vectors = min(VECTORS, columns // lanes)
        self.width = self.vectors * lanes
        self.tiles = -(-columns // self.width)
        self.chunk = tiles.common(source[-1], most=8)

    def pack(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[K, N] to [tile, K, column in the tile]."""
        starts = [min(tile * self.width, self.columns - self.width) for tile in range(self.tiles)]
        return np.ascontiguousarray(np.stack([weights[:, start : start + self.width] for start in starts]))

    def kernel(self, name: str) -> Any:
        inner, rows = self.source[-1], math.prod(self.source[:-1])
        most = tiles.pixels_for(self.simd, self.vectors)

        def body() -> None:
            data = argument("source", self.source)
            weights = argument("weights", (self.tiles, inner, self.width))
            output = RowsOutput(self.simd, (*self.source[:-1], self.columns), self.expression)
            with tasks(self.tiles, rows * inner * self.columns) as tile:
                column = T.Bind(T.min(tile * self.width, self.columns - self.width))
                for start, size, count in tiles.runs(rows, most):
                    with T.serial(count) as run:
                        self._tile(data, weights, output, tile, column, start + run * size, size)

        return function(name, body)

    def _tile(self, data: Any, weights: Any, output: RowsOutput, tile: Any, column: Any, first: Any, size: int) -> None:
        simd, vectors, lanes = self.simd, self.vectors, self.simd.lanes
        count = size * vectors
        parts = tiles.partial_sums(count, self.chunk)
        sums = simd.zeros(count * parts)
        with T.serial(self.source[-1] // self.chunk) as chunk:
            for step in range(self.chunk):
                k = chunk * self.chunk + step
                ws = [simd.load(weights, tile, k, v * lanes) for v in range(vectors)]
                for row in range(size):
                    value = simd.splat(data[(*at_row(self.source, first + row), k)])
                    for v, weight in enumerate(ws):
                        at = (step % parts * count + row * vectors + v) * lanes
                        simd.store(sums, simd.fma(value, weight, simd.load(sums, at)), at)
        for row in range(size):
            for v in range(vectors):
                output.write(simd.total(sums, row * vectors + v, count, parts), first + row, column + v * lanes)


def at_row(shape: tuple[int, ...], row: Any) -> tuple[Any, ...]:
    """Index of a row counted over all leading axes: memory has no gaps, so the last of them may run over its size."""
    return (*(0 for _ in shape[:-2]), row) if len(shape) > 1 else ()
