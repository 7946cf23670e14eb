"""Running extremes, products and sums of exponentials.

Source: Hillis and Steele, "Data parallel algorithms", 1986: after step k, each place holds the result over the 2^(k + 1)
elements that end there, so that `log2` of the length's bound steps do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes
from enginesmith.converters.torch_models.operators.sizes import most

aten = torch.ops.aten

Parts = list[Tensor]


def running(
    parts: Sequence[Tensor], neutral: Sequence[Any], dim: int, combine: Callable[[Parts, Parts], Parts]
) -> list[Tensor]:
    """What an associative function gives over all elements up to each one; `neutral` combined with anything changes
    nothing. An element is a tuple of numbers, one of each part.
    """
    found = list(parts)
    size = found[0].shape[dim]
    reach, length = 1, most(size)
    while reach < length:
        earlier = []
        for part, value in zip(found, neutral, strict=True):
            front = list(part.shape)
            front[dim] = reach
            shifted = torch.cat([torch.full(front, value, dtype=part.dtype, device=part.device), part], dim)
            earlier.append(shifted.narrow(dim, 0, size))
        found = combine(earlier, found)
        reach *= 2
    return found


def _extreme(x: Tensor, dim: int, sign: int) -> tuple[Tensor, Tensor]:
    """The last of equal elements counts, and the last NaN for all that follow it."""
    if x.ndim == 0:
        return x.clone(), torch.zeros_like(x, dtype=torch.int64)
    dim %= x.ndim
    kind = x.dtype
    if kind == torch.bool:
        x = x.to(torch.uint8)
    if x.dtype.is_floating_point:
        least: Any = -sign * torch.inf
    else:
        limits = torch.iinfo(x.dtype)
        least = limits.min if sign > 0 else limits.max
    shape = [1] * x.ndim
    shape[dim] = -1
    place = torch.arange(x.shape[dim], device=x.device).reshape(shape).expand(x.shape)

    def later(old: Parts, new: Parts) -> Parts:
        better = new[0] >= old[0] if sign > 0 else new[0] <= old[0]
        if x.dtype.is_floating_point:
            better = torch.logical_or(
                torch.isnan(new[0]), torch.logical_and(better, torch.logical_not(torch.isnan(old[0])))
            )
        return [torch.where(better, late, early) for early, late in zip(old, new, strict=True)]

    values, places = running([x, place], [least, 0], dim, later)
    return values.to(kind), places.clone() if places is place else places


@decomposes(aten.cummax.default)
def cummax(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The greatest element so far, and its place."""
    return _extreme(x, dim, 1)


@decomposes(aten.cummin.default)
def cummin(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The least element so far, and its place."""
    return _extreme(x, dim, -1)


@decomposes(aten.cumprod.default, tolerance=2e-6)
def cumprod(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """The error is that of another order of factors, some `log2` of the length roundings."""
    if dtype is not None:
        x = x.to(dtype)
    elif not x.dtype.is_floating_point:
        x = x.to(torch.int64)
    if x.ndim == 0:
        return x.clone()
    return running([x], [1], dim % x.ndim, lambda old, new: [old[0] * new[0]])[0].clone()


@decomposes(aten.logcumsumexp.default, tolerance=4e-6, normwise=True)
def logcumsumexp(x: Tensor, dim: int) -> Tensor:
    """By sums of two at a time, each relative to its greater part, so that nothing overflows or is lost beside a later one."""
    if x.ndim == 0:
        return x.clone()

    def joined(old: Parts, new: Parts) -> Parts:
        high, low = torch.maximum(old[0], new[0]), torch.minimum(old[0], new[0])
        gap = torch.where(high == low, torch.zeros_like(high), low - high)  # of two infinities
        return [high + torch.log1p(torch.exp(gap))]

    return running([x], [-torch.inf], dim % x.ndim, joined)[0].clone()
