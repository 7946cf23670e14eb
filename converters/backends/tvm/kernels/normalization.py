"""Softmax and layer normalization along rows, as ONNX has them.

Numbers that fill no whole vector are read by one more vector that overlaps the one before it; sums leave out its first
lanes, which have been counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import vector_math
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.products import RowsOutput, at_row

SUMS = 4
"""Partial sums, which hide the latency of additions."""


LEAST_COLUMNS = 4


def fitting(simd: Simd, columns: int) -> Simd:
    """Vectors that a row of at least `LEAST_COLUMNS` fills."""
    return simd.narrowed(max(lanes for lanes in (4, 8, 16) if lanes <= max(4, min(simd.lanes, columns))))


class Softmax:
    """Along the last axis of float32[..., columns], or its logarithm. Parameters of `kernel()`: source, operands, result."""

    def __init__(self, simd: Simd, shape: tuple[int, ...], logarithm: bool, expression: Expression) -> None:
        self.simd, self.shape = fitting(simd, shape[-1]), shape
        self.logarithm, self.expression = logarithm, expression

    def kernel(self, name: str) -> Any:
        simd, columns = self.simd, self.shape[-1]
        rows = math.prod(self.shape[:-1])

        def body() -> None:
            data = argument("source", self.shape)
            output = RowsOutput(simd, self.shape, self.expression)
            with tasks(rows, 20 * rows * columns) as row:
                powers = T.alloc_buffer((columns,), "float32")

                def load(column: Any) -> Any:
                    return simd.load(data, *at_row(self.shape, row), column)

                most = reduce(simd, columns, load, lambda a, b: T.max(a, b), -math.inf)

                def power(column: Any) -> Any:
                    value = T.Bind(vector_math.exp_of_negative(simd, load(column) - simd.splat(most)))
                    simd.store(powers, value, column)
                    return value

                total = reduce(simd, columns, power, lambda a, b: a + b, 0.0)
                scale = T.Bind(T.float32(1.0) / total)
                shift = T.Bind(T.log(total)) if self.logarithm else None

                def write(column: Any) -> None:
                    if self.logarithm:
                        output.write(load(column) - simd.splat(most) - simd.splat(shift), row, column)
                    else:
                        output.write(simd.load(powers, column) * simd.splat(scale), row, column)

                vectors(simd, columns, write)

        return function(name, body)


class LayerNorm:
    """Along the last axis of float32[..., columns], the variance in a second pass over the differences from the mean.

    Parameters of `kernel()`: source, scale and shift float32[columns], operands, result.
    """

    def __init__(self, simd: Simd, shape: tuple[int, ...], epsilon: float, expression: Expression) -> None:
        self.simd, self.shape = fitting(simd, shape[-1]), shape
        self.epsilon, self.expression = epsilon, expression

    def kernel(self, name: str) -> Any:
        simd, columns = self.simd, self.shape[-1]
        rows = math.prod(self.shape[:-1])

        def body() -> None:
            data = argument("source", self.shape)
            scale, shift = argument("scale", self.shape[-1:]), argument("shift", self.shape[-1:])
            output = RowsOutput(simd, self.shape, self.expression)
            with tasks(rows, 5 * rows * columns) as row:

                def load(column: Any) -> Any:
                    return simd.load(data, *at_row(self.shape, row), column)

                def plus(a: Any, b: Any) -> Any:
                    return a + b

                mean = T.Bind(reduce(simd, columns, load, plus, 0.0) * T.float32(1.0 / columns))

                def square(column: Any) -> Any:
                    difference = T.Bind(load(column) - simd.splat(mean))
                    return difference * difference

                variance = T.Bind(reduce(simd, columns, square, plus, 0.0) * T.float32(1.0 / columns))
                factor = T.Bind(T.float32(1.0) / T.sqrt(variance + T.float32(self.epsilon)))

                def write(column: Any) -> None:
                    normal = (load(column) - simd.splat(mean)) * simd.splat(factor)
                    output.write(simd.fma(normal, simd.load(scale, column), simd.load(shift, column)), row, column)

                vectors(simd, columns, write)

        return function(name, body)


def vectors(simd: Simd, columns: int, body: Callable[[Any], None]) -> None:
    """Run `body` for the first column of every vector, the overlapping one at the end included."""
    with T.serial(columns // simd.lanes) as index:
        body(index * simd.lanes)
    if columns % simd.lanes:
        body(columns - simd.lanes)


def reduce(
    simd: Simd, columns: int, value: Callable[[Any], Any], join: Callable[[Any, Any], Any], neutral: float
) -> Any:
    """One number from the values of all columns. `neutral` changes nothing when it is joined."""
    lanes, whole = simd.lanes, columns // simd.lanes
    count = min(SUMS, whole)
    sums = T.alloc_buffer((count * lanes,), "float32", scope="local")
    for index in range(count):
        simd.store(sums, simd.splat(T.float32(neutral)), index * lanes)

    def add(column: Any, at: int) -> None:
        simd.store(sums, join(simd.load(sums, at * lanes), value(column)), at * lanes)

    with T.serial(whole // count) as run:
        for step in range(count):
            add((run * count + step) * lanes, step)
    for step in range(whole % count):
        add((whole // count * count + step) * lanes, step)
    if rest := columns % lanes:
        counted = T.Ramp(T.int32(0), T.int32(1), lanes) < T.Broadcast(T.int32(lanes - rest), lanes)
        fresh = T.Select(counted, simd.splat(T.float32(neutral)), value(columns - lanes))
        simd.store(sums, join(simd.load(sums, 0), fresh), 0)
    for step in range(1, count):
        simd.store(sums, join(simd.load(sums, 0), simd.load(sums, step * lanes)), 0)
    while lanes > 1:  # by halves: one after the other, each lane would wait for the one before
        lanes //= 2
        half = simd.narrowed(lanes)
        half.store(sums, join(half.load(sums, 0), half.load(sums, lanes)), 0)
    return T.Bind(sums[0])
