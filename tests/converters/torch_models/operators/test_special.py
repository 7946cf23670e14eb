"""Special functions against PyTorch's own."""

import pytest
import torch
from operators_support import EDGES, exported_holds, holds, pairs
from torch import nn

aten = torch.ops.aten


def test_hypot():
    holds(aten.hypot.default, *pairs(EDGES))
    holds(aten.hypot.default, torch.randn(3, 1, 5) * 1e20, torch.randn(4, 5) * 1e20)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_hypot_in_other_floats(dtype):
    holds(aten.hypot.default, torch.randn(50).to(dtype), torch.randn(50).to(dtype))


def test_hypot_as_a_graph():
    class Length(nn.Module):
        def forward(self, x, y):
            return torch.hypot(x, y)

    exported_holds(Length(), torch.randn(3, 4), torch.randn(4))


@pytest.mark.parametrize("operator", [aten.logaddexp.default, aten.logaddexp2.default])
def test_logarithms_of_sums(operator):
    holds(operator, *pairs(EDGES[(EDGES.abs() < 1e30) | ~EDGES.isfinite()]))
    holds(operator, torch.randn(50) * 200, torch.randn(50) * 200)
    holds(operator, torch.randn(3, 1), torch.randn(4))


FINE = torch.cat([torch.linspace(-1, 1, 2001), 1 - torch.logspace(-7, -1, 50), torch.logspace(-30, -1, 50)])


def test_erfinv():
    for value in (FINE, torch.tensor([1.0, -1, 0, -0.0, 1.5, torch.nan, torch.inf]), torch.tensor([0, 1])):
        holds(aten.erfinv.default, value)


def test_signs():
    x, y = pairs(EDGES[:-1])
    holds(aten.signbit.default, x)
    holds(aten.signbit.default, torch.tensor([1, -1, 0]))
    holds(aten.copysign.Tensor, x, y)
    holds(aten.copysign.Tensor, torch.tensor([1, -2]), torch.tensor([-1, 0]))
    for number in (2.0, -1, -0.0):
        holds(aten.copysign.Scalar, x, number)


def test_atan2():
    holds(aten.atan2.default, *pairs(EDGES))
    holds(aten.atan2.default, torch.tensor([1, -2, 0]), torch.tensor([-1, 0, -3]))
    holds(aten.atan2.default, torch.randn(5, 1).double(), torch.randn(3))
    x, y = pairs(torch.linspace(-4, 4, 41))
    holds(aten.atan2.default, x, y)


def test_a_zeros_sign_as_a_graph():
    class Signs(nn.Module):
        def forward(self, x, y):
            return torch.signbit(y), torch.copysign(x, y), torch.atan2(x, y), torch.angle(torch.complex(y, x))

    exported_holds(Signs(), *pairs(EDGES[:-1]))


def test_frexp():
    powers = 2.0 ** torch.arange(-148, 128)
    for value in (torch.randn(100) * 100, powers, torch.nextafter(powers, 2 * powers), EDGES[EDGES.isfinite()]):
        holds(aten.frexp.Tensor, value)


def test_extremes_of_numbers():
    x, y = pairs(EDGES)
    for operator in (aten.fmax.default, aten.fmin.default):
        holds(operator, x, y)
        holds(operator, torch.tensor([1, 5, -3]), torch.tensor([2, 2, -4]))


def test_neighbours():
    ends = torch.tensor([3.4028234663852886e38, 1.17549435e-38, 1.4e-45, -1.4e-45])
    values = torch.cat([EDGES, ends, 2.0 ** torch.arange(-149, 128, 9), torch.randn(30)])
    holds(aten.nextafter.default, *pairs(values))


def test_neighbours_as_a_graph():
    class Next(nn.Module):
        def forward(self, x, y):
            return torch.nextafter(x, y)

    exported_holds(
        Next(), torch.cat([torch.randn(20), 2.0 ** torch.arange(-120, 120, 30)]), torch.zeros(28), tolerance=0
    )


def test_special_functions_as_a_graph():
    class Functions(nn.Module):
        def forward(self, x, y):
            normal = torch.special.erfinv(y), *torch.frexp(x), torch.copysign(x, y)
            return (
                *normal,
                torch.lgamma(x),
                torch.digamma(x),
                torch.polygamma(2, x.abs()),
                torch.i0(x),
                torch.special.i1e(x),
            )

    shape = {0: torch.export.Dim("n", max=99)}
    x, y = torch.randn(30, 4) * 3, torch.rand(30, 4) * 1.9 - 0.95
    exported_holds(Functions(), x, y, dynamic_shapes=(shape, shape), tolerance=1e-5, normwise=True)


def test_a_random_slope_is_none_in_inference():
    holds(aten.rrelu.default, EDGES, 0.1, 0.4)
    exported_holds(torch.nn.RReLU(), EDGES)


def test_log_sigmoid_of_large_negative_numbers_is_finite():
    """As the logarithm of a sigmoid it is infinite there."""
    x = torch.cat([EDGES, torch.linspace(-300, 80, 77)])
    holds(aten.log_sigmoid.default, x)
    exported_holds(torch.nn.LogSigmoid(), x)
