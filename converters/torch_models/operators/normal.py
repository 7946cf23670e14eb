"""The normal distribution's functions: its quantile, and the scaled complementary error function, with which its tails are exact."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.gamma import polynomial
from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

ERFCX = (
    *(1.23751263, -0.140240659, 0.00358543802, 0.0822784339, -0.108804565, 0.0922906917, -0.058688252, 0.0284094304),
    *(-0.0097646905, 0.00167573425, 0.000325388464, -0.000224052049, 2.36348201e-05),
)
"""(1 + 2 x) erfcx(x) by powers of (x - ERFCX_MIDDLE) / (x + ERFCX_MIDDLE): interpolated at Chebyshev's points, with an error of
6e-9. The form is that of Shepherd and Laframboise, "Chebyshev approximation of (1 + 2 x) exp(x^2) erfc x in 0 <= x < inf", 1981.
"""
ERFCX_MIDDLE = 3.75

MIDDLE_ABOVE = (-1.23916584, 13.9312609, -56.6762857, 98.0010754, -59.9633501)
MIDDLE_BELOW = (
    *(-1.18331621, 15.9056225, -82.0372256, 200.260212, -225.462688, 86.3602421, 4.67627913, 1.95448858, 1.0),
)
TAIL_ABOVE = (
    *(-0.000857456785, -0.0350424627, -0.140256079, 2.18663307, 14.6849562, 44.0805074, 57.1628192, 31.5251095),
    *(4.05544892,),
)
TAIL_BELOW = (
    *(-0.000933259481, -0.0380806408, -0.142182923, 2.50464946, 15.0425386, 41.3172038, 45.3907635, 15.7799883),
    *(1.0,),
)
FAR_ABOVE = (
    *(6.23974539e-09, 2.65806975e-06, 0.000301581554, 0.0123716635, 0.20148539, 1.33303461, 3.93881025),
    *(6.91522889, 3.23774892),
)
FAR_BELOW = (
    *(6.79019408e-09, 2.89247865e-06, 0.000328014465, 0.0134204006, 0.216236994, 1.37702099, 3.67983564),
    *(6.02427039, 1.0),
)
"""Of the quantile around 1/2 and in both its tails: the Cephes library (Moshier)."""

TAIL = math.exp(-2)
FAR = 8.0


def _floating(x: Tensor) -> Tensor:
    return x if x.dtype.is_floating_point else x.to(torch.get_default_dtype())


def _of_positive(x: Tensor) -> Tensor:
    """exp(x^2) erfc(x)."""
    return polynomial(1 - 2 * ERFCX_MIDDLE / (x + ERFCX_MIDDLE), ERFCX) / (1 + 2 * x)


@decomposes(aten.special_erfcx.default, tolerance=2e-5)
def erfcx(x: Tensor) -> Tensor:
    """exp(x^2) erfc(x); what the square is rounded by counts where `x` is negative."""
    x = _floating(x)
    found = _of_positive(x.abs())
    return torch.where(x < 0, 2 * torch.exp(x * x) - found, found)


@decomposes(aten.special_log_ndtr.default, tolerance=2e-6)
def log_ndtr(x: Tensor) -> Tensor:
    """The logarithm of the distribution function, also where that is less than any number, or next to 1."""
    x = _floating(x)
    place = x * math.sqrt(0.5)
    square = place * place
    scaled = _of_positive(place.abs())
    left = torch.log(scaled / 2) - square
    upper = scaled * torch.exp(-square) / 2
    upper = torch.where(x < 0, 1 - upper, upper)  # what lies above x
    small = upper < 0.1
    series = -upper * polynomial(upper, [1 / power for power in range(1, 9)])
    middle = torch.where(small, series, torch.log(1 - torch.where(small, torch.zeros_like(upper), upper)))
    return torch.where(x < -1, torch.where(torch.isinf(x), x, left), middle)


@decomposes(aten.special_ndtri.default, tolerance=4e-6, normwise=True)
def ndtri(x: Tensor) -> Tensor:
    """Infinite at 0 and 1, NaN outside."""
    x = _floating(x)
    upper = x > 1 - TAIL
    y = torch.where(upper, 1 - x, x)
    middle = y > TAIL
    distance = torch.where(middle, y - 0.5, torch.zeros_like(y))
    square = distance * distance
    central = distance + distance * square * polynomial(square, MIDDLE_ABOVE) / polynomial(square, MIDDLE_BELOW)
    central = central * math.sqrt(2 * math.pi)
    inside = torch.logical_and(y > 0, torch.logical_not(middle))
    root = torch.sqrt(-2 * torch.log(torch.where(inside, y, torch.full_like(y, TAIL))))
    z = 1 / root
    tail = torch.where(
        root < FAR,
        polynomial(z, TAIL_ABOVE) / polynomial(z, TAIL_BELOW),
        polynomial(z, FAR_ABOVE) / polynomial(z, FAR_BELOW),
    )
    outer = root - torch.log(root) * z - z * tail
    found = torch.where(middle, central, torch.where(upper, outer, -outer))
    found = torch.where(x == 0, torch.full_like(found, -torch.inf), found)
    found = torch.where(x == 1, torch.full_like(found, torch.inf), found)
    return torch.where(torch.logical_and(x >= 0, x <= 1), found, torch.full_like(found, torch.nan))
