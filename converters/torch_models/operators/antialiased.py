"""Antialiased resizing by a factor that the sizes don't tell: 8 pixels times 0.6 are 4, and a Resize to 4 takes a factor of 0.5."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes
from enginesmith.converters.torch_models.operators.sizes import static

aten = torch.ops.aten
Filter = Callable[[NDArray[np.float64]], NDArray[np.float64]]

CUBIC = -0.5
"""PyTorch's coefficient where it antialiases, which is Pillow's (R. Keys, 1981)."""


def _triangle(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1 - distance, 0)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance * distance + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * CUBIC
    return np.where(distance < 1, near, np.where(distance < 2, far, 0))


def _weights(size: int, made: int, factor: float, reach: int, filtered: Filter) -> Tensor:
    """float32[made, size]: what each new pixel takes of each old one, in steps of 1 / `factor`. `reach`: of the filter, in pixels."""
    if size == made:
        return torch.eye(size)  # PyTorch leaves such an axis as it is
    step = np.float32(1) / np.float32(factor)  # as PyTorch has it, which cuts what a window reaches to integers
    stretch = max(step, np.float32(1))
    centers = step * (np.arange(made, dtype=np.float32) + np.float32(0.5))
    support = np.float32(reach) * stretch
    first = np.maximum((centers - support + np.float32(0.5)).astype(np.int64), 0)
    last = np.minimum((centers + support + np.float32(0.5)).astype(np.int64), size)
    places = np.arange(size)
    found = filtered(np.abs((places - centers[:, None].astype(np.float64) + 0.5) / stretch))
    found = np.where((places >= first[:, None]) & (places < last[:, None]), found, 0)
    return torch.from_numpy((found / found.sum(1, keepdims=True)).astype(np.float32))


def _resized(x: Tensor, sizes: Sequence[Any], align_corners: bool, factors: Sequence[Any], *how: Any) -> Any:
    given = x.shape[2:]
    if align_corners or not all(factors) or not all(map(static, (*given, *sizes))):
        return NotImplemented
    if all(size * factor == made for size, factor, made in zip(given, factors, sizes, strict=True)):
        return NotImplemented  # a Resize is right, and faster
    down, across = (
        _weights(int(size), int(made), factor, *how).to(x.dtype)
        for size, made, factor in zip(given, sizes, factors, strict=True)
    )
    return down @ x @ across.t()


def _forms(*how: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """For the overload with factors in a list, and for the one with a size."""

    def by_list(x: Tensor, output_size: Any, align_corners: bool, scale_factors: Any) -> Any:
        if scale_factors is None or output_size is not None:
            return NotImplemented
        sizes = [int(size * factor) for size, factor in zip(x.shape[2:], scale_factors, strict=True)]
        return _resized(x, sizes, align_corners, scale_factors, *how)

    def by_size(x: Tensor, output_size: Any, align_corners: bool, scales_h: Any = None, scales_w: Any = None) -> Any:
        return _resized(x, output_size, align_corners, (scales_h, scales_w), *how)

    return by_list, by_size


for _operator, _how in ((aten._upsample_bilinear2d_aa, (1, _triangle)), (aten._upsample_bicubic2d_aa, (2, _cubic))):
    for _overload, _form in zip((_operator.vec, _operator.default), _forms(*_how), strict=True):
        decomposes(_overload, tolerance=1e-5, normwise=True)(_form)
