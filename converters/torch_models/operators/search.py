"""Where numbers fall among sorted ones, how often they occur, and which of them are distinct."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes
from enginesmith.converters.torch_models.operators.sizes import most

aten = torch.ops.aten

COMPARED = 64
"""Up to so many sorted elements each number is compared with each of them; above, the interval is halved step by step."""


def _right(right: bool, side: str | None) -> bool:
    return right or side == "right"


@decomposes(aten.searchsorted.Tensor)
def searchsorted(
    sorted_sequence: Tensor,
    x: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """How many elements stand before each number. `sorted_sequence` is [... x] n, `x` of any shape, or ... x m."""
    if sorter is not None:
        sorted_sequence = sorted_sequence.gather(-1, sorter)
    kind = torch.promote_types(sorted_sequence.dtype, x.dtype)
    ordered, sought = sorted_sequence.to(kind), x.to(kind)
    if ordered.ndim == 1:
        ordered = ordered.reshape(*[1] * (x.ndim - 1), -1)
    flat = sought.reshape(1) if x.ndim == 0 else sought
    size, after = ordered.shape[-1], _right(right, side)
    if most(size) <= COMPARED:
        element, number = ordered[..., None, :], flat[..., :, None]
        # not the other comparison: NaN comes after all
        found = torch.logical_not(element > number if after else element >= number).sum(-1)
    else:
        found = _halved(ordered.expand(*flat.shape[:-1], size), flat, after)
    return found.reshape(x.shape).to(torch.int32 if out_int32 else torch.int64)


def _halved(ordered: Tensor, numbers: Tensor, after: bool) -> Tensor:
    """Binary search: what is sought lies in [low, low + rest]."""
    size = ordered.shape[-1]
    low = torch.zeros_like(numbers, dtype=torch.int64)
    high = low + size
    for _ in range(most(size).bit_length()):
        middle = (low + high) // 2
        element = ordered.gather(-1, middle.clamp(max=size - 1))
        before = torch.logical_and(torch.logical_not(element > numbers if after else element >= numbers), middle < high)
        low, high = torch.where(before, middle + 1, low), torch.where(before, high, middle)
    return low


@decomposes(aten.searchsorted.Scalar)
def searchsorted_scalar(
    sorted_sequence: Tensor,
    number: float,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """One number's place."""
    x = sorted_sequence.new_full((), number)
    return torch.searchsorted(sorted_sequence, x, out_int32=out_int32, right=_right(right, side), sorter=sorter)


