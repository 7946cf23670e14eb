"""The steps of `GreedySelection`: the best candidate left, and the removal of all that overlap it too much."""

from __future__ import annotations

import math
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Settings
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, number, shape_of, sizes_of
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO
from enginesmith.converters.backends.tvm.kernels.normalization import vectors
from enginesmith.converters.backends.tvm.kernels.products import at_row

FEWEST = 4
"""Numbers in a row, below which there is no vector."""
UNROLLED = 4
"""Vectors that are compared side by side."""


def match_largest(graph: Graph, node: Node, settings: Settings) -> Anchor | None:
    """The place of the largest number along the last axis."""
    shape = shape_of(node.inputs[0])
    axis = node.attrs.axis
    if shape is None or not shape or axis is None or int(axis) % len(shape) != len(shape) - 1:
        return None
    result = sizes_of(node.var) or ()
    return Anchor("argmax", None, [(node.inputs[0], 0, NO_HALO)],
                  lambda s, t, e: Largest(settings.simd, shape, result), results=((result, "int64"),), fuses=False)  # fmt: skip


def match_removal(graph: Graph, node: Node, settings: Settings) -> Anchor | None:
    """`where(prod(relu(min(high, high[pick]) - max(low, low[pick]))) > shares + shares[pick], number, left)`."""
    condition, gone, left = node.inputs
    greater = graph.producer_of(condition, "greater")
    prod = graph.producer_of(greater.inputs[0], "prod") if greater else None
    add = graph.producer_of(greater.inputs[1], "add") if greater else None
    relu = graph.producer_of(prod.inputs[0], "relu") if prod else None
    subtract = graph.producer_of(relu.inputs[0], "subtract") if relu else None
    least = graph.producer_of(subtract.inputs[0], "minimum") if subtract else None
    most = graph.producer_of(subtract.inputs[1], "maximum") if subtract else None
    value = number(graph.constant(gone))
    if greater is None or prod is None or add is None or relu is None or subtract is None or value is None:
        return None
    pairs = [_with_pick(graph, pair) for pair in (most, least, add)]
    if None in pairs or prod.attrs.axis is None or [int(axis) for axis in prod.attrs.axis] != [0]:
        return None
    low, high, shares = (pair[0] for pair in pairs if pair)
    picks = [pair[1] for pair in pairs if pair]
    pick, sides, kept = picks[0].inputs[1], shape_of(low), shape_of(left)
    if not all(take.inputs[1].same_as(pick) for take in picks) or sizes_of(pick) != (1,):
        return None
    if (
        sides is None
        or len(sides) != 2
        or sides[1] < FEWEST
        or shape_of(high) != sides
        or str(pick.ty.dtype) != "int64"
    ):
        return None
    if shape_of(shares) != (sides[1],) or kept is None or kept != shape_of(node.var) or math.prod(kept) != sides[1]:
        return None
    sources = [(tensor, 0, NO_HALO) for tensor in (low, high, shares, left, pick)]
    inner = [tensor for tensor in (greater, prod, add, relu, subtract, least, most, *picks) if tensor is not None]
    return Anchor("removal", None, sources, lambda s, t, e: Removal(settings.simd, sides, kept, value),
                  inner=inner, fuses=False)  # fmt: skip


def _with_pick(graph: Graph, node: Node | None) -> tuple[Any, Node] | None:
    """A tensor that meets one of its own entries along the last axis: the tensor, and what takes the entry."""
    for tensor, entry in (node.inputs, node.inputs[::-1]) if node else ():
        take = graph.producer_of(entry, "take")
        if take is not None and take.inputs[0].same_as(tensor):
            axis, rank = take.attrs.axis, len(sizes_of(tensor) or ())
            return (tensor, take) if axis is not None and int(axis) % rank == rank - 1 else None
    return None


