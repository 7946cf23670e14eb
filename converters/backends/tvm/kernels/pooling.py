"""Pooling of blocked planes: windows of maxima and means, and the maximum and the mean of a whole plane."""

from __future__ import annotations

import math
from typing import Any, Literal

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import tiles
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO, Blocked, Window
from enginesmith.converters.backends.tvm.kernels.output import BlockedOutput

Kind = Literal["max", "mean", "mean_with_pads"]
MOST_READS = 1024
"""That are written out one after the other, those of each column near an edge apart: 2,200 take TVM 45 s, 3,400 twice that."""
MOST_TAPS = 256
"""Of a window, each of which TVM nests in the one before: 256 take it 4 s, 484 16 s."""
PARTS = 8
"""Partial results of a plane: they hide the latency of the additions, and lose fewer digits than one long sum."""


class Pool:
    """Parameters of `kernel()`: source, operands of the expression, result.

    A maximum takes the window's nearest row within the plane in the place of one beyond it. A mean reads zeros there, so it
    needs the halo.
    """

    def __init__(
        self, simd: Simd, kind: Kind, window: Window, source: Blocked, target: Blocked, expression: Expression
    ) -> None:
        self.simd, self.kind, self.window = simd, kind, window
        self.source, self.target, self.expression = source, target, expression

    @staticmethod
    def refusal(kind: Kind, window: Window, source: tuple[int, int], target: tuple[int, int]) -> str:
        """Why a pool isn't covered, empty where it is."""
        first, last = _inner(window, source[1], target[1])
        if window.taps > MOST_TAPS or window.taps * (1 + target[1] - (last - first)) > MOST_READS:
            return f"a window of {' x '.join(map(str, window.kernel))}"
        for axis, (size, count) in enumerate(zip(source, target, strict=True)):
            if not all(any(0 <= tap < size for tap in window.along(axis, place)) for place in range(count)):
                return "a window beyond the input"
        reach = window.reach(source, target)
        if kind == "mean_with_pads" and (reach.bottom > window.pads[2] or reach.right > window.pads[3]):
            return "a mean that counts pads, with windows beyond them"
        return ""

    def kernel(self, name: str) -> Any:
        simd, target = self.simd, self.target
        rows = target.height if target.blocks >= 8 else tiles.divisor(target.height, -(-target.height // 4))
        parts = target.height // rows
        reach = self.window.reach((self.source.height, self.source.width), (target.height, target.width))
        first, last = _inner(self.window, self.source.width, target.width)

        def body() -> None:
            data = argument("source", self.source.shape, self.source.dtype)
            output = BlockedOutput(simd, target, self.expression)
            with tasks(target.batch * target.blocks * parts, target.size * self.window.taps) as task:
                image, block = task // (target.blocks * parts), task // parts % target.blocks
                start = task % parts * rows
                with T.serial(rows) as row:
                    y = start + row
                    ys = self._rows(y, clamped=bool(reach.top or reach.bottom))
                    with T.serial(last - first) as x:
                        self._pixel(data, output, image, block, y, x + first, ys, edge=False)
                    for x in (*range(first), *range(last, target.width)):
                        self._pixel(data, output, image, block, y, x, ys, edge=True)
                output.clear_halo(image, block, start, rows, task % parts == 0, task % parts == parts - 1)

        return function(name, body)

    def _rows(self, y: Any, clamped: bool) -> list[Any]:
        """The rows of the source under the window of output row `y`."""
        ys = self.window.along(0, y)
        if clamped and self.kind == "max":
            first, count = self._inside(y)
            last = first + (count - 1) * self.window.dilations[0]
            ys = [T.Bind(T.max(first, T.min(last, row))) for row in ys]
        return ys

    def _pixel(
        self, data: Any, output: BlockedOutput, image: Any, block: Any, y: Any, x: Any, ys: list[Any], *, edge: bool
    ) -> None:
        simd, source = self.simd, self.source
        xs = self.window.along(1, x)
        if edge:
            xs = [column for column in xs if 0 <= column < source.width]
        value = None
        for row in ys:
            for column in xs:
                tap = T.Bind(source.read(simd, data, image, block, row, column))
                if (
                    self.kind == "max"
                ):  # the second number of the instruction comes out beside NaN, which a window leaves out
                    value = T.Bind(T.max(tap, simd.splat(-math.inf) if value is None else value))
                else:
                    value = tap if value is None else T.Bind(value + tap)
        if self.kind == "mean_with_pads":
            value = value * simd.splat(1.0 / self.window.taps)
        elif self.kind == "mean":
            value = value / simd.splat(T.cast(self._inside(y)[1] * len(xs), "float32"))
        output.write(value, image, block, y, x)

    def _inside(self, y: Any) -> tuple[Any, Any]:
        """Of the rows under the window of output row `y` the first that lies in the plane, and how many do."""
        first, step = y * self.window.strides[0] - self.window.pads[0], self.window.dilations[0]
        above = T.Bind(T.max(0, tirx.floordiv(step - 1 - first, step)))
        below = tirx.floordiv(self.source.height - 1 - first, step) + 1
        return T.Bind(first + above * step), T.Bind(T.min(below, self.window.kernel[0]) - above)


def _inner(window: Window, source: int, target: int) -> tuple[int, int]:
    """The columns of the result, from the first to before the last, whose window lies within the width of the source."""
    inside = [x for x in range(target) if window.along(1, x)[0] >= 0 and window.along(1, x)[-1] < source]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


class Plane:
    """The maximum or the mean of each plane. Parameters of `kernel()`: source, operands of the expression, result."""

    def __init__(
        self, simd: Simd, kind: Literal["max", "mean"], source: Blocked, target: Blocked, expression: Expression
    ) -> None:
        self.simd, self.kind = simd, kind
        self.source, self.target, self.expression = source, target, expression

    def kernel(self, name: str) -> Any:
        simd = self.simd
        source = self.source.flat() if self.source.halo == NO_HALO else self.source
        parts = min(PARTS, source.width)

        def body() -> None:
            data = argument("source", self.source.shape, self.source.dtype)
            output = BlockedOutput(simd, self.target, self.expression)
            with tasks(source.batch * source.blocks, source.size) as task:
                image, block = task // source.blocks, task % source.blocks
                found = T.alloc_buffer((parts * simd.lanes,), "float32", scope="local")
                for part in range(parts):
                    simd.store(found, simd.splat(0.0 if self.kind == "mean" else -math.inf), part * simd.lanes)

                def add(y: Any, x: Any, part: int) -> None:
                    value = source.read(simd, data, image, block, y, x)
                    simd.store(found, self._join(value, simd.load(found, part * simd.lanes)), part * simd.lanes)

                with T.serial(source.height) as y:
                    with T.serial(source.width // parts) as run:
                        for part in range(parts):
                            add(y, run * parts + part, part)
                    for part in range(source.width % parts):
                        add(y, source.width // parts * parts + part, part)
                value = simd.load(found, 0)
                for part in range(1, parts):
                    value = self._join(value, simd.load(found, part * simd.lanes))
                if self.kind == "mean":
                    value = value * simd.splat(1.0 / (source.height * source.width))
                output.write(value, image, block, 0, 0)
                output.clear_halo(image, block, 0, 1, True, True)

        return function(name, body)

    def _join(self, value: Any, found: Any) -> Any:
        """Of a maximum the second number comes out beside NaN, which counts for none."""
        return value + found if self.kind == "mean" else T.max(value, found)
