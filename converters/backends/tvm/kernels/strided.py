"""One kernel for all that goes through tensors in some order: elementwise operators with broadcast operands, copies of
transposes and slices, concatenation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks, transposed
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.normalization import vectors
from enginesmith.converters.backends.tvm.kernels.views import Memory, View, nest

TASK = 4096
"""Numbers of a task, at least, where loops can be cut so."""
LEAST_SQUARE = 4
"""Rows and columns that are transposed as vectors."""
TILE = 16
"""Rows and columns of a tile that is transposed: one line of the cache."""


class Strided:
    """Sources one after the other along an axis, then the expression's steps, into float32 in rows.

    Parameters of `kernel()`: sources, operands of the expression, result.
    """

    def __init__(
        self,
        simd: Simd,
        sources: Sequence[Memory],
        operands: Sequence[Memory],
        shape: tuple[int, ...],
        axis: int,
        expression: Expression,
    ) -> None:
        self.simd, self.expression = simd, expression
        self.sources, self.operands = tuple(sources), tuple(operands)
        self.shape, self.axis = shape, axis

    @property
    def parts(self) -> list[list[View]] | None:
        """For each source its own view, those of the operands and that of the result; None where they can't be cut alike."""
        parts, start = [], 0
        for source in self.sources:
            views = [source.view]
            for view in (*(operand.view for operand in self.operands), View.whole(self.shape)):
                count = source.view.shape[self.axis] if self.shape else 1
                part = view if len(self.sources) == 1 else view.sliced(self.axis, start, count)
                if part is None:
                    return None
                views.append(part)
            if nest(views) is None:
                return None
            parts.append(views)
            start += source.view.shape[self.axis] if self.shape else 1
        return parts

    @property
    def readable(self) -> bool:
        return self.parts is not None

    def kernel(self, name: str) -> Any:
        parts = self.parts
        assert parts is not None

        def body() -> None:
            sources = [argument(f"source{index}", source.shape) for index, source in enumerate(self.sources)]
            operands = [argument(f"operand{index}", operand.shape) for index, operand in enumerate(self.operands)]
            result = argument("result", self.shape)
            for source, views in zip(sources, parts, strict=True):
                self._part([source, *operands, result], views)

        return function(name, body)

    def _part(self, buffers: list[Any], views: list[View]) -> None:
        loops = nest(views) or []
        total = math.prod(count for count, _ in loops)
        inner = self._inner(loops)
        outer = [loop for index, loop in enumerate(loops) if index not in inner]
        inside = [loops[index] for index in inner]
        size = math.prod(count for count, _ in inside)
        while outer and size < TASK and (len(outer) > 1 or size * outer[-1][0] <= TASK):
            size *= outer[-1][0]
            inside.insert(0, outer.pop())
        own = len(inside) - len(inner)
        chunk = 0
        if not outer and not own and len(inner) == 1 and total >= 2 * TASK:
            chunk, inside = TASK, [(TASK, inside[0][1])]
        count = -(-total // chunk) if chunk else math.prod(count for count, _ in outer)
        work = total * (20 if self.expression.heavy else 1)
        with tasks(count, work) as task:
            offsets: list[Any] = [view.offset for view in views]
            if chunk:
                start = T.Bind(T.min(task * chunk, total - chunk))
                offsets = [offset + start * stride for offset, stride in zip(offsets, inside[0][1], strict=True)]
            else:
                below = count
                for extent, strides in outer:
                    below //= extent
                    index = T.Bind(task // below % extent) if len(outer) > 1 else task
                    offsets = [offset + index * stride for offset, stride in zip(offsets, strides, strict=True)]
            self._loops(buffers, offsets, inside, own)

    def _inner(self, loops: Sequence[tuple[int, tuple[int, ...]]]) -> list[int]:
        """The loops of a task that belong together: the last, and the one that runs along the source if the last doesn't."""
        if not loops:
            return []
        last = len(loops) - 1
        if _vectors(loops[last]):
            return [last]
        along = [index for index in range(last) if loops[index][1][0] == 1 and loops[index][0] > 1]
        return [*along[:1], last]

    def _loops(self, buffers: list[Any], offsets: list[Any], inside: list[Any], own: int) -> None:
        """`own` loops in turn, then the innermost one or two."""
        if own:
            count, strides = inside[0]
            with T.serial(count) as step:
                moved = [offset + step * stride for offset, stride in zip(offsets, strides, strict=True)]
                self._loops(buffers, moved, inside[1:], own - 1)
        elif not inside:
            self._store(Simd(1, self.simd.registers, self.simd.fused), buffers, offsets, [0] * len(offsets))
        elif len(inside) == 1 and _vectors(inside[0]):
            count, strides = inside[0]
            lanes = max(lanes for lanes in (1, 2, 4, 8, 16) if lanes <= min(count, self.simd.lanes))
            simd = self.simd.narrowed(lanes)

            def step(at: Any) -> None:
                moved = [offset + at if stride else offset for offset, stride in zip(offsets, strides, strict=True)]
                self._store(simd, buffers, moved, strides)

            vectors(simd, count, step)
        elif not self._squares(buffers, offsets, inside):
            self._tiles(buffers, offsets, inside)

    def _squares(self, buffers: list[Any], offsets: list[Any], inside: list[Any]) -> bool:
        """A transposition by squares of whole vectors; False where the loops are none."""
        if len(inside) != 2 or self.expression.heavy:
            return False
        (rows, down), (columns, across) = inside
        known = down[0] == 1 and across[-1] == 1 and all(stride in (0, 1) for stride in across[1:-1])
        if not known or min(rows, columns) < LEAST_SQUARE:
            return False
        size = max(lanes for lanes in (4, 8, 16) if lanes <= min(self.simd.lanes, rows, columns))
        simd = self.simd.narrowed(size)
        with T.serial(-(-rows // size)) as i, T.serial(-(-columns // size)) as j:
            row, column = T.Bind(T.min(i * size, rows - size)), T.Bind(T.min(j * size, columns - size))
            starts = [
                offset + row * first + column * last for offset, first, last in zip(offsets, down, across, strict=True)
            ]
            loaded = [simd.load(buffers[0], *flat(buffers[0], starts[0] + step * across[0])) for step in range(size)]
            for step, vector in enumerate(transposed(loaded)):
                places = [flat(buffer, start + step * first)
                          for buffer, start, first in zip(buffers, starts, down, strict=True)]  # fmt: skip

                def load(index: int, places: list[Any] = places) -> Any:
                    buffer, place = buffers[index + 1], places[index + 1]
                    return simd.load(buffer, *place) if across[index + 1] else simd.splat(buffer[place])

                simd.store(buffers[-1], self.expression.apply(simd, vector, load), *places[-1])
        return True

    def _tiles(self, buffers: list[Any], offsets: list[Any], inside: list[Any]) -> None:
        """One number after the other, in tiles that read and write whole lines of the cache."""
        scalar = Simd(1, self.simd.registers, self.simd.fused)

        def tile(loops: list[Any], offsets: list[Any], then: Callable[[list[Any]], None]) -> None:
            if not loops:
                then(offsets)
                return
            (count, strides), size = loops[0], min(TILE, loops[0][0])
            with T.serial(-(-count // size)) as at:
                start = T.Bind(T.min(at * size, count - size))
                moved = [offset + start * stride for offset, stride in zip(offsets, strides, strict=True)]
                tile(loops[1:], moved, then)

        def numbers(loops: list[Any], offsets: list[Any]) -> None:
            if not loops:
                self._store(scalar, buffers, offsets, [0] * len(offsets))
                return
            count, strides = loops[0]
            with T.serial(min(TILE, count)) as at:
                numbers(loops[1:], [offset + at * stride for offset, stride in zip(offsets, strides, strict=True)])

        tile(inside, offsets, lambda moved: numbers(inside, moved))

    def _store(self, simd: Simd, buffers: list[Any], offsets: list[Any], strides: Sequence[int]) -> None:
        def load(index: int) -> Any:
            place = flat(buffers[index], offsets[index])
            return simd.load(buffers[index], *place) if strides[index] else simd.splat(buffers[index][place])

        value = self.expression.apply(simd, load(0), lambda index: load(index + 1))
        simd.store(buffers[-1], value, *flat(buffers[-1], offsets[-1]))


def _vectors(loop: tuple[int, tuple[int, ...]]) -> bool:
    """Do all views go on by one number in a loop, or stand still?"""
    count, strides = loop
    return strides[-1] == 1 and count > 1 and all(stride in (0, 1) for stride in strides)


def flat(buffer: Any, offset: Any) -> tuple[Any, ...]:
    """Index of a number counted from the start: memory has no gaps, so the last axis may run over its size."""
    return (*(0 for _ in buffer.shape[1:]), offset) if len(buffer.shape) else ()
