"""Losses in forms that the exporter's own translation takes for another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

NONE, MEAN = 0, 1
"""How PyTorch numbers reductions; a sum is 2."""


@decomposes(aten.cross_entropy_loss.default, tolerance=2e-6, normwise=True)
def cross_entropy_loss(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: int = MEAN,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Any:
    """Of probabilities, and with smoothed labels; `x` is [N x] classes x ..."""
    if not target.dtype.is_floating_point and not label_smoothing:
        return NotImplemented
    axis = 0 if x.ndim == 1 else 1
    classes = x.shape[axis]
    shape = [1] * x.ndim
    shape[axis] = classes
    weights = torch.ones(classes, dtype=x.dtype, device=x.device) if weight is None else weight
    weights = weights.reshape(shape)
    logarithm = torch.log_softmax(x, axis)
    if target.dtype.is_floating_point:
        smoothed = target * (1 - label_smoothing) + label_smoothing / classes
        loss = -(logarithm * smoothed * weights).sum(axis)
        if reduction == NONE:
            return loss
        total = loss.sum()
        return total / (x.numel() // classes) if reduction == MEAN else total
    counted = target != ignore_index
    label = torch.where(counted, target, torch.zeros_like(target)).unsqueeze(axis)
    number = torch.arange(classes, device=x.device).reshape(shape)
    chosen = (number == label).to(x.dtype) * weights
    smooth = weights * (label_smoothing / classes)
    loss = -(logarithm * (chosen * (1 - label_smoothing) + smooth)).sum(axis)
    loss = torch.where(counted, loss, torch.zeros_like(loss))
    if reduction == NONE:
        return loss
    if reduction != MEAN:
        return loss.sum()
    own = chosen.sum(axis)
    return loss.sum() / torch.where(counted, own, torch.zeros_like(own)).sum()
