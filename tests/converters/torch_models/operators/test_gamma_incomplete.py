"""The incomplete gamma functions, against PyTorch's own in float64."""

import pytest
import torch
from operators_support import exported_holds, pairs
from torch import nn

from enginesmith.converters.torch_models.operators.registry import decompositions

aten = torch.ops.aten
SIZES = torch.cat([torch.logspace(-6, 4, 81), torch.linspace(0.1, 60, 60)])


def holds_in_float64(operator, a, x):
    found = decompositions()[operator].function(a, x)
    torch.testing.assert_close(found, operator(a.double(), x.double()).float(), rtol=0, atol=5e-6, equal_nan=True)


@pytest.mark.parametrize("operator", [aten.igamma.default, aten.igammac.default])
def test_incomplete_gamma(operator):
    holds_in_float64(operator, *pairs(SIZES))
    a = torch.logspace(0, 5, 100)[:, None]
    x = a * (1 + torch.linspace(-0.3, 0.3, 41))
    holds_in_float64(operator, a, x)


@pytest.mark.parametrize("operator", [aten.igamma.default, aten.igammac.default])
def test_ends(operator):
    holds_in_float64(operator, *pairs(torch.tensor([0.0, 1.0, 2.5, -1.0, torch.inf])))


def test_incomplete_gamma_as_a_graph():
    class Functions(nn.Module):
        def forward(self, a, x):
            return torch.igamma(a, x), torch.igammac(a, x)

    exported_holds(Functions(), torch.rand(3, 4) * 5, torch.rand(4) * 5, tolerance=1e-5, normwise=True)
