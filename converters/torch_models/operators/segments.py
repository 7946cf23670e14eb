"""Reductions of runs of rows whose lengths are data: each row is compared with each run's ends."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

MOST_MASKED = 1 << 24
"""Elements of all rows, once for each bag, that are masked out; above, bags are a product with a matrix of ones and zeros."""


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


@decomposes(
    aten.embedding_bag.padding_idx,
    aten._embedding_bag.default,
    aten._embedding_bag_forward_only.default,
    tolerance=2e-6,
    normwise=True,
)
def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """Bags of rows of `weight` [rows x size], one a bag: their sum (mode 0), mean (1) or maximum (2); of an empty one zeros. What
    only a gradient is computed from is left at zero.
    """
    place = torch.arange(indices.shape[0], device=indices.device)
    end = torch.full((1,), indices.shape[0], dtype=offsets.dtype, device=offsets.device)
    limits = offsets if include_last_offset else torch.cat([offsets, end])
    starts, ends = limits[:-1, None], limits[1:, None]
    inside = torch.logical_and(place >= starts, place < ends)
    if padding_idx is not None and padding_idx >= 0:
        inside = torch.logical_and(inside, indices != padding_idx)
    rows = weight[indices]
    if mode == 2:
        lowest = torch.full((), -torch.inf, dtype=rows.dtype, device=rows.device)
        found = torch.where(inside[..., None], rows, lowest).amax(1)
        found = torch.where(inside.any(1)[:, None], found, torch.zeros_like(found))
    else:
        shares = inside.to(rows.dtype)
        weighted = rows if per_sample_weights is None else rows * per_sample_weights[:, None]
        if statically_known_true(starts.shape[0] * rows.numel() <= MOST_MASKED):
            found = torch.where(inside[..., None], weighted, torch.zeros_like(weighted)).sum(1)
        else:
            found = shares @ weighted  # an infinite row of another bag is not a number here
        if mode == 1:
            found = found / shares.sum(1, keepdim=True).clamp(min=1)
    return found, torch.zeros_like(indices), torch.zeros_like(starts[:, 0]), torch.zeros_like(starts[:, 0])
