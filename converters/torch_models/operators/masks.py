"""Assignment through boolean masks, without a size that depends on the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten


@decomposes(aten.index_put.default, aten._unsafe_index_put.default)
def index_put(x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    """Through one mask: the values where it is true. Values that are listed, one for each place that the mask selects, are
    brought there by the number of selected places before it.
    """
    given = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if len(given) != 1 or given[0][1].dtype not in (torch.bool, torch.uint8):
        return NotImplemented  # type: ignore[no-any-return]
    before, mask = given[0]
    after = x.ndim - before - mask.ndim
    mask = mask.to(torch.bool)
    if values.ndim > after:
        places = values.ndim - after - 1
        if statically_known_true(values.shape[places] == 1):
            values = values.squeeze(places)
        else:
            values = _placed(mask, values, places)
            places += mask.ndim - 1
            return _chosen(x, mask, values, after, accumulate)
        leading = values.shape[:places]
        values = values.reshape(*leading, *[1] * mask.ndim, *values.shape[places:])
    return _chosen(x, mask, values, after, accumulate)


def _chosen(x: Tensor, mask: Tensor, values: Tensor, after: int, accumulate: bool) -> Tensor:
    mask = mask.reshape(*mask.shape, *[1] * after)
    return torch.where(mask, x + values if accumulate else values, x)


def _placed(mask: Tensor, values: Tensor, axis: int) -> Tensor:
    """`values` has along `axis` one entry for each true place of `mask`, in order: in its stead the mask's axes, with each
    entry at its place. There may be none.
    """
    number = (mask.reshape(-1).to(torch.int64).cumsum(0) - 1).clamp(min=0)
    one = [*values.shape[:axis], 1, *values.shape[axis + 1 :]]
    values = torch.cat([values, values.new_zeros(one)], axis)  # so that there is something to read
    placed = values.index_select(axis, number)
    return placed.reshape(*placed.shape[:axis], *mask.shape, *placed.shape[axis + 1 :])


@decomposes(aten.masked_scatter.default)
def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The source's elements in order, at the places that the mask selects; whole rows where the mask is the same along a row."""
    if mask.ndim > x.ndim:
        x = x.expand(torch.broadcast_shapes(x.shape, mask.shape))
    mask = mask.reshape(*[1] * (x.ndim - mask.ndim), *mask.shape)
    shared = 0
    while shared < x.ndim and (statically_known_true(mask.shape[-1 - shared] == 1) or mask.stride(-1 - shared) == 0):
        shared += 1
    row = x.shape[x.ndim - shared :]
    if source.ndim < shared or tuple(source.shape[source.ndim - shared :]) != tuple(row):
        shared, row = 0, x.shape[:0]
    lead: tuple[Any, ...] = (Ellipsis, *[0] * shared)
    rows = mask[lead].expand(x.shape[: x.ndim - shared])
    placed = _placed(rows, source.reshape(-1, math.prod(row)), 0).reshape(*rows.shape, *row)
    return torch.where(rows.reshape(*rows.shape, *[1] * shared), placed, x)
