"""Kernels that only move and map numbers of blocked planes: elementwise steps, concatenation, repeated pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.layout import Blocked
from enginesmith.converters.backends.tvm.kernels.output import BlockedOutput


class Concat:
    """Channels of several tensors one after the other; of a single one, an elementwise kernel.

    Parameters of `kernel()`: the sources, operands of the expression, result. All sources but the last fill whole blocks.
    """

    def __init__(self, simd: Simd, sources: Sequence[Blocked], target: Blocked, expression: Expression) -> None:
        self.simd, self.sources, self.target, self.expression = simd, tuple(sources), target, expression

    @staticmethod
    def fits(channels: Sequence[int], block: int) -> bool:
        return all(count % block == 0 for count in channels[:-1])

    def kernel(self, name: str) -> Any:
        target = self.target

        def body() -> None:
            buffers = [
                argument(f"source{index}", source.shape, source.dtype) for index, source in enumerate(self.sources)
            ]
            output = BlockedOutput(self.simd, target, self.expression)
            offset = 0
            for source, buffer in zip(self.sources, buffers, strict=True):
                with tasks(source.batch * source.blocks, source.size) as task:
                    image, block = task // source.blocks, task % source.blocks
                    with T.serial(target.height) as y, T.serial(target.width) as x:
                        value = source.read(self.simd, buffer, image, block, y, x)
                        output.write(value, image, block + offset, y, x)
                    output.clear_halo(image, block + offset, 0, target.height, True, True)
                offset += source.blocks

        return function(name, body)


class Upsample:
    """Every pixel repeated down and across: the nearest neighbour, for whole multiples of the size.

    Parameters of `kernel()`: source, operands of the expression, result.
    """

    def __init__(self, simd: Simd, source: Blocked, target: Blocked, expression: Expression) -> None:
        self.simd, self.source, self.target, self.expression = simd, source, target, expression

    def kernel(self, name: str) -> Any:
        source, target = self.source, self.target
        down, across = target.height // source.height, target.width // source.width

        def body() -> None:
            data = argument("source", source.shape, source.dtype)
            output = BlockedOutput(self.simd, target, self.expression)
            with tasks(target.batch * target.blocks, target.size) as task:
                image, block = task // target.blocks, task % target.blocks
                with T.serial(target.height) as y, T.serial(source.width) as x:
                    value = T.Bind(source.read(self.simd, data, image, block, y // down, x))
                    for step in range(across):
                        output.write(value, image, block, y, x * across + step)
                output.clear_halo(image, block, 0, target.height, True, True)

        return function(name, body)
