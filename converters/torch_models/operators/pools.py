"""Pools whose windows differ in size, and their way back.

Windows of adaptive pools are those of PyTorch: of `n` elements, window `i` of `m` begins at `floor(i n / m)` and ends
before `ceil((i + 1) n / m)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

from enginesmith.converters.torch_models.operators.registry import decomposes
from enginesmith.converters.torch_models.operators.sizes import Size, least, most, static

aten = torch.ops.aten


def _same(size: Size, windows: Size) -> tuple[int, int] | None:
    """Kernel and stride, where all windows have one size and begin at equal distances."""
    if not static(size) or not static(windows):
        return None
    size, windows = int(size), int(windows)
    if windows == 1:
        return size, 1
    starts = [i * size // windows for i in range(windows)]
    widths = {-(-(i + 1) * size // windows) - start for i, start in enumerate(starts)}
    steps = {later - earlier for earlier, later in pairwise(starts)}
    return (widths.pop(), steps.pop()) if len(widths) == len(steps) == 1 and min(steps) > 0 else None


@dataclass(frozen=True)
class _Windows:
    """Along one axis: `places` is windows x longest, a window's elements (the last one again beyond its end); `inside` says
    which of them belong to it; `width` has their number.
    """

    places: Tensor
    inside: Tensor
    width: Tensor

    @classmethod
    def of(cls, size: Size, windows: Size, device: torch.device) -> _Windows:
        number = torch.arange(windows, device=device)
        start = number * size // windows
        end = ((number + 1) * size + (windows - 1)) // windows
        longest = min(-(-most(size) // least(windows)) + 1, most(size))
        places = start[:, None] + torch.arange(longest, device=device)
        return cls(torch.minimum(places, end[:, None] - 1), places < end[:, None], end - start)

    def read(self, x: Tensor, dim: int, beyond: float) -> Tensor:
        """`x` with the axes of windows and their elements in the place of axis `dim`; `beyond` is read beyond a window's end."""
        read = x.index_select(dim, self.places.reshape(-1))
        read = read.reshape(*x.shape[:dim], *self.places.shape, *x.shape[dim + 1 :])
        inside = self.inside.reshape(*self.inside.shape, *[1] * (x.ndim - dim - 1))
        return torch.where(inside, read, torch.full_like(read, beyond))


def _wanted(x: Tensor, output_size: int | Sequence[int | None], rank: int) -> list[Size]:
    given = [output_size] * rank if isinstance(output_size, int) else list(output_size)
    return [x.shape[axis - rank] if size is None else size for axis, size in enumerate(given)]


def _pool(x: Tensor, wanted: Sequence[Size], pools: Sequence[Any], **options: Any) -> Any:
    """One of torch's pools, where all windows have one size and begin at equal distances."""
    rank = len(wanted)
    same = [_same(x.shape[axis - rank], size) for axis, size in enumerate(wanted)]
    if not all(same):
        return None
    kernel, stride = zip(*(each for each in same if each), strict=True)
    return pools[rank - 1](x, kernel, stride, **options)


def _mean(x: Tensor, output_size: int | Sequence[int | None], rank: int) -> Tensor:
    """Axis by axis, which is the mean over each window: all its rows have the same length."""
    wanted = _wanted(x, output_size, rank)
    if all(statically_known_true(windows == 1) for windows in wanted):
        # A window as large as the plane is the harder thing to engines.
        return x.mean(list(range(-rank, 0)), keepdim=True)
    pooled: Tensor | None = _pool(x, wanted, (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d))
    if pooled is not None:
        return pooled
    for axis, windows in enumerate(wanted):
        dim = x.ndim - rank + axis
        if statically_known_true(windows == 1):
            x = x.mean(dim, keepdim=True)
        elif not statically_known_true(windows == x.shape[dim]):
            along = _Windows.of(x.shape[dim], windows, x.device)
            width = along.width.reshape(-1, *[1] * (x.ndim - dim - 1))
            x = along.read(x, dim, 0.0).sum(dim + 1) / width.to(x.dtype)
    return x


@decomposes(aten.adaptive_avg_pool1d.default, tolerance=1e-6, normwise=True)
def adaptive_avg_pool1d(x: Tensor, output_size: Sequence[int]) -> Tensor:
    """`x` is [N x] C x L."""
    return _mean(x, output_size, 1)


@decomposes(aten.adaptive_avg_pool2d.default, aten._adaptive_avg_pool2d.default, tolerance=1e-6, normwise=True)
def adaptive_avg_pool2d(x: Tensor, output_size: Sequence[int]) -> Tensor:
    """`x` is [N x] C x H x W."""
    return _mean(x, output_size, 2)


@decomposes(aten.adaptive_avg_pool3d.default, aten._adaptive_avg_pool3d.default, tolerance=1e-6, normwise=True)
def adaptive_avg_pool3d(x: Tensor, output_size: Sequence[int]) -> Tensor:
    """`x` is [N x] C x D x H x W."""
    return _mean(x, output_size, 3)


def _first_best(read: Tensor, places: Tensor) -> Tensor:
    """The place of the greatest element of each window, the first of equals, NaN before all; windows are the last axis."""
    best = torch.logical_or(torch.isnan(read), read == read.amax(-1, keepdim=True)).to(torch.int64).argmax(-1, True)
    return places.expand(read.shape).gather(-1, best).squeeze(-1)


