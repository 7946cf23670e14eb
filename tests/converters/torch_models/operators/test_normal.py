"""The normal distribution's functions, against PyTorch's own."""

import torch
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten
ENDS = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan])


def test_quantile():
    inside = torch.cat([torch.linspace(0, 1, 2001), torch.logspace(-37, -1, 100), 1 - torch.logspace(-7, -1, 100)])
    holds(aten.special_ndtri.default, inside)
    holds(aten.special_ndtri.default, torch.tensor([0.0, 1.0, -0.1, 1.1, torch.nan]))


def test_scaled_complement():
    holds(aten.special_erfcx.default, torch.cat([torch.linspace(-9, 60, 3001), torch.logspace(-30, 30, 61), ENDS]))


def test_logarithm_of_the_distribution():
    x = torch.cat([torch.linspace(-40, 5, 3001), -torch.logspace(-30, 4, 61), ENDS])
    holds(aten.special_log_ndtr.default, x)


def test_upper_tail_is_no_zero():
    x = torch.tensor([8.0, 10.0])
    found = torch.ops.aten.special_log_ndtr.default(x.double())
    from enginesmith.converters.torch_models.operators.normal import log_ndtr

    torch.testing.assert_close(log_ndtr(x), found.float(), rtol=1e-5, atol=0)


def test_normal_functions_as_a_graph():
    class Functions(nn.Module):
        def forward(self, x):
            special = torch.special
            return special.erfcx(x), special.log_ndtr(x), special.ndtri(torch.sigmoid(x))

    exported_holds(Functions(), torch.linspace(-5, 5, 50), tolerance=1e-5, normwise=True)
