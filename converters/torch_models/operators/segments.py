"""Reductions of runs of rows whose lengths are data: each row is compared with each run's ends."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten


@decomposes(aten.segment_reduce.default, tolerance=2e-6, normwise=True)
def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Any:
    """`lengths` [... x segments], or `offsets` with one more, the last one's end; `axis` is the last one of theirs."""
    if lengths is None and offsets is None:
        return NotImplemented
    if offsets is None:
        assert lengths is not None
        ends = lengths.cumsum(-1)
        starts = ends - lengths
    else:
        starts, ends = offsets[..., :-1], offsets[..., 1:]
    row = torch.arange(data.shape[axis], device=data.device)
    inside = torch.logical_and(row >= starts[..., None], row < ends[..., None])
    inside = inside.reshape(*inside.shape, *[1] * (data.ndim - axis - 1))
    rows = data.unsqueeze(axis)
    own = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "max": -torch.inf, "min": torch.inf}[reduce]
    kept = torch.where(inside, rows, torch.full((), own, dtype=data.dtype, device=data.device))
    along = axis + 1
    if reduce == "prod":
        found = kept.prod(along)
        return found if initial is None else found * initial
    if reduce in ("max", "min"):
        found = kept.amax(along) if reduce == "max" else kept.amin(along)
        if initial is None:
            return found
        return found.clamp(min=initial) if reduce == "max" else found.clamp(max=initial)
    found = kept.sum(along) + (initial or 0.0)
    if reduce == "sum":
        return found
    count = (ends - starts).reshape(*ends.shape, *[1] * (data.ndim - axis - 1)).to(data.dtype)
    none = torch.full((), torch.nan if initial is None else initial, dtype=data.dtype, device=data.device)
    return torch.where(count > 0, found / count.clamp(min=1), none)
