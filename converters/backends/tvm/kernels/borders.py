"""Between ONNX's order of axes and blocked planes."""

from __future__ import annotations

from typing import Any

from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels.emit import Simd, argument, function, tasks, when
from enginesmith.converters.backends.tvm.kernels.expression import Expression
from enginesmith.converters.backends.tvm.kernels.layout import Blocked
from enginesmith.converters.backends.tvm.kernels.output import BlockedOutput
from enginesmith.converters.backends.tvm.kernels.views import Memory, View


class Pack:
    """[N, C, H, W], read in any order, to blocked planes of the same type; channels that fill up the last block are zeros."""

    def __init__(self, layout: Blocked, memory: Memory | None = None) -> None:
        self.layout = layout
        self.memory = memory or Memory(layout.logical, View.whole(layout.logical))

    def kernel(self, name: str) -> Any:
        layout, (shape, view) = self.layout, (self.memory.shape, self.memory.view)
        lanes = layout.block
        # Channels that follow each other in memory, as where they are the last axis, move as vectors.
        together = lanes if view.steady(1) and layout.channels % lanes == 0 else 1

        def body() -> None:
            data = argument("source", shape, layout.dtype)
            simd = Simd(together, 16)
            output = BlockedOutput(Simd(lanes, 16), layout, Expression())
            with tasks(layout.batch * layout.blocks, layout.size) as task:
                image, block = task // layout.blocks, task % layout.blocks
                start = view.offset + view.step(0, image)
                with T.serial(layout.height) as y:
                    row = T.Bind(start + view.step(2, y))
                    for lane in range(0, lanes, together):
                        channel = T.Bind(block * lanes + lane)
                        first = T.Bind(row + view.step(1, T.min(channel, layout.channels - 1)))
                        with T.serial(layout.width) as x:
                            value = simd.load(data, *(0 for _ in shape[1:]), first + view.step(3, x))
                            if layout.channels % lanes:
                                value = T.if_then_else(
                                    channel < layout.channels, value, T.Cast(layout.dtype, T.int32(0))
                                )
                            simd.store(output.buffer, value, *layout.place(image, block, y, x, lane))
                output.clear_halo(image, block, 0, layout.height, True, True)

        return function(name, body)


class Unpack:
    """Blocked planes to [N, C, H, W] of the same type."""

    def __init__(self, layout: Blocked) -> None:
        self.layout = layout

    def kernel(self, name: str) -> Any:
        layout = self.layout

        def body() -> None:
            data = argument("source", layout.shape, layout.dtype)
            result = argument("result", layout.logical, layout.dtype)
            # All channels of a block, row by row: what is read for the first of them is in the cache for the others.
            parts = layout.height if layout.batch * layout.blocks < 16 else 1
            count, rows = layout.blocks * parts, layout.height // parts
            with tasks(layout.batch * count, layout.size) as task:
                image, block, first = task // count, task % count // parts, task % parts * rows
                with T.serial(rows) as row:
                    for lane in range(layout.block):
                        channel = block * layout.block + lane

                        def move(channel: Any = channel, lane: int = lane, y: Any = first + row) -> None:
                            with T.serial(layout.width) as x:
                                value = data[layout.place(image, block, y, x, lane)]
                                T.buffer_store(result, value, [image, channel, y, x])

                        when(channel < layout.channels if layout.channels % layout.block else True, move)

        return function(name, body)
