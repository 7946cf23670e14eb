"""Distances between rows, against PyTorch's own."""

import pytest
import torch
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0, 3.0, torch.inf])
def test_distances(p):
    for x, y in (((4, 3), (5, 3)), ((2, 1, 4, 3), (3, 5, 3)), ((30, 3), (40, 3)), ((0, 3), (2, 3)), ((1, 1), (1, 1))):
        holds(aten.cdist.default, torch.randn(x), torch.randn(y), p)
    holds(aten.cdist.default, torch.zeros(2, 3), torch.zeros(2, 3), p)
    for rows in (1, 2, 6):
        holds(aten.pdist.default, torch.randn(rows, 4), p)


def test_distances_as_a_graph_of_any_size():
    class Nearest(nn.Module):
        def forward(self, x, y):
            return torch.cdist(x, y), torch.cdist(x, y, p=1)

    n, m = torch.export.Dim("n", max=50), torch.export.Dim("m", max=50)
    exported_holds(
        Nearest(),
        torch.randn(6, 3),
        torch.randn(4, 3),
        dynamic_shapes=({0: n}, {0: m}),
        others=[(torch.randn(1, 3), torch.randn(40, 3))],
        tolerance=2e-5,
        normwise=True,
    )
