"""Distances between rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes
from enginesmith.converters.torch_models.operators.sizes import static

aten = torch.ops.aten

LARGEST = 2**24
"""Differences held at once; more, or as many as nobody knows, of Euclid's distance come from a matrix product."""


def length(difference: Tensor, p: float) -> Tensor:
    """The p-norm of the last dimension."""
    if p == 0:
        return (difference != 0).to(difference.dtype).sum(-1)
    if p == 1:
        return difference.abs().sum(-1)
    if p == 2:
        return difference.square().sum(-1).sqrt()
    if math.isinf(p):
        return difference.abs().amax(-1)
    return difference.abs().pow(p).sum(-1).pow(1 / p)


@decomposes(aten.cdist.default, aten._cdist_forward.default, tolerance=2e-5, normwise=True)
def cdist(x: Tensor, y: Tensor, p: float = 2.0, compute_mode: int | None = None) -> Tensor:
    """Of each of [..., m, k] to each of [..., n, k]. Through a matrix product where PyTorch does so, whose error is relative to
    the rows' lengths, not to their distance: where both would take it, or there are too many differences.
    """
    sizes = [*x.shape, y.shape[-2]]
    few = all(map(static, sizes)) and math.prod(map(int, sizes)) <= LARGEST
    if p == 2 and compute_mode != 2 and not few:
        squares = x.square().sum(-1, keepdim=True) + y.square().sum(-1)[..., None, :]
        return (squares - 2 * (x @ y.mT)).clamp(min=0).sqrt()
    return length(x[..., :, None, :] - y[..., None, :, :], p)


@decomposes(aten.pdist.default, aten._pdist_forward.default, tolerance=2e-6, normwise=True)
def pdist(x: Tensor, p: float = 2.0) -> Tensor:
    """Of each of [m, k] to each that follows it, m being fixed."""
    rows = x.shape[0]
    if not static(rows):
        raise NotImplementedError("pdist of a dynamic number of rows: write torch.cdist(x, x)")
    first, second = torch.triu_indices(int(rows), int(rows), 1)
    return length(x[first] - x[second], p)
