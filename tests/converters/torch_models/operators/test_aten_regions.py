"""Pools of regions, against torchvision's own."""

import torch
import torchvision
from operators_support import exported_holds, holds
from torch import nn

ops = torch.ops.torchvision
REGIONS = torch.tensor(
    [[0, 0, 0, 4, 5], [1, 1, 2, 7, 6], [0, 2.5, 1.5, 3, 9], [1, -4, -4, 12, 12], [0, 20, 20, 30, 30]]
)


def test_position_sensitive():
    x = torch.randn(2, 12, 8, 9)
    for scale in (1.0, 0.5):
        for samples in (1, 2, 3):
            holds(ops.ps_roi_align.default, x, REGIONS, scale, 2, 3, samples)
        holds(ops.ps_roi_pool.default, x, REGIONS, scale, 2, 3)


def test_position_sensitive_as_a_graph():
    class Pool(nn.Module):
        def forward(self, x, regions):
            ops = torchvision.ops
            return ops.ps_roi_align(x, regions, 2, 0.5, 2), ops.ps_roi_pool(x, regions, 2, 0.5)

    number = torch.export.Dim("number", max=20)
    exported_holds(
        Pool(), torch.randn(2, 8, 6, 6), REGIONS, dynamic_shapes=(None, {0: number}), tolerance=1e-5, normwise=True
    )
