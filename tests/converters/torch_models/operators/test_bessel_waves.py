"""Bessel functions of the first and second kind, against PyTorch's own."""

import pytest
import torch
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten
VALUES = torch.cat([torch.linspace(-30, 30, 2001), torch.tensor([0.0, -0.0, 5, -5, 1e-20, 1e-4, 120, torch.nan])])


@pytest.mark.parametrize("name", ["bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "spherical_bessel_j0"])
def test_waves(name):
    operator = getattr(aten, f"special_{name}").default
    small = VALUES.abs() < 0.1  # where the second kind's order 1 is as great as 1 / x
    for values in (VALUES[~small], *VALUES[small].split(1)):
        holds(operator, values)
    holds(operator, torch.tensor([0, 1, 3]))


def test_ends():
    holds(aten.special_spherical_bessel_j0.default, torch.tensor([torch.inf, -torch.inf]))
    for name in ("bessel_y0", "bessel_y1"):
        holds(getattr(aten, f"special_{name}").default, torch.tensor([0.0, -1.0, -torch.inf]))


def test_waves_as_a_graph():
    class Functions(nn.Module):
        def forward(self, x):
            special = torch.special
            return special.bessel_j0(x), special.bessel_j1(x), special.bessel_y0(x), special.bessel_y1(x)

    exported_holds(Functions(), torch.rand(40) * 20 + 0.1, tolerance=1e-5, normwise=True)
