"""The k largest numbers of each row, in falling order; of equal ones the first comes first, as ONNX defines TopK.

A heap holds the best k so far, its worst on top. Blocks of numbers none of which is better than the worst are passed over
with a few vector operations, so that a long row costs little more than reading it.
"""

from __future__ import annotations

import math
from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels import vector_math
from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Settings
from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, shape_of
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO
from enginesmith.converters.backends.tvm.kernels.products import at_row

BLOCK = 8
"""Vectors that are passed over, or looked through, together."""
INFINITE = 0x7F800000
"""The bits of infinity, beyond which there is NaN."""


def match(graph: Graph, node: Node, settings: Settings) -> Anchor | None:
    attrs, source = node.attrs, node.inputs[0]
    shape = shape_of(source)
    if shape is None or attrs.ret_type != "both" or not attrs.largest or str(attrs.dtype) != "int64":
        return None
    k = int(attrs.k)
    if int(attrs.axis) % len(shape) != len(shape) - 1 or not 1 <= k <= shape[-1]:
        return None
    result = (*shape[:-1], k)
    return Anchor("topk", None, [(source, 0, NO_HALO)], lambda s, t, e: TopK(settings.simd, shape, k),
                  results=((result, "float32"), (result, "int64")), fuses=False)  # fmt: skip


class TopK:
    """float32 and int64[..., k] of float32[..., columns]. NaN counts as the largest number.

    Parameters of `kernel()`: source, values, places.
    """

    def __init__(self, simd: Simd, shape: tuple[int, ...], k: int) -> None:
        self.simd, self.shape, self.k = simd, shape, k

    def kernel(self, name: str) -> Any:
        columns, k = self.shape[-1], self.k
        rows = math.prod(self.shape[:-1])
        result = (*self.shape[:-1], k)

        def body() -> None:
            data = argument("source", self.shape)
            values, places = argument("values", result), argument("places", result, "int64")
            with tasks(rows, rows * (columns + 40 * k)) as row:
                heap = Heap(k)

                def number(column: Any) -> Any:
                    value = T.Bind(data[(*at_row(self.shape, row), column)])
                    return T.Bind(ordered(value))

                with T.serial(k) as column:
                    heap.put(column, number(column), column)
                with T.serial(k // 2) as step:
                    place = T.Bind(k // 2 - 1 - step)
                    heap.sift(place, k, T.Bind(heap.values[place]), T.Bind(heap.places[place]))

                def consider(column: Any) -> None:
                    value = number(column)
                    with T.If(value > heap.values[0]), T.Then():
                        heap.sift(0, k, value, column)

                self._pass_over(data, row, heap, consider)
                with T.serial(k) as step:
                    last = T.Bind(k - 1 - step)
                    place = T.Bind(heap.places[0])
                    T.buffer_store(values, data[(*at_row(self.shape, row), place)], [*at_row(result, row), last])
                    T.buffer_store(places, T.cast(place, "int64"), [*at_row(result, row), last])
                    heap.sift(0, last, T.Bind(heap.values[last]), T.Bind(heap.places[last]))

        return function(name, body)

    def _pass_over(self, data: Any, row: Any, heap: Heap, consider: Any) -> None:
        """Consider all numbers after the first k."""
        simd, columns = self.simd, self.shape[-1]
        width = BLOCK * simd.lanes
        blocks = (columns - self.k) // width
        with T.serial(blocks) as block:
            start = T.Bind(self.k + block * width)
            worst = T.Bind(unordered(heap.values[0]))
            best = simd.load(data, *at_row(self.shape, row), start)
            for index in range(1, BLOCK):
                best = vector_math.extreme(
                    T.max, simd.load(data, *at_row(self.shape, row), start + index * simd.lanes), best
                )
            lanes = T.alloc_buffer((simd.lanes,), "float32", scope="local")
            better = T.alloc_buffer((1,), "bool", scope="local")
            simd.store(lanes, best, 0)
            T.buffer_store(better, tirx.const(False, "bool"), [0])
            with T.serial(simd.lanes) as lane:
                T.buffer_store(better, tirx.any(better[0], tirx.Not(lanes[lane] <= worst)), [0])
            with T.If(better[0]), T.Then(), T.serial(width) as index:
                consider(start + index)
        with T.serial((columns - self.k) % width) as index:
            consider(self.k + blocks * width + index)


def ordered(value: Any) -> Any:
    """An integer in a float32's order, the largest of all for NaN."""
    bits = T.Bind(T.reinterpret("int32", value))
    size = T.Bind(bits & T.int32(2**31 - 1))
    return T.Select(size > T.int32(INFINITE), T.int32(2**31 - 1), T.Select(bits < 0, -size, size))


def unordered(key: Any) -> Any:
    """The float32 that an integer of `ordered` stands for."""
    return T.reinterpret("float32", T.Select(key < 0, T.int32(-(2**31)) - key, key))


class Heap:
    """The worst of `size` candidates on top: the smallest number, and of equal ones the last in its row."""

    def __init__(self, size: int) -> None:
        self.values, self.places = T.alloc_buffer((size,), "int32"), T.alloc_buffer((size,), "int32")
        self.hole, self.child = (T.alloc_buffer((1,), "int32", scope="local") for _ in range(2))
        self.moving = T.alloc_buffer((1,), "bool", scope="local")

    def put(self, at: Any, value: Any, place: Any) -> None:
        T.buffer_store(self.values, value, [at])
        T.buffer_store(self.places, place, [at])

    def sift(self, start: Any, size: Any, value: Any, place: Any) -> None:
        """Put a candidate where `start` is or below, in a heap of the first `size` entries, whose top may be free."""
        hole, child, moving = self.hole, self.child, self.moving
        T.buffer_store(hole, start, [0])
        T.buffer_store(moving, tirx.const(True, "bool"), [0])
        with T.While(tirx.all(moving[0], 2 * hole[0] + 1 < size)):
            T.buffer_store(child, 2 * hole[0] + 1, [0])
            right = T.Bind(child[0] + 1)
            with T.If(right < size), T.Then():
                worse = self._worse(
                    self.values[right], self.places[right], self.values[child[0]], self.places[child[0]]
                )
                with T.If(worse), T.Then():
                    T.buffer_store(child, right, [0])
            with T.If(self._worse(self.values[child[0]], self.places[child[0]], value, place)):
                with T.Then():
                    self.put(hole[0], self.values[child[0]], self.places[child[0]])
                    T.buffer_store(hole, child[0], [0])
                with T.Else():
                    T.buffer_store(moving, tirx.const(False, "bool"), [0])
        self.put(hole[0], value, place)

    @staticmethod
    def _worse(value: Any, place: Any, other: Any, other_place: Any) -> Any:
        return tirx.any(value < other, tirx.all(value == other, place > other_place))
