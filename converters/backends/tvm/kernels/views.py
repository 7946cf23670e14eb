"""Tensors that are another one's numbers in another order: transposes, slices, reshapes, broadcasts, one after the other.

Nothing is moved for them: whoever reads the numbers goes through the memory in that order, or copies them once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

Factor = tuple[int, int]
"""How many numbers, and how far one is from the next in memory."""
Axis = tuple[Factor, ...]
"""An axis as a nest of factors, outermost first; an axis of size 1 has none."""


@dataclass(frozen=True)
class View:
    """Numbers of a memory from `offset` on."""

    offset: int
    axes: tuple[Axis, ...]

    @classmethod
    def whole(cls, shape: Sequence[int]) -> View:
        """Memory that lies in the order of its axes."""
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        return cls(0, tuple(axis_of([pair]) for pair in zip(shape, strides, strict=True)))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(_size, self.axes))

    @property
    def plain(self) -> bool:
        """Do its numbers follow each other from the start of the memory on?"""
        return self.offset == 0 and _joined(self.axes) == axis_of([(math.prod(self.shape), 1)])

    def steady(self, axis: int) -> bool:
        """Do the numbers of an axis follow each other in memory?"""
        return len(self.axes[axis]) == 1 and self.axes[axis][0][1] == 1

    def step(self, axis: int, index: Any) -> Any:
        """How far from its first number an axis' number `index` lies; that may be an expression."""
        factors = self.axes[axis]
        below, total = _size(factors), 0
        for extent, stride in factors:
            outermost = below == _size(factors)
            below //= extent
            at = index if below == 1 else index // below
            total = total + (at if outermost else at % extent) * stride
        return total

    def permuted(self, order: Sequence[int]) -> View:
        return replace(self, axes=tuple(self.axes[axis] for axis in order))

    def sliced(self, axis: int, start: int, count: int, step: int = 1) -> View | None:
        """`count` numbers of an axis; None where more than one is taken from within a factor."""
        factors = self.axes[axis]
        if count == 1:
            offset, below = self.offset, _size(factors)
            for extent, stride in factors:
                below //= extent
                offset += start // below % extent * stride
            return View(offset, self._with(axis, ()))
        below = _size(factors[1:])
        if below > 1 and (step != 1 or start % below or count % below):
            return None
        stride = factors[0][1]
        kept = ((count // below, stride * step), *factors[1:])
        return View(self.offset + start // below * stride, self._with(axis, kept))

    def reshaped(self, shape: Sequence[int]) -> View | None:
        """The same numbers under other sizes; None where an axis would end within a factor."""
        factors = [factor for axis in self.axes for factor in axis]
        axes = []
        for size in shape:
            taken: list[Factor] = []
            while (missing := size // math.prod(extent for extent, _ in taken)) > 1:
                if not factors:
                    return None
                extent, stride = factors.pop(0)
                if extent > missing:
                    if extent % missing:
                        return None
                    rest = extent // missing
                    taken.append((missing, stride * rest))
                    factors.insert(0, (rest, stride))
                elif missing % extent:
                    return None
                else:
                    taken.append((extent, stride))
            if math.prod(extent for extent, _ in taken) != size:
                return None
            axes.append(axis_of(taken))
        return replace(self, axes=tuple(axes)) if not factors else None

    def broadcast(self, shape: Sequence[int]) -> View | None:
        """Repeated along axes of size 1 and new axes in front, as ONNX broadcasts."""
        missing = len(shape) - len(self.axes)
        if missing < 0:
            return None
        axes = []
        for size, axis in zip(shape, ((),) * missing + self.axes, strict=True):
            if _size(axis) not in (1, size):
                return None
            axes.append(axis if _size(axis) == size else axis_of([(size, 0)]))
        return replace(self, axes=tuple(axes))

    def _with(self, axis: int, factors: Axis) -> tuple[Axis, ...]:
        return (*self.axes[:axis], axis_of(factors), *self.axes[axis + 1 :])


@dataclass(frozen=True)
class Memory:
    """A tensor of sizes `shape`, and the order in which its numbers are read."""

    shape: tuple[int, ...]
    view: View

    @property
    def plain(self) -> bool:
        """Are they read as they lie, all of them?"""
        return self.view.plain and math.prod(self.shape) == math.prod(self.view.shape)

    def broadcast(self, shape: Sequence[int]) -> Memory:
        """Raises ValueError for a shape that it can't be broadcast to."""
        view = self.view.broadcast(shape)
        if view is None:
            raise ValueError(f"{self.view.shape} can't be broadcast to {tuple(shape)}")
        return replace(self, view=view)


Move = Callable[[View], View | None]
"""From one order to the next; None where it can't be expressed as a view."""


def composed(view: View, moves: Sequence[Move]) -> View | None:
    """All moves in turn."""
    found: View | None = view
    for move in moves:
        found = move(found) if found is not None else None
    return found


def nest(views: Sequence[View]) -> list[tuple[int, tuple[int, ...]]] | None:
    """Loops over views of one shape, outermost first: the count of each, and by how far every view goes on in it.

    None where their factors can't be cut into common ones.
    """
    loops: list[tuple[int, tuple[int, ...]]] = []
    for axes in reversed([*zip(*(view.axes for view in views), strict=True)]):
        waiting = [list(axis) for axis in axes]
        while waiting[0]:
            count = math.gcd(*(factors[-1][0] for factors in waiting))
            if count == 1:
                return None
            strides = []
            for factors in waiting:
                extent, stride = factors.pop()
                strides.append(stride)
                if extent > count:
                    factors.append((extent // count, stride * count))
            _push(loops, count, tuple(strides))
    return loops[::-1]


def _push(loops: list[tuple[int, tuple[int, ...]]], count: int, strides: tuple[int, ...]) -> None:
    """Add a loop around the others, as part of the outermost where every view goes on in the same step."""
    if loops and all(stride == loops[-1][0] * inner for stride, inner in zip(strides, loops[-1][1], strict=True)):
        loops[-1] = (count * loops[-1][0], loops[-1][1])
    else:
        loops.append((count, strides))


def axis_of(factors: Sequence[Factor]) -> Axis:
    return _joined([tuple(factor for factor in factors if factor[0] != 1)])


def _joined(axes: Sequence[Sequence[Factor]]) -> Axis:
    """Factors one after the other, those that go on in the same step made one."""
    joined: list[Factor] = []
    for extent, stride in (factor for axis in axes for factor in axis):
        if joined and joined[-1][1] == extent * stride:
            joined[-1] = (joined[-1][0] * extent, stride)
        else:
            joined.append((extent, stride))
    return tuple(joined)


def _size(axis: Axis) -> int:
    return math.prod(extent for extent, _ in axis)