@decomposes(aten.bucketize.Tensor)
def bucketize(x: Tensor, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The other way round."""
    return torch.searchsorted(boundaries, x, out_int32=out_int32, right=right)


@decomposes(aten.bucketize.Scalar)
def bucketize_scalar(number: float, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """One number's bucket."""
    return torch.searchsorted(boundaries, number, out_int32=out_int32, right=right)


def _counts(x: Tensor, edges: Tensor, weight: Tensor | None, kind: torch.dtype) -> Tensor:
    """Of each interval between two edges; the last one has its upper edge too."""
    x = x.reshape(-1)
    bins = edges.shape[0] - 1
    bucket = torch.searchsorted(edges, x, right=True) - 1
    bucket = torch.where(x == edges[-1], bins - 1, bucket)
    inside = torch.logical_and(x >= edges[0], x <= edges[-1])
    weights = torch.ones_like(x, dtype=kind) if weight is None else weight.reshape(-1).to(kind)
    weights = torch.where(inside, weights, torch.zeros_like(weights))
    place = torch.where(inside, bucket, torch.zeros_like(bucket))
    return torch.zeros(bins, dtype=kind, device=x.device).scatter_add(0, place, weights)


def _edges(x: Tensor, bins: int, low: Tensor, high: Tensor) -> Tensor:
    equal = low == high
    low, high = torch.where(equal, low - 0.5, low), torch.where(equal, high + 0.5, high)
    number = torch.arange(bins + 1, device=x.device).to(x.dtype)
    # from each end to the middle, so that both ends are met exactly, as torch.linspace has it
    step = (high - low) / bins
    return torch.where(number < (bins + 1) // 2, low + step * number, high - step * (bins - number))


@decomposes(aten.isin.Tensor_Tensor)
def isin(elements: Tensor, test_elements: Tensor, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Each element compared with each that is looked for; PyTorch's own way sorts them."""
    found = (elements[..., None] == test_elements.reshape(-1)).any(-1)
    return torch.logical_not(found) if invert else found


@decomposes(aten.histc.default)
def histc(x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Between the extremes of the data where both limits are 0."""
    flat = x.reshape(-1)
    low, high = torch.full_like(flat[:1], min)[0], torch.full_like(flat[:1], max)[0]
    if min == max:
        low, high = flat.amin(), flat.amax()
    equal = low == high
    low, high = torch.where(equal, low - 1, low), torch.where(equal, high + 1, high)
    # the bin by its number, as PyTorch computes it, not by the edges, which are rounded
    place = ((flat - low) / (high - low) * bins).to(torch.int64).clamp(0, bins - 1)
    inside = torch.logical_and(flat >= low, flat <= high)
    place = torch.where(inside, place, torch.zeros_like(place))
    return torch.zeros(bins, dtype=x.dtype, device=x.device).scatter_add(0, place, inside.to(x.dtype))


def _density(counts: Tensor, edges: Tensor, density: bool) -> Tensor:
    return counts / counts.sum() / (edges[1:] - edges[:-1]) if density else counts


@decomposes(aten.histogram.bins_tensor, tolerance=1e-6)
def histogram(x: Tensor, bins: Tensor, *, weight: Tensor | None = None, density: bool = False) -> tuple[Tensor, Tensor]:
    """Between given edges."""
    return _density(_counts(x, bins, weight, x.dtype), bins, density), bins.clone()


@decomposes(aten.histogram.bin_ct, tolerance=1e-6)
def histogram_of_equal_bins(
    x: Tensor,
    bins: int = 100,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> tuple[Tensor, Tensor]:
    """Between the extremes of the data where no range is given."""
    flat = x.reshape(-1)
    low, high = flat.amin(), flat.amax()
    if range is not None:
        low, high = torch.full_like(low, range[0]), torch.full_like(high, range[1])
    edges = _edges(x, bins, low, high)
    return _density(_counts(x, edges, weight, x.dtype), edges, density), edges


@decomposes(aten.bincount.default, tolerance=1e-6, normwise=True)
def bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """As long as the greatest number asks for, which a graph can't bound: `minlength` where it is more."""
    length: Any = x.amax().item() + 1
    torch._check(length >= 1)
    size: Any = torch.sym_max(length, minlength)
    counted = torch.ones_like(x) if weights is None else weights.to(torch.promote_types(weights.dtype, torch.float32))
    total = torch.zeros(size, dtype=counted.dtype, device=x.device)
    return total.scatter_add(0, x.to(torch.int64), counted)


@decomposes(aten._unique2.default)
def unique(
    x: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The sorted elements that differ from the one before."""
    ordered, places = torch.sort(x.reshape(-1), stable=True)
    values, number, counts = _runs(ordered, ordered[1:] != ordered[:-1])
    back = torch.zeros_like(number).scatter(0, places, number)
    return values, back.reshape(x.shape), counts


@decomposes(aten.unique_consecutive.default)
def unique_consecutive(
    x: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The elements, or slices along `dim`, that differ from the one before."""
    rows = x.reshape(-1) if dim is None else x.movedim(dim, 0)
    differ = (rows[1:] != rows[:-1]).flatten(1).any(1) if rows.ndim > 1 else rows[1:] != rows[:-1]
    values, number, counts = _runs(rows, differ)
    return (values, number.reshape(x.shape), counts) if dim is None else (values.movedim(0, dim), number, counts)


@decomposes(aten.unique_dim.default)
def unique_dim(
    x: Tensor, dim: int, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Slices along `dim`, sorted by their elements in turn: each one compared with each one, its place is the number of those
    before it.
    """
    rows = x.movedim(dim, 0)
    flat = rows.flatten(1) if rows.ndim > 1 else rows[:, None]
    differ = flat[:, None, :] != flat[None, :, :]
    first = differ.to(torch.int64).argmax(-1, keepdim=True)
    size = flat.shape[0]
    mine = flat[:, None, :].expand(size, size, -1).gather(2, first).squeeze(-1)
    others = flat[None, :, :].expand(size, size, -1).gather(2, first).squeeze(-1)
    number = torch.arange(size, device=x.device)
    equal = torch.logical_and(mine == others, number[:, None] > number[None, :])
    rank = torch.logical_or(mine > others, equal).sum(1)
    order = torch.zeros_like(rank).scatter(0, rank, number)
    ordered = rows.index_select(0, order)
    compared = flat.index_select(0, order)
    values, run, counts = _runs(ordered, (compared[1:] != compared[:-1]).any(1))
    return values.movedim(0, dim), run.index_select(0, rank), counts


def _runs(rows: Tensor, differ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first of each run of equal rows, each row's run, and the length of each run: all by one selection of rows, which has a
    bound where a graph needs one.
    """
    new = torch.cat([differ.new_ones(1), differ])[: rows.shape[0]]
    start = new.nonzero().squeeze(1)
    number = new.to(torch.int64).cumsum(0) - 1
    lengths = torch.zeros_like(number).scatter_add(0, number, torch.ones_like(number))
    return rows.index_select(0, start), number, lengths.index_select(0, number.index_select(0, start))


@decomposes(aten.nonzero_static.default)
def nonzero_static(x: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The first `size` places, and after the last one rows of `fill_value`."""
    if x.ndim == 0:
        return torch.zeros((size, 0), dtype=torch.int64, device=x.device)
    found = x.nonzero()
    rest = torch.full((size, x.ndim), fill_value, dtype=found.dtype, device=x.device)
    return torch.cat([found, rest]).narrow(0, 0, size)


@decomposes(aten.repeat_interleave.Tensor)
def repeat_interleave(repeats: Tensor, *, output_size: int | None = None) -> Any:
    """Which element stands at each place, where their number is told."""
    if output_size is None:
        return NotImplemented
    places = torch.arange(output_size, device=repeats.device)
    return searchsorted(repeats.to(torch.int64).cumsum(0), places, right=True).to(repeats.dtype)
