"""The last part of every kernel: its result goes through the expression and to its place, with zeros around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, when
from enginesmith.converters.backends.tvm.kernels.expression import Expression, Operand
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO, Blocked


def finish(
    simd: Simd,
    expression: Expression,
    size: int,
    vectors: int,
    value: Callable[[int, int], Any],
    write: Callable[[Any, Any, int], None],
) -> None:
    """Write a tile of `size` x `vectors` vectors. A long expression gets its values through memory, in a loop over the first
    axis: written out for each vector it needs more registers than there are beside the sums.
    """
    if not expression.heavy or size == 1:
        for index in range(size):
            for v in range(vectors):
                write(value(index, v), index, v)
        return
    values = T.alloc_buffer((size * vectors * simd.lanes,), "float32", scope="local")
    for index in range(size):
        for v in range(vectors):
            simd.store(values, value(index, v), (index * vectors + v) * simd.lanes)
    with T.serial(size) as index:
        for v in range(vectors):
            write(simd.load(values, (index * vectors + v) * simd.lanes), index, v)


class BlockedOutput:
    """Declares a kernel's last parameters: the expression's operands, then the result."""

    def __init__(self, simd: Simd, layout: Blocked, expression: Expression) -> None:
        self.simd = simd
        self.layout = layout
        self.expression = expression
        self.operands = [self._operand(f"operand{index}", kind) for index, kind in enumerate(expression.operands)]
        self.buffer = argument("result", layout.shape, layout.dtype)

    def _operand(self, name: str, operand: Operand) -> Any:
        if operand.layout is not None:
            return argument(name, operand.layout.shape, operand.layout.dtype)
        return argument(name, (1 if operand.kind == "number" else self.layout.blocks * self.layout.block,))

    def write(self, value: Any, image: Any, block: Any, y: Any, x: Any, lane: Any = 0) -> None:
        """Store one vector: channels from `lane` of a block on, at one pixel."""
        simd = self.simd

        def load(index: int) -> Any:
            kind, buffer = self.expression.operands[index], self.operands[index]
            if kind.kind == "number":
                return simd.splat(buffer[0])
            if kind.layout is None:
                return simd.load(buffer, block * self.layout.block + lane)
            row, column = (0, 0) if kind.kind == "pooled" else (y, x)
            return kind.layout.read(simd, buffer, image, block, row, column, lane)

        result = self.expression.apply(simd, value, load)
        simd.store(self.buffer, result, *self.layout.place(image, block, y, x, lane))

    def clear_halo(self, image: Any, block: Any, first: Any, rows: int, top: Any, bottom: Any) -> None:
        """Zeros beside `rows` rows from `first` on; above the plane if `top` holds, below it if `bottom` does."""
        halo, height, width = self.layout.halo, self.layout.height, self.layout.width
        across = halo.left + width + halo.right
        if halo.left or halo.right:
            with T.serial(rows) as row:
                for x in (*range(-halo.left, 0), *range(width, width + halo.right)):
                    self._zero(image, block, first + row, x)

        def strip(start: int, count: int) -> None:
            with T.serial(count) as row, T.serial(across) as x:
                self._zero(image, block, start + row, x - halo.left)

        if halo.top:
            when(top, lambda: strip(-halo.top, halo.top))
        if halo.bottom:
            when(bottom, lambda: strip(height, halo.bottom))

    def clear_tile(self, image: Any, first: Any, vectors: int, part: Any, parts: int, rows: int) -> None:
        """The halo beside `rows` rows, the `part`th of `parts`, of the blocks that a tile of `vectors` vectors from channel
        `first` on writes: by the task that writes a block's first lane.
        """
        if self.layout.halo == NO_HALO:
            return
        block, lanes = self.layout.block, self.simd.lanes
        for v in range(vectors):
            channel = first + v * lanes

            def clear(channel: Any = channel) -> None:
                self.clear_halo(image, channel // block, part * rows, rows, part == 0, part == parts - 1)

            when(True if lanes == block else channel % block == 0, clear)

    def _zero(self, image: Any, block: Any, y: Any, x: Any) -> None:
        integers = self.layout.integers
        zero = integers.padding(self.simd) if integers else self.simd.splat(0.0)
        for lane in range(0, self.layout.block, self.simd.lanes):
            self.simd.store(self.buffer, zero, *self.layout.place(image, block, y, x, lane))
