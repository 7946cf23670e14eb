"""Registers of int32 sums, and the weights that they read: what kernels of integers have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import tiles
from enginesmith.converters.backends.tvm.kernels.emit import Simd
from enginesmith.converters.backends.tvm.kernels.int8.dots import Dot
from enginesmith.converters.backends.tvm.kernels.integers import splat

OFFSET_BYTES = 4


@dataclass(frozen=True)
class Sums:
    """Of tiles `width` columns wide; `zero` is what stands for 0 among the activations."""

    simd: Simd
    dot: Dot
    width: int
    zero: int

    @property
    def start_bytes(self) -> int:
        """What comes before a tile's weights."""
        return OFFSET_BYTES * self.width if self.zero else 0

    def length(self, steps: int) -> int:
        """Bytes of a tile's weights."""
        return self.start_bytes + steps * self.width * self.dot.group

    def begin(self, weights: Any, tile: Any, size: int, unrolled: int) -> Registers:
        """Sums of `size` rows or pixels at their start. `unrolled` steps follow each other in the innermost loop."""
        vectors = self.width // self.simd.lanes
        parts = tiles.partial_sums(size * vectors, unrolled)
        lanes = self.simd.lanes
        buffer = T.alloc_buffer((size * vectors * parts * lanes,), "int32", scope="local")
        registers = Registers(self, weights, tile, buffer, size, parts)
        for part in range(parts):
            for v in range(vectors):
                first = splat(lanes, 0)
                if part == 0 and self.zero:
                    given = weights[tile, T.Ramp(v * lanes * OFFSET_BYTES, 1, lanes * OFFSET_BYTES)]
                    first = T.Bind(T.reinterpret(f"int32x{lanes}", given))
                for row in range(size):
                    registers.store(first, row, v, part)
        return registers

    def neighbours(self, data: Any, index: tuple[Any, ...]) -> Any:
        """What one step reads of an activation."""
        group = self.dot.group
        return data[(*index[:-1], T.Ramp(index[-1], 1, group))] if group > 1 else data[index]


@dataclass(frozen=True)
class Registers:
    """The sums of one tile."""

    sums: Sums
    weights: Any
    tile: Any
    buffer: Any
    size: int
    parts: int

    def add(self, read: Callable[[int, int], Any], first: Any, count: int) -> None:
        """`count` steps from the step `first` on. `read` takes a row and a step, and gives its neighbours."""
        lanes, group, width = self.sums.simd.lanes, self.sums.dot.group, self.sums.width
        for step in range(count):
            at = self.sums.start_bytes + (first + step) * (width * group)
            columns = [
                self.weights[self.tile, T.Ramp(at + v * lanes * group, 1, lanes * group)] for v in range(width // lanes)
            ]
            for row in range(self.size):
                values = read(row, step)
                for v, weights in enumerate(columns):
                    part = step % self.parts
                    self.store(self.sums.dot.add(lanes, self.load(row, v, part), values, weights), row, v, part)

    def total(self, row: int, v: int) -> Any:
        """A vector of sums as float32."""
        value = self.load(row, v, 0)
        for part in range(1, self.parts):
            value = value + self.load(row, v, part)
        return T.cast(value, self.sums.simd.dtype)

    def load(self, row: int, v: int, part: int) -> Any:
        return self.sums.simd.load(self.buffer, self._at(row, v, part))

    def store(self, value: Any, row: int, v: int, part: int) -> None:
        self.sums.simd.store(self.buffer, value, self._at(row, v, part))

    def _at(self, row: int, v: int, part: int) -> int:
        lanes = self.sums.simd.lanes
        return ((part * self.size + row) * (self.sums.width // lanes) + v) * lanes
