"""Planes whose rows and columns are mixed from the source's by fixed weights: resizing, padding, cropping, flipping."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.layout import Blocked
from enginesmith.converters.backends.tvm.kernels.output import BlockedOutput

OUTSIDE = -1


@dataclass(frozen=True)
class Axis:
    """Of each output, the inputs along an axis that make it up, and what each counts: both [output][tap].

    A single tap of weight 1 is a copy. An input of `OUTSIDE` stands for the number that fills the surroundings.
    """

    inputs: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]

    @classmethod
    def copies(cls, inputs: Any) -> Axis:
        """One input for each output."""
        return cls(tuple((int(place),) for place in inputs), ((1.0,),) * len(inputs))

    @property
    def taps(self) -> int:
        return len(self.inputs[0])

    @property
    def outside(self) -> bool:
        return any(OUTSIDE in taps for taps in self.inputs)


def tables(rows: Axis, columns: Axis) -> NDArray[np.float32]:
    """[row][inputs, weights][tap], then the same of the columns, one after the other."""
    parts = [part for axis in (rows, columns) for part in zip(axis.inputs, axis.weights, strict=True)]
    return np.concatenate([np.asarray(part, np.float32).ravel() for part in parts])


class Resample:
    """Parameters of `kernel()`: source, the `tables` of both axes, operands of the expression, result."""

    def __init__(
        self,
        simd: Simd,
        rows: Axis,
        columns: Axis,
        fill: float,
        source: Blocked,
        target: Blocked,
        expression: Expression,
    ) -> None:
        self.simd, self.fill = simd, fill
        self.taps = rows.taps, columns.taps
        self.outside = rows.outside, columns.outside
        self.source, self.target, self.expression = source, target, expression

    def pack(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """They are in the order in which they are read."""
        return weights

    def kernel(self, name: str) -> Any:
        simd, target = self.simd, self.target
        down, across = self.taps
        start = target.height * 2 * down
        blends = down * across > 1

        def body() -> None:
            data = argument("source", self.source.shape)
            table = argument("table", (start + target.width * 2 * across,))
            output = BlockedOutput(simd, target, self.expression)
            parts = target.height if target.blocks * target.batch < 16 else 1
            rows = target.height // parts
            count = target.blocks * parts

            def place(at: Any, limited: bool) -> Any:
                found = T.Bind(T.cast(table[at], "int32"))
                return found, T.Bind(T.max(found, 0)) if limited else found

            with tasks(target.batch * count, target.size * down * across) as task:
                image, block, part = task // count, task % count // parts, task % parts
                with T.serial(rows) as row:
                    y = part * rows + row
                    ys = [place(y * 2 * down + tap, self.outside[0]) for tap in range(down)]
                    wys = [T.Bind(table[y * 2 * down + down + tap]) for tap in range(down)] if blends else []
                    with T.serial(target.width) as x:
                        at = start + x * 2 * across
                        value = None
                        for column in range(across):
                            found, inside = place(at + column, self.outside[1])
                            mixed = None
                            for tap in range(down):
                                index = self.source.place(image, block, ys[tap][1], inside)
                                number = simd.load(data, *index)
                                if any(self.outside):
                                    missing = T.Bind(T.min(ys[tap][0], found)) < 0
                                    number = T.Select(missing, simd.splat(T.float32(self.fill)), number)
                                if blends:
                                    weight = simd.splat(wys[tap])
                                    mixed = number * weight if mixed is None else simd.fma(number, weight, mixed)
                                else:
                                    mixed = number
                            if blends:
                                weight = simd.splat(T.Bind(table[at + across + column]))
                                value = mixed * weight if value is None else simd.fma(mixed, weight, value)
                            else:
                                value = mixed
                            value = T.Bind(value)
                        output.write(value, image, block, y, x)
                output.clear_halo(image, block, part * rows, rows, part == 0, part == parts - 1)

        return function(name, body)


def coordinates(source: int, target: int, mode: str) -> NDArray[np.float64]:
    """Where outputs lie among the inputs along an axis, by ONNX's name of the transformation."""
    x = np.arange(target, dtype=np.float64)
    if mode == "align_corners":
        return x * ((source - 1) / (target - 1) if target > 1 else 0.0)
    if mode == "asymmetric":
        return x * source / target
    if mode == "pytorch_half_pixel" and target == 1:
        return np.zeros(1)
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (x + 0.5) * source / target - 0.5
    raise KeyError(mode)


ROUNDING: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": lambda x: np.floor(x),
    "ceil": lambda x: np.ceil(x),
}
SMALL = 1e-6
"""Coordinates this close to a whole number are meant to be it."""


def nearest(source: int, target: int, mode: str, rounding: str) -> Axis:
    """Raises KeyError for a mode or a rounding of another name."""
    at = coordinates(source, target, mode)
    at = np.where(np.abs(at - np.rint(at)) < SMALL, np.rint(at), at)
    return Axis.copies(np.clip(ROUNDING[rounding](at), 0, source - 1))


def linear(source: int, target: int, mode: str) -> Axis:
    """Raises KeyError for a mode of another name."""
    return _blended(source, coordinates(source, target, mode), 0, lambda part: [1 - part, part])


def cubic(source: int, target: int, mode: str, a: float) -> Axis:
    """Keys' kernel with coefficient `a`. Raises KeyError for a mode of another name."""

    def weights(part: float) -> list[float]:
        distances = (1 + part, part, 1 - part, 2 - part)
        return [
            (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
            for d in distances
        ]

    return _blended(source, coordinates(source, target, mode), -1, weights)


def _blended(source: int, at: NDArray[np.float64], first: int, weights: Any) -> Axis:
    """From the input `first` beside each coordinate on; beyond the edge the edge is repeated."""
    floors = [math.floor(x) for x in at]
    counts = [tuple(float(w) for w in weights(x - low)) for x, low in zip(at, floors, strict=True)]
    inputs = [
        tuple(min(max(low + first + tap, 0), source - 1) for tap in range(len(count)))
        for low, count in zip(floors, counts, strict=True)
    ]
    return Axis(tuple(inputs), tuple(counts))
