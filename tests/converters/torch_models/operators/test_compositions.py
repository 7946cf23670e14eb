"""Operators composed of others that the exporter lacks, as graphs."""

import torch
from operators_support import exported_holds
from torch import nn


def test_compositions():
    class Composed(nn.Module):
        def forward(self, x, square):
            tensor = square.reshape(2, 2, 4)
            return torch.linalg.vander(x, N=4), torch.linalg.tensorinv(tensor, ind=2), torch.linalg.cond(square[:2, :2])

    square = torch.randn(4, 4) + 4 * torch.eye(4)
    exported_holds(Composed(), torch.randn(3), square, tolerance=2e-5, normwise=True)
