"""How a kernel goes through its work: the numbers of its template that change its time and nothing else.

Each kernel has a `default`, chosen by rules that were measured, and a `space`: for every field the values that give a
correct kernel of these sizes, whatever the other fields are. So a search may combine them freely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

Space = Mapping[str, tuple[Any, ...]]
"""Field of a schedule to the values that it may have."""


@dataclass(frozen=True)
class Schedule:
    """Base of the kernels' schedules."""

    def within(self, space: Space) -> bool:
        """Has every field a value of its own in `space`?"""
        return all(getattr(self, field.name) in space[field.name] for field in fields(self))

    def changed(self, name: str, value: Any) -> Self:
        return replace(self, **{name: value})


@dataclass(frozen=True)
class DirectSchedule(Schedule):
    """Of a direct convolution."""

    vectors: int
    """Of output channels in a tile: they share a broadcast input."""
    sums: int
    """Registers that hold a tile's outputs, at most: `vectors` times the pixels."""
    inputs: int
    """Input channels that are unrolled."""
    rows: int
    """Of a task."""
    across: bool
    """Tiles of a task run over the ends of rows, so that few are left partly empty."""
    weights_once: bool
    """Successive tasks share weights, else rows of the input."""


@dataclass(frozen=True)
class WinogradSchedule(Schedule):
    """Of a Winograd convolution."""

    vectors: int
    """Of output channels in a tile of the products."""
    sums: int
    """Registers that hold a tile's outputs, at most."""
    rows: int
    """Rows of tiles that go through all phases together."""


@dataclass(frozen=True)
class DepthwiseSchedule(Schedule):
    """Of a depthwise convolution."""

    pixels: int
    """Outputs that share the taps' weights, at most."""
    rows: int
    """Of a task."""


@dataclass(frozen=True)
class ProductSchedule(Schedule):
    """Of a matrix product."""

    vectors: int
    """Of columns in a tile: they share a broadcast number of the left factor."""
    sums: int
    """Registers that hold a tile's results, at most."""
    unrolled: int
    """Steps of the sum that are written out."""


def divisors(number: int) -> tuple[int, ...]:
    return tuple(size for size in range(1, number + 1) if number % size == 0)


def registers_for_sums(registers: int, default: int, most: int) -> tuple[int, ...]:
    """From few, which small sizes need, to all but those of one weight and one input; not more than `most`, beyond which
    they make no difference.
    """
    counts = range(4, registers - 1, 2 if registers <= 16 else 4)
    return tuple(sorted({default, *(count for count in counts if count <= most)}))
