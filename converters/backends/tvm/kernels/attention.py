"""Attention in one kernel: a block of scores is computed, made powers and multiplied with the values while it is in the
cache, so that no more than that block is ever written.

Scores lie with the rows of a block next to each other. Then softmax needs no sum across a vector, keys and values are read
as they lie, and the queries alone are transposed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import tiles, vector_math
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks, transposed
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.normalization import fitting
from enginesmith.converters.backends.tvm.kernels.products import RowsOutput
from enginesmith.converters.backends.tvm.kernels.strided import flat
from enginesmith.converters.backends.tvm.kernels.views import Memory

ROWS = 16
"""Of a block: measured best with both widths of vectors."""
VECTORS = 2
"""Of values in a tile."""
UNROLLED = 4
LEAST_SIZE = 4
"""Fewest queries, and fewest numbers of a query and of a value: the narrowest vector."""
MOST_KEYS = 4096
"""With more of them a block of scores doesn't stay in the L2 cache."""


class Attention:
    """softmax(f(Q K^T)) V for float32 Q [..., M, D], K [..., N, D], V [..., N, E] with the same leading axes.

    `scores` is f, with operands that are views of [..., M, N]. Parameters of `kernel()`: Q, K, V, operands of f, result
    float32[..., M, E].
    """

    def __init__(
        self,
        simd: Simd,
        query: Memory,
        key: Memory,
        value: Memory,
        operands: Sequence[Memory],
        scores: Expression,
    ) -> None:
        self.query, self.key, self.value, self.operands = query, key, value, tuple(operands)
        self.scores = scores
        *lead, self.rows, self.depth = query.view.shape
        self.keys, self.columns = value.view.shape[-2:]
        self.lead = tuple(lead)
        self.simd, self.across = fitting(simd, self.rows), fitting(simd, self.columns)
        self.vectors = min(ROWS, self.rows) // self.simd.lanes
        self.width = self.vectors * self.simd.lanes
        """Rows of a block. The last one overlaps the one before it."""
        self.tiled = min(VECTORS, self.columns // self.across.lanes)
        """Vectors of values in a tile."""

    @property
    def readable(self) -> bool:
        query, value = self.query.view, self.value.view
        vectors = (query.steady(-1) or query.steady(-2)) and value.steady(-1)
        return vectors and all(len(operand.view.axes[-2]) <= 1 for operand in self.operands)

    def kernel(self, name: str) -> Any:
        matrices, blocks = math.prod(self.lead), -(-self.rows // self.width)

        def body() -> None:
            query, key, value = (
                argument(name, memory.shape)
                for name, memory in (("query", self.query), ("key", self.key), ("value", self.value))
            )
            operands = [argument(f"mask{index}", memory.shape) for index, memory in enumerate(self.operands)]
            output = RowsOutput(self.across, (*self.lead, self.rows, self.columns), Expression())
            work = matrices * self.rows * self.keys * (self.depth + self.columns + 10)
            with tasks(matrices * blocks, work) as task:
                matrix, first = task // blocks, T.Bind(T.min(task % blocks * self.width, self.rows - self.width))
                queries = T.alloc_buffer((self.depth * self.width,), "float32")
                powers = T.alloc_buffer((self.keys * self.width,), "float32")
                factors = T.alloc_buffer((self.width,), "float32")
                at = partial(self._at, matrix)
                self._transpose(query, at(self.query), first, queries)
                most = self._scores(key, at(self.key), operands, list(map(at, self.operands)), first, queries, powers)
                self._powers(powers, most, factors)
                self._values(value, at(self.value), powers, factors, output, matrix * self.rows + first)

        return function(name, body)

    def _at(self, matrix: Any, memory: Memory) -> Callable[[Any, Any], Any]:
        """Where the number of a row and a column of a matrix lies."""
        start: Any = memory.view.offset
        below = math.prod(self.lead)
        for axis, size in enumerate(self.lead):
            below //= size
            if size > 1 and any(stride for _, stride in memory.view.axes[axis]):
                start = start + memory.view.step(axis, T.Bind(matrix // below % size))
        start = T.Bind(start) if not isinstance(start, int) else start
        return lambda row, column: start + memory.view.step(-2, row) + memory.view.step(-1, column)

    def _transpose(self, query: Any, at: Callable[[Any, Any], Any], first: Any, queries: Any) -> None:
        """The block's queries as [depth, width]."""
        simd = self.simd
        if not self.query.view.steady(-1):
            with T.serial(self.depth) as d:
                for v in range(self.vectors):
                    row = simd.load(query, *flat(query, at(first + v * simd.lanes, d)))
                    simd.store(queries, row, d * self.width + v * simd.lanes)
            return
        size = max(size for size in (4, 8, 16) if size <= min(simd.lanes, self.depth))
        square = simd.narrowed(size)
        with T.serial(self.width // size) as across, T.serial(-(-self.depth // size)) as down:
            d = T.Bind(T.min(down * size, self.depth - size))
            rows = [square.load(query, *flat(query, at(first + across * size + row, d))) for row in range(size)]
            for column, values in enumerate(transposed(rows)):
                square.store(queries, values, (d + column) * self.width + across * size)

    def _scores(
        self,
        key: Any,
        at: Callable[[Any, Any], Any],
        operands: Sequence[Any],
        places: Sequence[Callable[[Any, Any], Any]],
        first: Any,
        queries: Any,
        powers: Any,
    ) -> Any:
        """The block's scores as [keys, width]; returns a buffer with the largest of each row."""
        simd, vectors, lanes = self.simd, self.vectors, self.simd.lanes
        most = T.alloc_buffer((self.width,), "float32", scope="local")
        for v in range(vectors):
            simd.store(most, simd.splat(-math.inf), v * lanes)
        for start, size, count in tiles.runs(self.keys, tiles.pixels_for(simd, vectors)):
            with T.serial(count) as run:
                n = start + run * size

                def factor(d: Any, step: int, n: Any = n) -> Any:
                    return key[flat(key, at(n + step, d))]

                def load(d: Any, v: int) -> Any:
                    return simd.load(queries, d * self.width + v * lanes)

                total = _sums(simd, size, vectors, self.depth, factor, load)
                for step in range(size):
                    for v in range(vectors):

                        def operand(index: int, step: int = step, v: int = v, n: Any = n) -> Any:
                            view, buffer = self.operands[index].view, operands[index]
                            place = places[index](first + v * lanes, n + step)
                            stride = next((stride for _, stride in view.axes[-2]), 0)
                            if not stride:
                                return simd.splat(buffer[flat(buffer, place)])
                            if view.steady(-2):
                                return simd.load(buffer, *flat(buffer, place))
                            return buffer[flat(buffer, T.Ramp(place, stride, lanes))]

                        score = T.Bind(self.scores.apply(simd, total(step, v), operand))
                        simd.store(powers, score, (n + step) * self.width + v * lanes)
                        simd.store(most, T.max(simd.load(most, v * lanes), score), v * lanes)
        return most

    def _powers(self, powers: Any, most: Any, factors: Any) -> None:
        """e to the scores less the largest, and what to multiply a row by in the end."""
        simd, lanes = self.simd, self.simd.lanes
        total = simd.zeros(self.vectors)
        with T.serial(self.keys) as n:
            for v in range(self.vectors):
                place = n * self.width + v * lanes
                power = T.Bind(vector_math.exp_of_negative(simd, simd.load(powers, place) - simd.load(most, v * lanes)))
                simd.store(powers, power, place)
                simd.store(total, simd.load(total, v * lanes) + power, v * lanes)
        for v in range(self.vectors):
            simd.store(factors, simd.splat(1.0) / simd.load(total, v * lanes), v * lanes)

    def _values(
        self, value: Any, at: Callable[[Any, Any], Any], powers: Any, factors: Any, output: RowsOutput, row: Any
    ) -> None:
        """The sums of values by their powers; `row` is the first in the result, counted over all matrices."""
        simd, lanes = self.across, self.across.lanes
        vectors, width = self.tiled, self.tiled * lanes
        with T.serial(-(-self.columns // width)) as tile:
            column = T.Bind(T.min(tile * width, self.columns - width))
            for start, size, count in tiles.runs(self.width, tiles.pixels_for(simd, vectors)):
                with T.serial(count) as run:
                    r = start + run * size

                    def factor(n: Any, step: int, r: Any = r) -> Any:
                        return powers[n * self.width + r + step]

                    def load(n: Any, v: int) -> Any:
                        return simd.load(value, *flat(value, at(n, column + v * lanes)))

                    total = _sums(simd, size, vectors, self.keys, factor, load)
                    for step in range(size):
                        scale = simd.splat(factors[r + step])
                        for v in range(vectors):
                            output.write(total(step, v) * scale, row + r + step, column + v * lanes)


def _sums(
    simd: Simd,
    size: int,
    vectors: int,
    inner: int,
    factor: Callable[[Any, int], Any],
    load: Callable[[Any, int], Any],
) -> Callable[[int, int], Any]:
    """A tile of a product of matrices, `size` numbers by `vectors` vectors, as a function of both."""
    sums = simd.zeros(size * vectors)

    def add(k: Any) -> None:
        loaded = [load(k, v) for v in range(vectors)]
        for step in range(size):
            broadcast = simd.splat(factor(k, step))
            for v, vector in enumerate(loaded):
                place = (step * vectors + v) * simd.lanes
                simd.store(sums, simd.fma(broadcast, vector, simd.load(sums, place)), place)

    with T.serial(inner // UNROLLED) as chunk:
        for step in range(UNROLLED):
            add(chunk * UNROLLED + step)
    for step in range(inner % UNROLLED):
        add(inner // UNROLLED * UNROLLED + step)
    return lambda step, v: simd.load(sums, (step * vectors + v) * simd.lanes)
