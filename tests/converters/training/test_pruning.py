"""2:4 masks: which weights they keep, which layers can't have one, and what training makes good."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stripes import Net, accuracy, train
from torch import nn

from enginesmith.converters.graphs.sparsity import is_sparse
from enginesmith.converters.stages.finetune import fine_tune
from enginesmith.converters.training.pruning import mask_of, prune, why_dense
from enginesmith.converters.training.weighted import pooled, weighted


@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([(), (1,), (3, 2)]), st.integers(0, 99))
def test_a_mask_keeps_the_two_largest_of_four(outputs: int, fours: int, kernel: tuple[int, ...], seed: int) -> None:
    weight = torch.randn(outputs, 4 * fours, *kernel, generator=torch.Generator().manual_seed(seed))
    mask = mask_of(weight)
    groups = np.moveaxis(weight.abs().numpy(), 1, -1).reshape(-1, 4)
    kept = np.moveaxis(mask.numpy(), 1, -1).reshape(-1, 4)
    assert (kept.sum(1) == 2).all()
    assert np.sort(groups)[:, 2:].sum(1) == pytest.approx((groups * kept).sum(1))
    assert is_sparse((weight * mask).numpy(), 1)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(8, 4, 3), ""),
        (nn.Conv2d(8, 8, 3, groups=2), ""),
        (nn.Linear(12, 1), ""),
        (nn.Conv2d(3, 8, 3), "3 input channels, no multiple of 4"),
        (nn.Conv2d(12, 12, 3, groups=2), "6 input channels in each group, no multiple of 4"),
        (nn.Conv2d(8, 8, 3, groups=8), "depthwise"),
        (nn.ConvTranspose2d(8, 8, 3), "transposed"),
    ],
)
def test_why_a_layer_stays_dense(layer: nn.Module, reason: str) -> None:
    assert (reason in why_dense(layer)) if reason else (why_dense(layer) == "")


def test_training_recovers_what_pruning_loses(trained: Net) -> None:
    alone, tuned = copy.deepcopy(trained), copy.deepcopy(trained)
    before = accuracy(trained)
    record = fine_tune(alone, None, qat=False, sparse=True)
    assert record.pruned == ["3", "6", "11"]
    assert record.left == {"0": "1 input channel, no multiple of 4"}
    lost = accuracy(alone)
    assert lost < before - 0.1
    fine_tune(tuned, lambda model: train(model, 60), qat=False, sparse=True)
    assert accuracy(tuned) > before - 0.01
    for name in record.pruned:
        assert is_sparse(tuned.get_submodule(name).weight.detach().numpy(), 1)


def test_zeros_stay_under_rounding(trained: Net) -> None:
    model = copy.deepcopy(trained)
    record = fine_tune(model, lambda model: train(model, 5), qat=True, sparse=True)
    assert record.rounded == ["0", "3", "6", "11"]
    for name in record.pruned:
        weight = model.get_submodule(name).weight.detach().numpy()
        assert is_sparse(weight, 1)
        assert len(np.unique(weight[0])) <= 255


def test_a_layer_whose_columns_the_static_detector_reorders() -> None:
    """Channels are apart in the layer, and next to each other in the graph."""
    layer = nn.Linear(8 * 6, 5)
    prune({"fc6": layer}, {"fc6": (8, 2, 3)})
    weight = layer.weight.detach().reshape(5, 8, 2, 3).permute(0, 2, 3, 1).reshape(5, -1).numpy()
    assert is_sparse(weight, 1)
    assert "6 input channels" in why_dense(layer, (6, 2, 4))


def test_it_is_found_in_torchvisions_detector() -> None:
    from torchvision.models.detection import fasterrcnn_resnet50_fpn

    model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    assert pooled(model) == {"roi_heads.box_head.fc6": (256, 7, 7)}
    assert pooled(Net()) == {}


def test_a_mask_holds_whatever_the_optimizer_does() -> None:
    layer = nn.Linear(8, 4)
    prune(weighted(nn.Sequential(layer))[0])
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1.0)
    assert is_sparse(layer.weight.detach().numpy(), 1)
