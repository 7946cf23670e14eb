"""Instance and group normalization of blocked planes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.layout import Blocked
from enginesmith.converters.backends.tvm.kernels.output import BlockedOutput

SUMS = 4
"""Partial sums, which hide the latency of additions."""


class PlaneNorm:
    """Groups of `size` neighbouring channels minus their mean, divided by sqrt(variance + epsilon). The variance comes
    from a second pass, over the differences from the mean.

    Parameters of `kernel()`: source, operands of the expression, result.
    """

    def __init__(
        self, simd: Simd, size: int, epsilon: float, source: Blocked, target: Blocked, expression: Expression
    ) -> None:
        self.simd, self.size, self.epsilon = simd, size, epsilon
        self.source, self.target, self.expression = source, target, expression
        whole = math.lcm(size, source.block) // source.block
        self.blocks = whole if source.blocks % whole == 0 else source.blocks
        """Blocks of a task: as few as hold whole groups."""

    def kernel(self, name: str) -> Any:
        source, target, simd = self.source, self.target, self.simd
        units = source.blocks // self.blocks
        channels = self.blocks * source.block
        count = source.height * source.width * self.size

        def body() -> None:
            data = argument("source", source.shape)
            output = BlockedOutput(simd, target, self.expression)
            with tasks(source.batch * units, 4 * source.size) as task:
                image, first = task // units, task % units * self.blocks
                means = T.alloc_buffer((channels,), "float32", scope="local")
                factors = T.alloc_buffer((channels,), "float32", scope="local")

                def load(block: Any, y: Any, x: Any) -> Any:
                    return simd.load(data, *source.place(image, first + block, y, x))

                def difference(block: Any, y: Any, x: Any) -> Any:
                    return T.Bind(load(block, y, x) - simd.load(means, block * source.block))

                def square(block: Any, y: Any, x: Any) -> Any:
                    value = difference(block, y, x)
                    return value * value

                self._sum(load, means)
                self._join(means, lambda total: total * T.float32(1.0 / count))
                self._sum(square, factors)
                self._join(
                    factors,
                    lambda total: T.float32(1.0) / T.sqrt(total * T.float32(1.0 / count) + T.float32(self.epsilon)),
                )
                with T.serial(self.blocks) as block:
                    factor = T.Bind(simd.load(factors, block * source.block))
                    with T.serial(target.height) as y, T.serial(target.width) as x:
                        output.write(difference(block, y, x) * factor, image, first + block, y, x)
                    output.clear_halo(image, first + block, 0, target.height, True, True)

        return function(name, body)

    def _sum(self, value: Callable[[Any, Any, Any], Any], totals: Any) -> None:
        """Per channel, row by row: long sums lose digits."""
        simd, source = self.simd, self.source
        count = min(SUMS, source.width)
        with T.serial(self.blocks) as block:
            at = block * source.block
            simd.store(totals, simd.splat(0.0), at)
            with T.serial(source.height) as y:
                sums = simd.zeros(count)

                def add(x: Any, step: int, y: Any = y, sums: Any = sums) -> None:
                    place = step * simd.lanes
                    simd.store(sums, simd.load(sums, place) + value(block, y, x), place)

                with T.serial(source.width // count) as run:
                    for step in range(count):
                        add(run * count + step, step)
                for step in range(source.width % count):
                    add(source.width // count * count + step, step)
                simd.store(totals, simd.load(totals, at) + simd.total(sums, 0, 1, count), at)

    def _join(self, totals: Any, finish: Callable[[Any], Any]) -> None:
        """Make of the totals of a group's channels what all of them get. A last group may end in the padded channels."""
        channels = self.blocks * self.source.block
        with T.serial(channels // self.size) as group:
            total = T.alloc_buffer((1,), "float32", scope="local")
            T.buffer_store(total, T.float32(0.0), [0])
            with T.serial(self.size) as step:
                T.buffer_store(total, total[0] + totals[group * self.size + step], [0])
            result = T.Bind(finish(total[0]))
            with T.serial(self.size) as step:
                T.buffer_store(totals, result, [group * self.size + step])
