"""The gamma function's logarithm and its derivatives, against PyTorch's own in float64."""

import pytest
import torch
from operators_support import exported_holds, holds
from torch import nn

from enginesmith.converters.torch_models.operators import gamma

aten = torch.ops.aten
POSITIVE = torch.cat([torch.linspace(0.01, 12, 3001), torch.logspace(-30, 35, 200)])
NEGATIVE = -torch.cat([torch.linspace(0.01, 9.99, 500), torch.tensor([30.25, 100.5, 1e4 + 0.5])])
POLES = torch.tensor([0.0, -1, -2, -30, torch.inf, torch.nan])


def close(found, wanted, tolerance):
    """To each value, or to 1 where it is smaller."""
    torch.testing.assert_close(found, wanted.float(), rtol=tolerance, atol=tolerance, equal_nan=True)


def test_lgamma():
    torch.testing.assert_close(  # exactly 0 at 1 and 2
        gamma.lgamma(POSITIVE), POSITIVE.double().lgamma().float(), rtol=2e-6, atol=1e-30
    )
    close(gamma.lgamma(NEGATIVE), NEGATIVE.double().lgamma(), 4e-6)
    close(gamma.lgamma(POLES), POLES.double().lgamma(), 0)
    holds(aten.lgamma.default, torch.tensor([3, 5]))
    for p in (1, 3, 5):
        holds(aten.mvlgamma.default, torch.rand(20) * 5 + 3, p)


def test_digamma():
    positive = POSITIVE[POSITIVE > 1e-20]
    close(gamma.digamma(positive), positive.double().digamma(), 4e-6)
    away = NEGATIVE[(NEGATIVE - NEGATIVE.round()).abs() > 0.05]
    close(gamma.digamma(away), away.double().digamma(), 4e-5)
    close(gamma.digamma(POLES), POLES.double().digamma(), 0)
    holds(aten.digamma.default, torch.tensor([0.0, -0.0]))


@pytest.mark.parametrize("n", range(5))
def test_polygamma(n):
    x = POSITIVE[(POSITIVE > 1e-3) & (POSITIVE < 1e5)]
    for value in x.split(100):
        holds(aten.polygamma.default, n, value)
    if n == 1:
        away = NEGATIVE[(NEGATIVE - NEGATIVE.round()).abs() > 0.05]
        close(gamma.polygamma(1, away), torch.polygamma(1, away.double()), 4e-5)


def test_zeta():
    x, q = torch.meshgrid(torch.tensor([1.0, 1.1, 1.5, 2, 3, 7.5, 0.5]), torch.linspace(0.1, 20, 60), indexing="ij")
    holds(aten.special_zeta.default, x.clone(), q.clone())


@pytest.mark.parametrize("n", range(1, 6))
def test_polygamma_below_zero(n):
    x = -torch.linspace(0.1, 6.9, 200)
    x = x[(x - x.round()).abs() > 0.05].split(1)
    exact = [torch.ops.aten.polygamma.default(n, value.double()).float() for value in x]
    for value, wanted in zip(x, exact, strict=True):
        torch.testing.assert_close(gamma.polygamma(n, value), wanted, rtol=2e-4, atol=2e-4)


def test_what_pytorch_composes_of_a_decomposed_operator_is_replaced_too():
    class Psi(nn.Module):
        def forward(self, x):
            return torch.special.polygamma(1, x)

    exported_holds(Psi(), torch.rand(7) + 0.5, tolerance=1e-5)
