"""Covariances against PyTorch's own."""

import torch
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten


def test_covariances():
    x = torch.randn(3, 9)
    counts, weights = torch.randint(1, 4, (9,)), torch.rand(9)
    for given in (x, x[0], x[:1], x.double(), torch.randint(0, 9, (2, 5))):
        holds(aten.cov.default, given)
        holds(aten.corrcoef.default, given)
    holds(aten.cov.default, x, correction=0)
    holds(aten.cov.default, x, fweights=counts)
    holds(aten.cov.default, x, aweights=weights)
    holds(aten.cov.default, x, correction=2, fweights=counts, aweights=weights)


def test_covariances_of_a_dynamic_number_as_a_graph():
    class Whitened(nn.Module):
        def forward(self, x):
            return torch.cov(x), torch.corrcoef(x), x.t().cov(correction=0), torch.cov(x[0])

    exported_holds(Whitened(), torch.randn(3, 9), normwise=True)