class Largest:
    """int64[...]: the first place of the largest number in each row of float32[..., columns], or of its first NaN.

    Parameters of `kernel()`: source, result.
    """

    def __init__(self, simd: Simd, shape: tuple[int, ...], result: tuple[int, ...]) -> None:
        self.shape, self.result = shape, result
        self.simd = simd.narrowed(max(lanes for lanes in (1, 4, 8, 16) if lanes <= min(simd.lanes, shape[-1])))

    def kernel(self, name: str) -> Any:
        simd, lanes, columns = self.simd, self.simd.lanes, self.shape[-1]
        rows = math.prod(self.shape[:-1])
        count = min(UNROLLED, columns // lanes)

        def body() -> None:
            data = argument("source", self.shape)
            result = argument("result", self.result, "int64")
            with tasks(rows, rows * columns) as row:
                best = T.alloc_buffer((count * lanes,), "float32", scope="local")
                place = T.alloc_buffer((count * lanes,), "int32", scope="local")
                odd = simd.zeros(count)  # NaN where a number was NaN or infinite
                for index in range(count):
                    simd.store(best, simd.splat(T.float32(-math.inf)), index * lanes)
                    simd.store(place, T.Broadcast(T.int32(0), lanes) if lanes > 1 else T.int32(0), index * lanes)

                def compare(column: Any, index: int) -> None:
                    at = index * lanes
                    value = T.Bind(simd.load(data, *at_row(self.shape, row), column))
                    larger = value > T.Bind(simd.load(best, at))
                    places = T.Ramp(column, 1, lanes) if lanes > 1 else column
                    simd.store(place, T.Select(larger, places, simd.load(place, at)), at)
                    simd.store(best, T.Select(larger, value, simd.load(best, at)), at)
                    nothing = T.call_llvm_pure_intrin(
                        simd.dtype, "llvm.fmuladd", value, simd.splat(0.0), simd.load(odd, at)
                    )
                    simd.store(odd, nothing, at)

                with T.serial(columns // (count * lanes)) as run:
                    for index in range(count):
                        compare((run * count + index) * lanes, index)
                for column in range(columns // (count * lanes) * count * lanes, columns - lanes + 1, lanes):
                    compare(T.int32(column), 0)
                if columns % lanes:
                    compare(T.int32(columns - lanes), 0)
                with T.serial(1, count * lanes) as index:
                    earlier = tirx.all(best[index] == best[0], place[index] < place[0])
                    with T.If(tirx.any(best[index] > best[0], earlier)), T.Then():
                        T.buffer_store(place, place[index], [0])
                        T.buffer_store(best, best[index], [0])
                    with T.If(T.isnan(odd[index])), T.Then():
                        T.buffer_store(odd, odd[index], [0])
                with T.If(T.isnan(odd[0])), T.Then(), T.serial(columns) as back:
                    column = T.Bind(columns - 1 - back)
                    with T.If(T.isnan(data[(*at_row(self.shape, row), column)])), T.Then():
                        T.buffer_store(place, column, [0])
                # Memory has no gaps, so the last index may run over its size.
                T.buffer_store(
                    result, T.cast(place[0], "int64"), [*(0 for _ in self.result[:-1]), row][: len(self.result)]
                )

        return function(name, body)


class Removal:
    """`left` with `value` in the place of every candidate that shares too much with the picked one.

    Parameters of `kernel()`: low and high float32[sides, candidates], shares float32[candidates], left, pick int64[1],
    result.
    """

    def __init__(self, simd: Simd, sides: tuple[int, ...], shape: tuple[int, ...], value: float) -> None:
        self.sides, self.shape, self.value = sides, shape, value
        self.simd = simd.narrowed(max(lanes for lanes in (4, 8, 16) if lanes <= min(simd.lanes, sides[1])))

    def kernel(self, name: str) -> Any:
        simd, (sides, count) = self.simd, self.sides

        def body() -> None:
            low, high = argument("low", self.sides), argument("high", self.sides)
            shares, left = argument("shares", (count,)), argument("left", self.shape)
            pick, result = argument("pick", (1,), "int64"), argument("result", self.shape)
            at = T.Bind(T.cast(pick[0], "int32"))
            starts = [T.Bind(simd.splat(low[side, at])) for side in range(sides)]
            ends = [T.Bind(simd.splat(high[side, at])) for side in range(sides)]
            own = T.Bind(simd.splat(shares[at]))

            def decide(place: Any) -> None:
                shared = None
                for side in range(sides):
                    start = T.max(simd.load(low, side, place), starts[side])
                    extent = T.min(simd.load(high, side, place), ends[side]) - start
                    extent = T.max(extent, simd.splat(0.0))
                    shared = extent if shared is None else shared * extent
                gone = shared > simd.load(shares, place) + own
                value = T.Select(gone, simd.splat(self.value), simd.load(left, *at_row(self.shape, 0), place))
                simd.store(result, value, *at_row(self.shape, 0), place)

            vectors(simd, count, decide)

        return function(name, body)
