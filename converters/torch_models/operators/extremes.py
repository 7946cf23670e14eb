"""Extremes, `all` and `any`, in forms that the exporter's translations lack: of single numbers, and along no stated axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten


def _reduced(operator: Any) -> Any:
    def reduce(x: Tensor, dim: Sequence[int] = (), keepdim: bool = False) -> Any:
        if x.ndim == 0:
            return x.clone()
        return NotImplemented if dim else operator(x, list(range(x.ndim)), keepdim)

    return reduce


for _operator in (aten.amax.default, aten.amin.default):
    decomposes(_operator)(_reduced(_operator))


def _of_number(x: Tensor, dim: int, keepdim: bool = False) -> Any:
    return x.to(torch.bool) if x.ndim == 0 else NotImplemented


decomposes(aten.all.dim, aten.any.dim)(_of_number)
