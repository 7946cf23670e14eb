"""Batch normalization by the batch's own statistics, as a graph."""

import torch
from operators_support import exported_holds
from torch import nn


def test_statistics_of_the_batch():
    class Norm(nn.Module):
        def forward(self, x, weight, bias):
            return torch._native_batch_norm_legit(x, weight, bias, True, 0.1, 1e-5)

    exported_holds(Norm(), torch.randn(4, 3, 5), torch.rand(3), torch.randn(3), tolerance=1e-5, normwise=True)


def test_layer_without_running_statistics():
    layer = nn.BatchNorm2d(3, track_running_stats=False)
    exported_holds(layer, torch.randn(4, 3, 5, 2), tolerance=1e-5, normwise=True)
