"""Writing at positions, with every reduction."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

NEUTRAL = {"sum": 0, "mean": 0, "prod": 1}


def _neutral(reduce: str, dtype: torch.dtype) -> Any:
    """What a reduction leaves as it is."""
    if reduce in NEUTRAL:
        return NEUTRAL[reduce]
    if dtype.is_floating_point:
        return -torch.inf if reduce == "amax" else torch.inf
    limits = torch.iinfo(dtype)
    return limits.min if reduce == "amax" else limits.max


def _indexed(src: Tensor, index: Tensor) -> Tensor:
    """As much of the source as has an index."""
    for axis, (size, wanted) in enumerate(zip(src.shape, index.shape, strict=True)):
        if not statically_known_true(size == wanted):
            src = src.narrow(axis, 0, wanted)
    return src


@decomposes(aten.scatter.src)
def scatter(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """With a source that is larger than the index."""
    own = _indexed(src, index)
    return NotImplemented if own is src else x.scatter(dim, index, own)


@decomposes(aten.scatter_add.default, tolerance=2e-6)
def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """With a source that is larger than the index; of single numbers."""
    if x.ndim == 0:
        return x.reshape(1).scatter_add(0, index.reshape(-1), src.reshape(-1)).reshape(())
    own = _indexed(src, index)
    return NotImplemented if own is src else x.scatter_add(dim, index, own)


@decomposes(aten.scatter_reduce.two, tolerance=2e-6)
def scatter_reduce(
    x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Where the old values don't count, the reduction's neutral element is written over them first. A mean is a sum over a
    count, which is rounded down for integers.
    """
    if x.ndim == 0:
        dim = 0
        shaped = scatter_reduce(
            x.reshape(1), dim, index.reshape(-1), src.reshape(-1), reduce, include_self=include_self
        )
        return shaped.reshape(())
    own = _indexed(src, index)
    if reduce != "mean" and include_self and own is src:
        return NotImplemented  # type: ignore[no-any-return]
    src = own
    start = x if include_self else x.scatter(dim, index, _neutral(reduce, x.dtype))
    if reduce != "mean":
        return aten.scatter_reduce.two(start, dim, index, src, reduce)  # type: ignore[no-any-return]
    total = start.scatter_add(dim, index, src)
    count = torch.full_like(x, 1 if include_self else 0).scatter_add(dim, index, torch.ones_like(src))
    count = count.clamp(min=1)
    return total / count if x.dtype.is_floating_point else total.div(count, rounding_mode="floor")


@decomposes(aten.index_reduce.default, tolerance=2e-6)
def index_reduce(
    x: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """One index for a whole slice."""
    if x.ndim == 0:
        return index_reduce(
            x.reshape(1), 0, index.reshape(-1), source.reshape(-1), reduce, include_self=include_self
        ).reshape(())
    shape = [1] * x.ndim
    shape[dim] = -1
    positions = index.to(torch.int64).reshape(shape).expand(source.shape)
    return torch.scatter_reduce(x, dim, positions, source, reduce, include_self=include_self)


@decomposes(aten.scatter.reduce, tolerance=2e-6)
def scatter_with_reduction(x: Tensor, dim: int, index: Tensor, src: Tensor, *, reduce: str) -> Tensor:
    """The older spelling: `add` or `multiply`."""
    return torch.scatter_reduce(x, dim, index, src, {"add": "sum", "multiply": "prod"}[reduce])


@decomposes(aten.scatter.value_reduce, tolerance=2e-6)
def scatter_value_with_reduction(x: Tensor, dim: int, index: Tensor, value: float, *, reduce: str) -> Tensor:
    """One number for all positions."""
    src = torch.full(index.shape, value, dtype=x.dtype, device=x.device)
    return torch.scatter_reduce(x, dim, index, src, {"add": "sum", "multiply": "prod"}[reduce])


@decomposes(aten.put.default, tolerance=2e-6)
def put(x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Positions count through all elements, from the end where they are negative."""
    flat, places = x.reshape(-1), index.reshape(-1)
    places = torch.where(places < 0, places + flat.shape[0], places)
    values = source.reshape(-1)
    written = flat.scatter_add(0, places, values) if accumulate else flat.scatter(0, places, values)
    return written.reshape(x.shape)
