"""Where the numbers of an activation lie: channels in blocks, with room around every plane."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from enginesmith.converters.backends.tvm.kernels.emit import Simd
from enginesmith.converters.backends.tvm.kernels.integers import Integers
from enginesmith.converters.backends.tvm.kernels.views import View, axis_of


class Halo(NamedTuple):
    """Rows and columns of zeros around a plane, written by the kernel that writes the plane."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0

    def union(self, other: Halo) -> Halo:
        return Halo(*map(max, self, other))


NO_HALO = Halo()
Planes = tuple[int, int, int, int]
"""Sizes in ONNX's order: N, C, H, W."""


@dataclass(frozen=True)
class Blocked:
    """float32, or integers: [batch, channels / block, height + halo, width + halo, block].

    Channels beyond the last that make up a whole block hold anything: no kernel lets one channel depend on them.
    """

    batch: int
    channels: int
    height: int
    width: int
    block: int
    halo: Halo = NO_HALO
    integers: Integers | None = None
    """What the numbers lie there as, if not as float32."""

    @property
    def dtype(self) -> str:
        return self.integers.dtype if self.integers else "float32"

    @property
    def blocks(self) -> int:
        return -(-self.channels // self.block)

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        top, left, bottom, right = self.halo
        return self.batch, self.blocks, self.height + top + bottom, self.width + left + right, self.block

    @property
    def logical(self) -> Planes:
        """Without blocks and halo."""
        return self.batch, self.channels, self.height, self.width

    @property
    def size(self) -> int:
        """Numbers without the halo."""
        return self.batch * self.blocks * self.height * self.width * self.block

    def place(self, image: object, block: object, y: object, x: object, lane: object = 0) -> tuple[object, ...]:
        """Index of a pixel of the plane in the buffer; `y` and `x` may lie in the halo."""
        return image, block, _plus(y, self.halo.top), _plus(x, self.halo.left), lane

    @property
    def view(self) -> View | None:
        """The planes as ONNX orders them, in this memory; None where channels fill no whole blocks."""
        if self.channels % self.block:
            return None
        top, left, bottom, right = self.halo
        row = (left + self.width + right) * self.block
        plane = (top + self.height + bottom) * row
        image = ((self.batch, plane * self.blocks),)
        channel = ((self.blocks, plane), (self.block, 1))
        return View(top * row + left * self.block, tuple(map(axis_of, (
            image, channel, ((self.height, row),), ((self.width, self.block),)
        ))))  # fmt: skip

    def read(
        self, simd: Simd, buffer: Any, image: object, block: object, y: object, x: object, lane: object = 0
    ) -> Any:
        """A vector of channels as float32; of integers, before their scale."""
        value = simd.load(buffer, *self.place(image, block, y, x, lane))
        return self.integers.to_numbers(simd, value) if self.integers else value

    def with_halo(self, halo: Halo) -> Blocked:
        return replace(self, halo=halo)

    def flat(self) -> Blocked:
        """The same memory as a single row; only without a halo."""
        assert self.halo == NO_HALO
        return replace(self, height=1, width=self.height * self.width)


@dataclass(frozen=True)
class Window:
    """What slides over a plane, by axis (vertical, horizontal); `pads` are ONNX's: top, left, bottom, right."""

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def reach(self, source: tuple[int, int], target: tuple[int, int]) -> Halo:
        """How far beyond a plane of size `source` the windows of `target` outputs go."""
        last = [
            (count - 1) * stride + (kernel - 1) * dilation - pad - (size - 1)
            for size, count, stride, kernel, dilation, pad in zip(
                source, target, self.strides, self.kernel, self.dilations, self.pads[:2], strict=True
            )
        ]
        return Halo(self.pads[0], self.pads[1], max(0, last[0]), max(0, last[1]))

    def along(self, axis: int, place: Any) -> list[Any]:
        """The rows (axis 0) or columns (1) under the window of an output's row or column."""
        first, step = place * self.strides[axis] - self.pads[axis], self.dilations[axis]
        return [first + tap * step for tap in range(self.kernel[axis])]

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def pointwise(self) -> bool:
        """Does every output look at the input in its own place alone?"""
        return self.kernel == (1, 1) and self.strides == (1, 1) and not any(self.pads)


def window_of(kernel: tuple[int, ...], attrs: Any) -> Window:
    """The window of a convolution or a pool, from the attributes of Relax."""
    strides, dilations = (tuple(int(size) for size in sizes) for sizes in (attrs.strides, attrs.dilation))
    pads = tuple(int(size) for size in attrs.padding)
    return Window(kernel, strides, dilations, pads if len(pads) == 4 else pads * 2)  # type: ignore[arg-type]


def _plus(index: object, offset: int) -> object:
    return index + offset if offset else index  # type: ignore[operator]
