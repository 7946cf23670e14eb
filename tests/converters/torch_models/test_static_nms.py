"""The static suppressions against torchvision's, on inputs that are meant to break them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou, nms

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.torch_models.detectors.nms import BLOCK, GreedySelection, GroupedSuppression


def random_boxes(generator: torch.Generator, shape: tuple[int, ...], grid: bool) -> Tensor:
    """Boxes that overlap a lot; on a grid, many are equal, flat, or overlap by exactly the threshold."""
    corner = torch.rand(*shape, 2, generator=generator) * 60
    size = torch.rand(*shape, 2, generator=generator) * 30
    if grid:
        corner, size = (corner / 6).floor(), (size / 6).floor()
    return torch.cat((corner, corner + size), dim=-1)


def chain(count: int) -> Tensor:
    """Boxes in a row, each of which overlaps with its two neighbours: kept, suppressed, kept, suppressed..."""
    x = torch.arange(count) * 3.0
    return torch.stack((x, torch.zeros(count), x + 10, torch.full((count,), 10.0)), dim=-1)


def expected_kept(boxes: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """What torchvision keeps of boxes [n, 4] that are sorted by falling score."""
    kept = torch.zeros(len(boxes), dtype=torch.bool)
    (index,) = torch.where(valid)
    kept[index[nms(boxes[index], torch.linspace(1, 0, len(index)), threshold)]] = True
    return kept


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 90),
    threshold=st.sampled_from([0.0, 0.3, 0.45, 0.5, 0.55, 0.7, 0.95]),
    grid=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_grouped_suppression_equals_torchvision(count: int, threshold: float, grid: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(generator, (2, count), grid)
    valid = torch.rand(2, count, generator=generator) > 0.2
    kept = GroupedSuppression(threshold)(boxes, valid)
    for group in range(2):
        assert torch.equal(kept[group], expected_kept(boxes[group], valid[group], threshold))


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1, 100, 1000])
def test_chain_of_full_length(count: int) -> None:
    kept = GroupedSuppression(0.5)(chain(count).unsqueeze(0), torch.ones(1, count, dtype=torch.bool))
    assert kept[0].tolist() == [i % 2 == 0 for i in range(count)]


def test_thousand_boxes_in_several_groups() -> None:
    generator = torch.Generator().manual_seed(3)
    boxes = random_boxes(generator, (4, 1000), grid=False)
    valid = torch.rand(4, 1000, generator=generator) > 0.1
    kept = GroupedSuppression(0.7)(boxes, valid)
    for group in range(4):
        assert torch.equal(kept[group], expected_kept(boxes[group], valid[group], 0.7))


def test_all_boxes_equal_or_flat_or_invalid() -> None:
    same = torch.tensor([1.0, 1.0, 5.0, 5.0]).expand(1, 40, 4)
    everything = torch.ones(1, 40, dtype=torch.bool)
    assert GroupedSuppression(0.5)(same, everything)[0].tolist() == [True] + [False] * 39
    flat = torch.tensor([1.0, 1.0, 5.0, 1.0]).expand(1, 40, 4)
    assert GroupedSuppression(0.5)(flat, everything).all()
    assert not GroupedSuppression(0.5)(same, ~everything).any()


def test_threshold_is_compared_in_double_precision() -> None:
    """float32(0.55) lies above 0.55: an overlap of exactly that value suppresses, as in torchvision."""
    boxes = torch.tensor([[[0.0, 0.0, 20.0, 1.0], [0.0, 0.0, 11.0, 1.0]]])
    kept = GroupedSuppression(0.55)(boxes, torch.ones(1, 2, dtype=torch.bool))
    assert torch.equal(kept[0], expected_kept(boxes[0], torch.ones(2, dtype=torch.bool), 0.55))


def expected_selection(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float, count: int) -> Tensor:
    """Indices of what torchvision selects of candidates [M]: class-wise, by falling score, the lower index first."""
    (index,) = torch.where(scores >= 0)
    kept = [
        index[labels[index] == label][
            nms(boxes[index][labels[index] == label], scores[index][labels[index] == label], threshold)
        ]
        for label in labels[index].unique()
    ]
    chosen = torch.cat(kept).sort().values if kept else index
    return chosen[scores[chosen].sort(descending=True, stable=True).indices][:count]


def ambiguous(boxes: Tensor, threshold: float) -> bool:
    """Whether an overlap is so close to the threshold that rounding decides."""
    return bool(((box_iou(boxes, boxes) - threshold).abs() < 2e-6).any())


@settings(max_examples=60, deadline=None)
@given(
    candidates=st.integers(1, 80),
    count=st.integers(1, 30),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.7]),
    grid=st.booleans(),
    images=st.integers(1, 2),
    seed=st.integers(0, 2**32),
)
def test_greedy_selection_equals_torchvision(
    candidates: int, count: int, threshold: float, grid: bool, images: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(generator, (images, candidates), grid)
    scores = torch.rand(images, candidates, generator=generator) - 0.2
    if grid:
        scores = (scores * 5).round() / 5  # many equal ones
    labels = torch.randint(0, 3, (images, candidates), generator=generator)
    found = GreedySelection(threshold, count)(boxes, scores, labels)
    for i in range(images):
        if ambiguous(boxes[i], threshold):
            continue
        index = expected_selection(boxes[i], scores[i], labels[i], threshold, count)
        for got, all_, padding in zip(found, (boxes, scores, labels), (0, -1, 0), strict=True):
            assert torch.equal(got[i, : len(index)], all_[i][index])
            assert bool((got[i, len(index) :] == padding).all())


def test_greedy_selection_follows_a_chain() -> None:
    boxes, scores = chain(400).unsqueeze(0), torch.linspace(1, 0.1, 400).unsqueeze(0)
    _, found, _ = GreedySelection(0.5, 100)(boxes, scores, torch.zeros(1, 400, dtype=torch.int64))
    assert torch.equal(found, scores[:, :200:2])


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_threshold_that_suppresses_nothing_is_refused(threshold: float) -> None:
    with pytest.raises(UserError, match="nms_thresh"):
        GreedySelection(threshold, 10)
