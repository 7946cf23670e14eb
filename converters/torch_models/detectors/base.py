"""What the static detectors share: preparing the picture, laying out head outputs, and measuring the model once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.detectors.boxes import extents

Detections = tuple[Tensor, Tensor, Tensor]
"""boxes float32[N, D, 4] in pixels, scores float32[N, D] falling, labels int64[N, D]; rows of score -1 are padding."""


class Preparation(nn.Module):
    """Normalizes pictures and pads them with zeros, as torchvision's GeneralizedRCNNTransform does without its resize.

    forward(images float32[N, 3, H, W] in 0..1) -> float32[N, 3, H', W'], with H' and W' multiples of `size_divisible`.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, transform: Any, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width
        step = int(transform.size_divisible)
        self.padding = (0, -width % step, 0, -height % step)
        self.register_buffer("mean", torch.tensor(transform.image_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(transform.image_std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        images = (images - self.mean) / self.deviation
        return nn.functional.pad(images, self.padding) if any(self.padding) else images


def features_of(backbone: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The backbone's feature maps by name, in order."""
    features = backbone(images)
    return {"0": features} if isinstance(features, Tensor) else dict(features)


def probe(backbone: nn.Module, preparation: Preparation) -> tuple[dict[str, Tensor], ImageList]:
    """Feature maps of one black picture, for their shapes, and the picture as torchvision's anchor generators take it.

    Raises UserError if the backbone can't work at this size.
    """
    parameter = next(backbone.parameters())
    black = torch.zeros(1, 3, preparation.height, preparation.width, device=parameter.device)
    with torch.no_grad():
        prepared = preparation(black)
        try:
            features = features_of(backbone, prepared)
        except RuntimeError as error:
            size = f"{preparation.height}x{preparation.width}"
            raise UserError(f"the backbone can't take a picture of {size} pixels: {error}") from error
    return features, ImageList(prepared, [(preparation.height, preparation.width)])


def per_anchor(output: Tensor, columns: int) -> Tensor:
    """A head's output [N, anchors * columns, H, W] as [N, H * W * anchors, columns], in torchvision's order."""
    batch, _, height, width = extents(output)
    return output.view(batch, -1, columns, height, width).permute(0, 3, 4, 1, 2).reshape(batch, -1, columns)


def image_limits(height: int, width: int) -> Tensor:
    """float32[4] that boxes are clipped to."""
    return torch.tensor([width, height, width, height], dtype=torch.float32)


def anchors_per_level(generator: Any, images: ImageList, features: Sequence[Tensor]) -> list[Tensor]:
    """The anchors float32[H * W * anchors, 4] of each level."""
    with torch.no_grad():
        anchors = generator(images, list(features))[0]
    per_location = generator.num_anchors_per_location()
    counts = [f.shape[-2] * f.shape[-1] * n for f, n in zip(features, per_location, strict=True)]
    return cast(list[Tensor], list(anchors.split(counts)))
