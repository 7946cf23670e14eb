"""Hermite's, Laguerre's and Legendre's polynomials, against PyTorch's own."""

import pytest
import torch
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten
PLACES = torch.cat([torch.linspace(-2, 2, 41), torch.tensor([1.0, -1.0, 0.0])])
DEGREES = torch.tensor([-2.0, -0.5, 0, 1, 2, 3, 4.5, 6, 9])
NAMES = ["hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p"]


@pytest.mark.parametrize("name", NAMES)
def test_polynomials(name):
    packet = getattr(aten, f"special_{name}")
    x, n = (each.reshape(-1) for each in torch.meshgrid(PLACES, DEGREES, indexing="ij"))
    holds(packet.default, x, n)
    for degree in (-1, 0, 1, 2, 7):
        holds(packet.n_scalar, PLACES, degree)
    holds(packet.x_scalar, 0.3, DEGREES)


def test_hermite_has_a_greatest_degree():
    for name in NAMES[:2]:
        holds(getattr(aten, f"special_{name}").default, torch.tensor([0.0, 0.0]), torch.tensor([129.0, 2.0]))
        holds(getattr(aten, f"special_{name}").n_scalar, torch.tensor([0.0]), 129)


def test_polynomials_of_degrees_that_are_data():
    class Functions(nn.Module):
        def forward(self, x, n):
            special = torch.special
            return special.legendre_polynomial_p(x, n), special.hermite_polynomial_h(x, n)

    x, n = torch.linspace(-1, 1, 7), torch.tensor([0.0, 1, 2, 3, 5, -1, 8])
    exported_holds(Functions(), x, n, tolerance=1e-5, normwise=True, others=[(x, n.flip(0) / 2)])
