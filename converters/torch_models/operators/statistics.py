"""Covariances, which PyTorch composes with a look at numbers that only a run knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes, in_the_place_of

aten = torch.ops.aten


@decomposes(aten.cov.default, tolerance=1e-5, normwise=True)
def cov(x: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Any:
    """Of variables in rows and observations in columns: PyTorch's documentation has the formula."""
    if x.is_complex():
        return NotImplemented
    x = x if x.ndim == 2 else x.reshape(1, -1)
    x = x if x.dtype.is_floating_point else x.to(torch.get_default_dtype())
    weights = torch.ones(x.shape[1], dtype=x.dtype)
    for given in (fweights, aweights):
        weights = weights if given is None else weights * given.to(x.dtype)
    total = weights.sum()
    taken = total if aweights is None else (weights * aweights.to(x.dtype)).sum()
    norm = torch.relu(total - correction * (taken / total if aweights is not None else 1))
    apart = x - (x * weights).sum(1, keepdim=True) / total
    found = apart @ (apart * weights).t() / norm
    return found.reshape(()) if x.shape[0] == 1 else found


@decomposes(aten.corrcoef.default, tolerance=1e-5, normwise=True)
def corrcoef(x: Tensor) -> Any:
    """Covariances over the deviations of both variables, within -1 and 1."""
    found = cov(x)
    if found is NotImplemented:
        return NotImplemented
    if found.ndim == 0:
        return found / found
    deviation = torch.sqrt(torch.diagonal(found))
    return torch.clamp(found / deviation[:, None] / deviation, -1, 1)


def _shape(x: Tensor, **rest: Any) -> Tensor:
    kind = x.dtype if x.dtype.is_floating_point or x.is_complex() else torch.get_default_dtype()
    return x.new_empty(() if x.ndim < 2 or x.shape[0] == 1 else (x.shape[0], x.shape[0]), dtype=kind)


@contextmanager
def covariances_whole() -> Iterator[None]:
    """While a module is exported, these stay single operators."""
    with ExitStack() as stack:
        for operator in (aten.cov.default, aten.corrcoef.default):
            stack.enter_context(in_the_place_of(operator, _shape))
        yield
