"""Special functions, elementwise."""

from __future__ import annotations

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten


@decomposes(aten.hypot.default, tolerance=2e-7)
def hypot(x: Tensor, y: Tensor) -> Tensor:
    """The larger side times the square root of one and the ratio's square, so that no square overflows; infinity where either
    side is infinite, whatever the other one is (IEEE 754).
    """
    x, y = x.abs(), y.abs()
    # chosen by one comparison: TVM can't compile a maximum and a minimum of the same two in one kernel
    first = x > y
    large, small = torch.where(first, x, y), torch.where(first, y, x)
    ratio = small / torch.where(large == 0, torch.ones_like(large), large)
    length = large * torch.sqrt(1 + ratio * ratio)
    infinite = torch.logical_or(torch.isinf(x), torch.isinf(y))
    return torch.where(infinite, torch.full_like(length, torch.inf), length)
