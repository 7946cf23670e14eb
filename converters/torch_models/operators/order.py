"""What depends on the order of elements: ranks, medians, the most frequent value."""

from __future__ import annotations

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten


def _given(values: Tensor, places: Tensor, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    return (values.unsqueeze(dim), places.unsqueeze(dim)) if keepdim else (values, places)


def _numbers_first(x: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Sorted along `dim`, the places, and for floats how many are numbers. NaN, which no runtime promises to put last as
    PyTorch does, is sorted as infinity.
    """
    if not x.dtype.is_floating_point:
        return (*torch.sort(x, dim=dim), None)
    missing = torch.isnan(x)
    values, places = torch.sort(torch.where(missing, torch.full_like(x, torch.inf), x), dim=dim)
    return values, places, torch.logical_not(missing).sum(dim)


@decomposes(aten.sort.stable)
def sort(x: Tensor, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """ONNX's TopK is stable, in both directions."""
    values, places = torch.sort(x.to(torch.int32) if x.dtype == torch.bool else x, dim=dim, descending=descending)
    return values.to(x.dtype), places


@decomposes(aten.argsort.stable)
def argsort(x: Tensor, *, stable: bool, dim: int = -1, descending: bool = False) -> Tensor:
    """The places alone."""
    return sort(x, stable=stable, dim=dim, descending=descending)[1]


@decomposes(aten.kthvalue.default)
def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """NaN is greater than all. Of equal elements, the place is that of any of them."""
    if x.ndim == 0:
        return x.clone(), torch.zeros_like(x, dtype=torch.int64)
    values, places, numbers = _numbers_first(x, dim)
    value = values.select(dim, k - 1)
    if numbers is not None:
        value = torch.where(numbers < k, torch.full_like(value, torch.nan), value)
    return _given(value, places.select(dim, k - 1), dim, keepdim)


@decomposes(aten.median.dim)
def median(x: Tensor, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The lower one of an even number; where there is a NaN, the first NaN. Of equal elements, the place of any of them."""
    if x.ndim == 0:
        return x.clone(), torch.zeros_like(x, dtype=torch.int64)
    values, places, numbers = _numbers_first(x, dim)
    middle = (x.shape[dim] - 1) // 2
    value, place = values.select(dim, middle), places.select(dim, middle)
    if numbers is not None:
        lost = numbers < x.shape[dim]
        value = torch.where(lost, torch.full_like(value, torch.nan), value)
        place = torch.where(lost, torch.isnan(x).to(torch.int64).argmax(dim), place)
    return _given(value, place, dim, keepdim)


@decomposes(aten.nanmedian.dim)
def nanmedian(x: Tensor, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The lower one of those that are numbers; NaN where none is. Of equal elements, the place of any of them."""
    if x.ndim == 0:
        return x.clone(), torch.zeros_like(x, dtype=torch.int64)
    values, places, numbers = _numbers_first(x, dim)
    if numbers is None:
        return median(x, dim, keepdim)
    middle = ((numbers - 1).clamp(min=0) // 2).unsqueeze(dim)
    value, place = values.gather(dim, middle).squeeze(dim), places.gather(dim, middle).squeeze(dim)
    return _given(torch.where(numbers == 0, torch.full_like(value, torch.nan), value), place, dim, keepdim)


@decomposes(aten.median.default)
def median_of_all(x: Tensor) -> Tensor:
    """The lower one of an even number of elements."""
    return torch.median(x.reshape(-1), 0).values


@decomposes(aten.nanmedian.default)
def nanmedian_of_all(x: Tensor) -> Tensor:
    """The lower one of an even number of elements that are numbers."""
    return torch.nanmedian(x.reshape(-1), 0).values


@decomposes(aten.mode.default)
def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """Each element compared with each one: the least of the most frequent values, and the last place where it stands."""
    if x.ndim == 0:
        return x.clone(), torch.zeros_like(x, dtype=torch.int64)
    rows = x.movedim(dim, -1)
    same = rows[..., :, None] == rows[..., None, :]
    count = same.sum(-1)
    frequent = count == count.amax(-1, keepdim=True)
    beyond = torch.inf if x.dtype.is_floating_point else torch.iinfo(x.dtype).max
    value = torch.where(frequent, rows, torch.full_like(rows, beyond)).amin(-1)
    number = torch.arange(rows.shape[-1], device=x.device)
    place = torch.where(rows == value[..., None], number, torch.zeros_like(number)).amax(-1)
    return _given(value, place, dim, keepdim)
