"""What of a torchvision detector has weights in it, as one module: without the choice of boxes, which no channel is part of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torchvision.ops import roi_align

REGIONS = ((0.0, 0.0, 0.5, 0.5), (0.2, 0.1, 0.9, 0.8))
"""Of the picture: what the heads of a two-stage detector are shown in the place of proposals."""
HEADS = ("box", "mask", "keypoint")


class Parts(nn.Module):
    """Pictures [N, 3, H, W] in; out come the tensors that the heads give, flat."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.training = False
        self.inner = detector

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.inner.get_submodule("backbone")(pictures)
        features: Mapping[str, torch.Tensor] = {"0": found} if isinstance(found, torch.Tensor) else found
        levels = list(features.values())
        if not hasattr(self.inner, "rpn"):
            return tuple(_tensors(self.inner.get_submodule("head")(levels)))
        given = [self.inner.get_submodule("rpn.head")(levels)]
        heads = self.inner.get_submodule("roi_heads")
        for name in HEADS:
            pool = getattr(heads, f"{name}_roi_pool", None)
            if pool is not None:
                pooled = torch.cat(
                    [_pooled(features[level], pictures, pool.output_size) for level in pool.featmap_names]
                )
                given.append(getattr(heads, f"{name}_predictor")(getattr(heads, f"{name}_head")(pooled)))
        return tuple(_tensors(given))


def _pooled(features: torch.Tensor, pictures: torch.Tensor, size: Any) -> torch.Tensor:
    height, width = pictures.shape[-2:]
    extent = torch.tensor([width, height, width, height], dtype=pictures.dtype)
    regions = torch.tensor(REGIONS, dtype=pictures.dtype) * extent
    boxes = torch.cat([torch.zeros(len(REGIONS), 1, dtype=pictures.dtype), regions], 1)
    pooled: torch.Tensor = roi_align(features, boxes, size, spatial_scale=features.shape[-1] / width)
    return pooled


def _tensors(given: Any) -> list[torch.Tensor]:
    if isinstance(given, torch.Tensor):
        return [given]
    values = given.values() if isinstance(given, Mapping) else given
    return [tensor for each in values for tensor in _tensors(each)]
