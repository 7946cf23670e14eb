"""Between ONNX's order of axes and blocked planes."""

from __future__ import annotations

from typing import Any

from tvm.tirx.script.builder import ir as T

from enginesmith.converters.tvm_kernels.emit import Simd, argument, function, tasks
from enginesmith.converters.tvm_kernels.expression import Expression
from enginesmith.converters.tvm_kernels.layout import Blocked
from enginesmith.converters.tvm_kernels.output import BlockedOutput


class Pack:
    """float32[N, C, H, W] to blocked planes; channels that fill up the last block are zeros."""

    def __init__(self, layout: Blocked) -> None:
        self.layout = layout

    def kernel(self, name: str) -> Any:
        layout = self.layout
        lanes = layout.block

        def body() -> None:
            data = argument("source", layout.logical)
            scalars = Simd(lanes, 16)
            output = BlockedOutput(scalars, layout, Expression())
            with tasks(layout.batch * layout.blocks, layout.size) as task:
                image, block = task // layout.blocks, task % layout.blocks
                with T.serial(layout.height) as y:
                    for lane in range(lanes):
                        with T.serial(layout.width) as x:
                            channel = block * lanes + lane
                            value = data[image, channel, y, x]
                            if layout.channels % lanes:
                                value = T.if_then_else(channel < layout.channels, value, T.float32(0))
                            T.buffer_store(output.buffer, value, list(layout.place(image, block, y, x, lane)))
                output.clear_halo(image, block, 0, layout.height, True, True)

        return function(name, body)


class Unpack:
    """Blocked planes to float32[N, C, H, W]."""

    def __init__(self, layout: Blocked) -> None:
        self.layout = layout

    def kernel(self, name: str) -> Any:
        layout = self.layout

        def body() -> None:
            data = argument("source", layout.shape)
            result = argument("result", layout.logical)
            with tasks(layout.batch * layout.channels, layout.size) as task:
                image, channel = task // layout.channels, task % layout.channels
                block, lane = channel // layout.block, channel % layout.block
                with T.serial(layout.height) as y, T.serial(layout.width) as x:
                    value = data[layout.place(image, block, y, x, lane)]
                    T.buffer_store(result, value, [image, channel, y, x])

        return function(name, body)
