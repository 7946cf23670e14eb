"""Losses against PyTorch's own."""

import pytest
import torch
from operators_support import holds

from enginesmith.converters.torch_models.operators.registry import decompositions

aten = torch.ops.aten
CLASSES = 5


@pytest.mark.parametrize("reduction", [0, 1, 2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(CLASSES,), (3, CLASSES), (2, CLASSES, 4, 3)])
def test_cross_entropy(shape, weighted, reduction):
    x = torch.randn(shape)
    weight = torch.rand(CLASSES) if weighted else None
    axis = 0 if len(shape) == 1 else 1
    probabilities = torch.softmax(torch.randn(shape), axis)
    labels = torch.randint(0, CLASSES, probabilities.select(axis, 0).shape)
    for smoothing in (0.0, 0.1):
        holds(aten.cross_entropy_loss.default, x, probabilities, weight, reduction, -100, smoothing)
    holds(aten.cross_entropy_loss.default, x, labels, weight, reduction, -100, 0.2)
    if len(shape) > 1:
        holds(aten.cross_entropy_loss.default, x, labels.clamp(min=1), weight, reduction, 1, 0.2)


def test_ordinary_labels_are_left_to_the_exporter():
    function = decompositions()[aten.cross_entropy_loss.default].function
    assert function(torch.randn(2, CLASSES), torch.tensor([1, 3])) is NotImplemented
