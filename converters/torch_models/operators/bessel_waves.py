"""Bessel functions of the first and second kind, orders 0 and 1.

Source: rational approximations of the Cephes library (Moshier) in the form in which PyTorch evaluates them. Errors are relative
to 1: near a zero, and far out, where the argument of the cosine is rounded, PyTorch's own results are no better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.gamma import polynomial
from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

NEAR = 5.0
"""Up to here by a ratio of polynomials of the square, beyond by modulus and phase."""

J0_NEAR_ABOVE = (9708622510000000.0, -249248344000000.0, 1956174920000.0, -4794432210.0)
J0_NEAR_BELOW = (
    *(1.71086294e18, 3.18121956e16, 310518230000000.0, 2112775200000.0, 11185553700.0, 48440965.8, 173785.402),
    *(499.563147,),
)
J0_COSINE_ABOVE = (1.0, 5.30324038, 8.747165, 5.44725003, 1.23953372, 0.0828352392, 0.000796936729)
J0_COSINE_BELOW = (1.0, 5.30605288, 8.76190883, 5.4709774, 1.25352744, 0.0856288474, 0.000924408811)
J0_SINE_ABOVE = (
    *(-6.05014351, -51.4105327, -147.077505, -177.681168, -93.2060152, -19.5539544, -1.28252719, -0.0113663839),
)
J0_SINE_BELOW = (242.00574, 2062.09332, 5930.72701, 7240.46774, 3882.40184, 856.430026, 64.3178256)
J1_NEAR_ABOVE = (3682957330000000.0, -72749424500000.0, 452228298000.0, -899971226.0)
J1_NEAR_BELOW = (
    *(5.3227862e18, 8.95222336e16, 784369608000000.0, 4749141220000.0, 22151159500.0, 83514679.1, 256987.257),
    *(620.836478,),
)
J1_COSINE_ABOVE = (1.0, 5.21451599, 8.4240459, 5.11207951, 1.12719608, 0.0731397057, 0.000762125616)
J1_COSINE_BELOW = (1.0, 5.20982849, 8.39985554, 5.07386386, 1.10514233, 0.0688455909, 0.000571323128)
J1_SINE_ABOVE = (25.2070206, 211.688757, 597.489612, 710.856305, 366.779609, 75.8238284, 4.98213873, 0.0510862595)
J1_SINE_BELOW = (336.093608, 2826.19279, 7997.0416, 9562.31892, 4986.41058, 1056.44886, 74.2373277)
Y0_NEAR_ABOVE = (
    *(-1.849508e16, 4.42733269e16, -3466283030000000.0, 87590639400000.0, -982136066000.0, 5435264770.0),
    *(-14663929.6, 15592.4368),
)
Y0_NEAR_BELOW = (
    *(2.50596256e17, 3171577530000000.0, 20297961300000.0, 86400248700.0, 268919633.0, 626107.33, 1041.28354),
)
Y1_NEAR_ABOVE = (
    *(-7.78877196e17, 2.02439476e17, -8127702560000000.0, 114509512000000.0, -647355876000.0, 1263204750.0),
)
Y1_NEAR_BELOW = (
    *(3.97270608e18, 6.87141087e16, 620557727000000.0, 3882312770000.0, 18760131600.0, 73481194.4, 235564.093),
    *(594.301592,),
)

J0_ZEROS = (5.78318596294678452118, 30.4712623436620863991)
J1_ZEROS = (14.6819706421238932572, 49.2184563216946036703)
"""The squares of the first two, which the ratios leave out."""


def _ratio(x: Tensor, above: Sequence[float], below: Sequence[float]) -> Tensor:
    return polynomial(x, above) / polynomial(x, below)


def _first_near(x: Tensor, order: int) -> Tensor:
    """J up to NEAR."""
    square = x * x
    zeros, above, below = ((J0_ZEROS, J0_NEAR_ABOVE, J0_NEAR_BELOW), (J1_ZEROS, J1_NEAR_ABOVE, J1_NEAR_BELOW))[order]
    found = (square - zeros[0]) * (square - zeros[1]) * _ratio(square, above, below)
    return found * x if order else found


def _waves(x: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """J and Y beyond NEAR."""
    inverse = NEAR / x
    square = inverse * inverse
    if order == 0:
        cosine = _ratio(square, J0_COSINE_ABOVE, J0_COSINE_BELOW)
        sine = _ratio(square, J0_SINE_ABOVE, J0_SINE_BELOW)
    else:
        cosine = _ratio(square, J1_COSINE_ABOVE, J1_COSINE_BELOW)
        sine = _ratio(square, J1_SINE_ABOVE, J1_SINE_BELOW)
    sine = sine * inverse
    angle = x - (2 * order + 1) * math.pi / 4
    modulus = math.sqrt(2 / math.pi) / torch.sqrt(x)
    one, other = torch.cos(angle), torch.sin(angle)
    return modulus * (cosine * one - sine * other), modulus * (cosine * other + sine * one)


def _parts(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which are near, and what to compute with on both sides."""
    near = x <= NEAR
    return near, torch.where(near, x, torch.ones_like(x)), torch.where(near, torch.full_like(x, NEAR), x)


