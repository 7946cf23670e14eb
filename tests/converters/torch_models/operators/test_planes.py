"""Sampling of volumes, against PyTorch's own."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from operators_support import exported_holds, holds
from torch import nn


@pytest.mark.parametrize(("mode", "padding", "corners"), [*itertools.product((0, 1), (0, 1, 2), (False, True))])
def test_grid_of_a_volume(mode, padding, corners):
    for sizes in ((5, 6, 4), (1, 6, 2)):
        grid = torch.randn(2, 4, 3, 2, 3) * 1.3
        holds(torch.ops.aten.grid_sampler_3d.default, torch.randn(2, 3, *sizes), grid, mode, padding, corners)


def test_grid_as_a_graph():
    class Warp(nn.Module):
        def forward(self, x, grid):
            return F.grid_sample(x, grid, padding_mode="border", align_corners=False)

    exported_holds(Warp(), torch.randn(1, 2, 3, 4, 5), torch.randn(1, 2, 2, 3, 3), tolerance=1e-5)
