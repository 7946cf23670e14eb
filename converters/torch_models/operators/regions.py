"""Position-sensitive pools of regions, as products with each region's weights along height and width.

Dai et al., "R-FCN", 2016: the pixel (i, j) of a result reads the channels that belong to (i, j). Within a region the mean is
separable, so its weights are one matrix an axis.
"""

from __future__ import annotations

import torch
import torchvision  # noqa: F401 - which registers its operators
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes
from enginesmith.converters.torch_models.operators.sizes import Size

operators = torch.ops.torchvision


def _sampled(start: Tensor, end: Tensor, pixels: Size, bins: int, samples: int) -> Tensor:
    """regions x bins x pixels: the mean of the linear interpolation at `samples` places in each bin. A place more than a pixel
    outside reads 0.
    """
    width = (end - start) / bins
    step = (torch.arange(bins * samples, device=start.device).to(start.dtype) + 0.5) / samples
    place = start[:, None] + step * width[:, None]
    outside = torch.logical_or(place < -1, place > pixels)
    place = place.clamp(0, pixels - 1)
    away = (place[..., None] - torch.arange(pixels, device=start.device).to(start.dtype)).abs()
    weight = torch.where(outside[..., None], torch.zeros_like(away), (1 - away).clamp(min=0))
    return weight.reshape(start.shape[0], bins, samples, pixels).mean(2)


def _covered(start: Tensor, end: Tensor, pixels: Size, bins: int) -> Tensor:
    """regions x bins x pixels: the mean over the whole pixels that a bin touches, of none 0. The last pixel is never read: so
    torchvision has it.
    """
    width = (end - start).clamp(min=1) / bins
    number = torch.arange(bins, device=start.device).to(start.dtype)
    first = (torch.floor(number * width[:, None]) + start[:, None]).clamp(0, pixels - 1)
    last = (torch.ceil((number + 1) * width[:, None]) + start[:, None]).clamp(0, pixels - 1)
    pixel = torch.arange(pixels, device=start.device).to(start.dtype)
    inside = torch.logical_and(pixel >= first[..., None], pixel < last[..., None]).to(start.dtype)
    return inside / (last - first).clamp(min=1)[..., None]


def _pooled(x: Tensor, rois: Tensor, high: Tensor, wide: Tensor) -> tuple[Tensor, Tensor]:
    """The results, and the channel that each of their pixels reads. `high` and `wide` are regions x bins x pixels."""
    rows, columns = high.shape[1], wide.shape[1]
    own = x.index_select(0, rois[:, 0].to(torch.int64))
    each = high[:, None] @ own @ wide[:, None].transpose(2, 3)
    each = each.reshape(rois.shape[0], -1, rows, columns, rows, columns)
    channel = torch.arange(x.shape[1], device=x.device, dtype=torch.int32).reshape(-1, rows, columns)
    result = each.diagonal(0, 2, 4).diagonal(0, 2, 3)
    return result.clone(), channel.expand(rois.shape[0], *channel.shape).clone()


@decomposes(operators.ps_roi_align.default, tolerance=2e-6, normwise=True)
def ps_roi_align(
    x: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int, sampling_ratio: int
) -> tuple[Tensor, Tensor]:
    """`x` is N x C x H x W; `rois` are picture, x1, y1, x2, y2."""
    if sampling_ratio <= 0:
        # as many places as the region is wide, which no graph bounds
        return NotImplemented  # type: ignore[no-any-return]
    left, top, right, bottom = (rois[:, 1:] * spatial_scale - 0.5).unbind(1)
    high = _sampled(top, bottom, x.shape[2], pooled_height, sampling_ratio)
    wide = _sampled(left, right, x.shape[3], pooled_width, sampling_ratio)
    return _pooled(x, rois, high, wide)


@decomposes(operators.ps_roi_pool.default, tolerance=2e-6, normwise=True)
def ps_roi_pool(
    x: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int
) -> tuple[Tensor, Tensor]:
    """`x` is N x C x H x W; `rois` are picture, x1, y1, x2, y2."""
    scaled = rois[:, 1:] * spatial_scale
    # halves away from 0, as C rounds
    left, top, right, bottom = (torch.sign(scaled) * torch.floor(scaled.abs() + 0.5)).unbind(1)
    high = _covered(top, bottom, x.shape[2], pooled_height)
    wide = _covered(left, right, x.shape[3], pooled_width)
    return _pooled(x, rois, high, wide)
