"""PyramidPooling against torchvision's MultiScaleRoIAlign."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.detectors.roi_pooling import PyramidPooling

STRIDES = (4, 8, 16, 32)


def difference(pooling: MultiScaleRoIAlign, features: dict[str, Tensor], boxes: Tensor, size: tuple[int, int]) -> float:
    expected = pooling(features, list(boxes), [size] * len(boxes))
    sizes = [(f.shape[-2], f.shape[-1]) for f in features.values()]
    found = PyramidPooling(pooling, sizes, pooling.scales)(list(features.values()), boxes)
    return float((found.permute(0, 3, 1, 2) - expected).abs().max())


def pyramid(size: tuple[int, int], levels: int = 4, images: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        str(i): torch.randn(images, 8, -(-size[0] // stride), -(-size[1] // stride), generator=generator)
        for i, stride in enumerate(STRIDES[-levels:])
    }


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(64, 400),
    width=st.integers(64, 400),
    levels=st.sampled_from([1, 2, 4]),
    bins=st.sampled_from([3, 7]),
    samples=st.sampled_from([1, 2, 3]),
    seed=st.integers(0, 2**32),
)
def test_equals_torchvision(height: int, width: int, levels: int, bins: int, samples: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    limits = torch.tensor([width, height])
    center = torch.rand(2, 45, 2, generator=generator) * limits
    half = torch.exp(torch.rand(2, 45, 2, generator=generator) * 7 - 3) / 2
    boxes = torch.cat((torch.clamp(center - half, min=0), torch.minimum(center + half, limits)), dim=-1)
    features = pyramid((height, width), levels, images=2)
    pooling = MultiScaleRoIAlign(list(features), bins, samples)
    assert difference(pooling, features, boxes, (height, width)) < 1e-4


def test_boxes_at_the_borders_and_of_no_size() -> None:
    """Tiny boxes at the far border have samples outside of the map, which count as zero."""
    boxes = [[319.9, 319.9, 320, 320], [0, 0, 0, 0], [320, 0, 320, 320], [0, 0, 320, 320], [0, 319, 320, 320]]
    features = pyramid((320, 320))
    assert difference(MultiScaleRoIAlign(list(features), 7, 2), features, torch.tensor([boxes]), (320, 320)) < 1e-5


def test_boxes_on_the_boundary_between_levels() -> None:
    """A side of exactly 112, 224 or 448 pixels belongs to the coarser level."""
    boxes = [[0, 0, side, side] for side in (56.0, 111.99, 112.0, 112.01, 223.99, 224.0, 448.0)]
    features = pyramid((512, 512))
    assert difference(MultiScaleRoIAlign(list(features), 7, 2), features, torch.tensor([boxes]), (512, 512)) < 1e-5


def test_adaptive_sampling_is_refused() -> None:
    with pytest.raises(UserError, match="sampling_ratio"):
        PyramidPooling(MultiScaleRoIAlign(["0"], 7, -1), [(10, 10)], [0.25])
