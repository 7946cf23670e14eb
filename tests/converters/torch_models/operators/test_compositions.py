"""Operators composed of others that the exporter lacks, as graphs."""

import torch
from operators_support import exported_holds
from torch import nn


def test_compositions():
    class Composed(nn.Module):
        def forward(self, x, square):
            return torch.linalg.vander(x, N=4), torch.linalg.cond(square), torch.linalg.pinv(square)

    square = torch.randn(2, 2) + 4 * torch.eye(2)
    exported_holds(Composed(), torch.randn(3), square, tolerance=2e-5, normwise=True)