def _floating(x: Tensor) -> Tensor:
    return x if x.dtype.is_floating_point else x.to(torch.get_default_dtype())


def _first(x: Tensor, order: int) -> Tensor:
    x = _floating(x)
    near, inner, outer = _parts(x.abs())
    found = torch.where(near, _first_near(inner, order), _waves(outer, order)[0])
    return torch.where(x < 0, -found, found) if order else found


@decomposes(aten.special_bessel_j0.default, tolerance=2e-6, normwise=True)
def bessel_j0(x: Tensor) -> Tensor:
    """Of the first kind."""
    return _first(x, 0)


@decomposes(aten.special_bessel_j1.default, tolerance=2e-6, normwise=True)
def bessel_j1(x: Tensor) -> Tensor:
    """Of the first kind."""
    return _first(x, 1)


def _second(x: Tensor, order: int) -> Tensor:
    x = _floating(x)
    near, inner, outer = _parts(x)
    positive = torch.where(inner > 0, inner, torch.ones_like(inner))
    square = positive * positive
    if order == 0:
        close = _ratio(square, Y0_NEAR_ABOVE, Y0_NEAR_BELOW)
        close = close + 2 / math.pi * torch.log(positive) * _first_near(positive, 0)
    else:
        close = positive * _ratio(square, Y1_NEAR_ABOVE, Y1_NEAR_BELOW)
        close = close + 2 / math.pi * (_first_near(positive, 1) * torch.log(positive) - 1 / positive)
    found = torch.where(near, close, _waves(outer, order)[1])
    found = torch.where(x == 0, torch.full_like(found, -torch.inf), found)
    return torch.where(x < 0, torch.full_like(found, torch.nan), found)


@decomposes(aten.special_bessel_y0.default, tolerance=2e-6, normwise=True)
def bessel_y0(x: Tensor) -> Tensor:
    """Of the second kind: minus infinity at 0, NaN below."""
    return _second(x, 0)


@decomposes(aten.special_bessel_y1.default, tolerance=2e-6, normwise=True)
def bessel_y1(x: Tensor) -> Tensor:
    """Of the second kind: minus infinity at 0, NaN below."""
    return _second(x, 1)


SPHERICAL = tuple((-1) ** n / math.factorial(2 * n + 1) for n in range(7))


@decomposes(aten.special_spherical_bessel_j0.default, tolerance=1e-6)
def spherical_bessel_j0(x: Tensor) -> Tensor:
    """sin(x) / x, by its series near 0."""
    x = _floating(x)
    near = x.abs() < 0.5
    close = polynomial(torch.where(near, x, torch.zeros_like(x)).square(), SPHERICAL)
    outer = torch.where(torch.logical_or(near, torch.isinf(x)), torch.ones_like(x), x)
    found = torch.where(near, close, torch.sin(outer) / outer)
    return torch.where(torch.isinf(x), torch.zeros_like(found), found)
