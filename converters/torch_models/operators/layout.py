"""Tensors moved about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten


@decomposes(aten.roll.default)
def roll(x: Tensor, shifts: Sequence[Any], dims: Sequence[int] = ()) -> Any:
    """By as much as is known at run time only, as half of a dynamic size is: two slices, joined the other way round."""
    if all(isinstance(shift, int) for shift in shifts):
        return NotImplemented
    if not dims:
        return roll(x.flatten(), shifts, [0]).view(x.shape)
    for shift, dim in zip(shifts, dims, strict=True):
        size = x.shape[dim]
        cut = (size - shift) % size
        x = torch.cat([x.narrow(dim, cut, size - cut), x.narrow(dim, 0, cut)], dim)
    return x


@decomposes(aten.diagonal.default)
def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Chosen from both axes in one. The exporter multiplies by ones and zeros, and adds: an infinity beside the diagonal, times
    zero, is NaN."""
    whole = x.movedim((dim1, dim2), (-2, -1))
    rows, columns = whole.shape[-2:]
    below, right = max(0, -offset), max(0, offset)
    length = torch.sym_max(0, torch.sym_min(rows - below, columns - right))
    place = torch.arange(length, device=x.device) * (columns + 1) + (below * columns + right)
    return whole.reshape(*whole.shape[:-2], rows * columns).index_select(-1, place)


@decomposes(aten.diagonal_scatter.default)
def diagonal_scatter(x: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The source spread along the rows, and chosen where row and column meet on the diagonal."""
    whole = x.movedim((dim1, dim2), (-2, -1))
    row = torch.arange(whole.shape[-2], device=x.device)
    column = torch.arange(whole.shape[-1], device=x.device)
    place = (row - max(0, -offset)).clamp(0, src.shape[-1] - 1)
    spread = src.index_select(-1, place)[..., None]
    written = torch.where(row[:, None] + offset == column, spread.to(x.dtype), whole)
    return written.movedim((-2, -1), (dim1, dim2)).contiguous()


@decomposes(aten.as_strided_scatter.default, torch.ops.prims.as_strided_scatter.default)
def as_strided_scatter(
    x: Tensor, src: Tensor, size: Sequence[Any], stride: Sequence[Any], storage_offset: Any = 0
) -> Tensor:
    """As `fill_diagonal_` writes into a tensor, whose elements lie one after the other."""
    place = torch.zeros((), dtype=torch.int64, device=x.device) + (storage_offset or 0)
    for count, step in zip(size, stride, strict=True):
        place = place[..., None] + torch.arange(count, device=x.device) * step
    return x.reshape(-1).scatter(0, place.reshape(-1), src.reshape(-1).to(x.dtype)).reshape(x.shape)


@decomposes(aten.squeeze.dims)
def squeeze(x: Tensor, dim: Sequence[int]) -> Any:
    """Of no axis: the tensor as it is."""
    return NotImplemented if dim else x.clone()