def _greatest(x: Tensor, output_size: int | Sequence[int | None], rank: int) -> tuple[Tensor, Tensor]:
    """Values axis by axis; places among all elements of a window at once, for a graph that asks for them."""
    wanted = _wanted(x, output_size, rank)
    pooled = _pool(x, wanted, (F.max_pool1d, F.max_pool2d, F.max_pool3d), return_indices=True)
    if pooled is not None:
        return pooled  # type: ignore[no-any-return]
    sizes, leading = x.shape[x.ndim - rank :], x.shape[: x.ndim - rank]
    values, read = x, x.reshape(*leading, -1)
    places = torch.zeros([1, 1], dtype=torch.int64, device=x.device)
    inside = torch.ones([1, 1], dtype=torch.bool, device=x.device)
    for axis, (size, windows) in enumerate(zip(sizes, wanted, strict=True)):
        dim = len(leading) + axis
        along = _Windows.of(size, windows, x.device)
        values = along.read(values, dim, -torch.inf).amax(dim + 1)
        places = (places[:, None, :, None] * size + along.places[None, :, None, :]).flatten(2).flatten(0, 1)
        inside = torch.logical_and(inside[:, None, :, None], along.inside[None, :, None, :]).flatten(2).flatten(0, 1)
    read = read.index_select(-1, places.reshape(-1)).reshape(*leading, *places.shape)
    best = _first_best(torch.where(inside, read, torch.full_like(read, -torch.inf)), places)
    return values, best.reshape(*leading, *wanted)


@decomposes(aten.avg_pool2d.default, tolerance=2e-6, normwise=True)
def avg_pool2d(x: Tensor, *window: Any, **named: Any) -> Tensor:
    """`x` is [N x] C x H x W."""
    return _divided(2, x, *window, **named)


@decomposes(aten.avg_pool3d.default, tolerance=2e-6, normwise=True)
def avg_pool3d(x: Tensor, *window: Any, **named: Any) -> Tensor:
    """`x` is [N x] C x D x H x W."""
    return _divided(3, x, *window, **named)


def _divided(
    axes: int,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Sums over a divisor of one's own: means of whole windows, times their size. A last window that `ceil_mode` lets stand out
    has zeros there.
    """
    sizes = x.shape[-axes:]
    if divisor_override is None or (ceil_mode and not all(map(static, sizes))):
        return NotImplemented  # type: ignore[no-any-return]
    kernel, pads = _each(kernel_size, axes), _each(padding, axes)
    steps = _each(stride, axes) if stride else kernel
    borders: list[int] = []
    for size, width, step, pad in reversed(list(zip(sizes, kernel, steps, pads, strict=True))):
        beyond = pad
        if ceil_mode:
            count = -(-(int(size) + 2 * pad - width) // step) + 1
            count -= (count - 1) * step >= int(size) + pad  # no window begins in the padding
            beyond = max((count - 1) * step + width - int(size) - pad, pad)
        borders += [pad, beyond]
    pool = F.avg_pool2d if axes == 2 else F.avg_pool3d
    return pool(F.pad(x, borders), kernel, steps) * (math.prod(kernel) / divisor_override)


def _each(numbers: Sequence[int], axes: int) -> list[int]:
    return [*numbers] * axes if len(numbers) == 1 else [*numbers]


@decomposes(aten.adaptive_max_pool1d.default)
def adaptive_max_pool1d(x: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """`x` is [N x] C x L; places are in each plane."""
    return _greatest(x, output_size, 1)


@decomposes(aten.adaptive_max_pool2d.default)
def adaptive_max_pool2d(x: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """`x` is [N x] C x H x W; places are in each plane."""
    return _greatest(x, output_size, 2)


@decomposes(aten.adaptive_max_pool3d.default)
def adaptive_max_pool3d(x: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """`x` is [N x] C x D x H x W; places are in each volume."""
    return _greatest(x, output_size, 3)


@decomposes(aten.fractional_max_pool2d.default, aten.fractional_max_pool3d.default)
def fractional_max_pool(
    x: Tensor, kernel_size: Sequence[int], output_size: Sequence[int], random_samples: Tensor
) -> tuple[Tensor, Tensor]:
    """`x` is [N x] C x [D x] H x W, `random_samples` N x C x rank, its last axis in the order of W, H for pictures and D, H, W
    for volumes.

    Window `i` of `m` begins at `trunc((i + u) a) - trunc(u a)`, where `a` is (size - kernel) / (m - 1), the last one at the
    end: Graham, "Fractional max-pooling", 2014, as PyTorch computes it.
    """
    rank = len(kernel_size)
    leading, sizes = x.shape[: x.ndim - rank], x.shape[x.ndim - rank :]
    samples = random_samples.reshape(-1, rank).to(x.dtype)
    planes = samples.shape[0]
    places = torch.zeros([planes, 1, 1], dtype=torch.int64, device=x.device)
    for axis, (size, kernel, windows) in enumerate(zip(sizes, kernel_size, output_size, strict=True)):
        last = torch.full([planes, 1], size - kernel, dtype=torch.int64, device=x.device)
        starts = last
        if windows > 1:
            u = samples[:, rank - 1 - axis if rank == 2 else axis, None]
            step = (size - kernel) / (windows - 1)
            number = torch.arange(windows - 1, device=x.device, dtype=x.dtype)
            starts = torch.cat([((number + u) * step).to(torch.int64) - (u * step).to(torch.int64), last], 1)
        along = starts[..., None] + torch.arange(kernel, device=x.device)
        places = (places[:, :, None, :, None] * size + along[:, None, :, None, :]).flatten(3).flatten(1, 2)
    read = x.reshape(planes, -1).gather(1, places.flatten(1)).reshape(places.shape)
    best = _first_best(read, places)
    return read.amax(-1).reshape(*leading, *output_size), best.reshape(*leading, *output_size)
