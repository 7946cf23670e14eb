"""Airy's function.

Source: the Cephes library (Moshier) in the form in which PyTorch evaluates it: rational functions of modulus and phase on the far
left, of the decay on the right, and the power series between, here of a fixed length.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.gamma import polynomial
from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

EDGE = 2.09
"""The power series holds between this and its negative."""

TERMS = 10

AT_ZERO, SLOPE = 0.35502805388781724, -0.2588194037928068

DECAY_ABOVE = (1.0, 14.0264691, 70.5360907, 159.756391, 168.089225, 76.2796054, 12.0075953, 0.346538102)
DECAY_BELOW = (1.0, 14.0959136, 71.4778401, 164.234693, 177.318088, 84.513897, 14.7562563, 0.567594533)
SINE_ABOVE = (
    *(-1.67787698e-08, -2.77649108e-06, -0.000159276496, -0.00406265924, -0.0491900133, -0.279779982),
    *(-0.693158036, -0.626456544, -0.131696323),
)
SINE_BELOW = (
    *(4.51850093e-07, 7.54720348e-05, 0.00440291642, 0.115687174, 1.47529147, 9.18707403, 26.7367041),
    *(32.6825033, 13.3560421),
)
COSINE_ABOVE = (
    *(3.41551785e-10, 8.1178924e-08, 6.9879367e-06, 0.000282851601, 0.00585804113, 0.063388892, 0.351465656),
    *(0.93916923, 1.06579898, 0.39110303, 0.0197339932),
)
COSINE_BELOW = (
    *(4.9183457e-09, 1.17166733e-06, 0.000101259085, 0.00412656524, 0.0864580826, 0.954293612, 5.47686069),
    *(15.5646629, 19.8352929, 9.30892908),
)


def _series(x: Tensor) -> Tensor:
    """DLMF 9.4.1."""
    cube = x * x * x
    even, odd = 1.0, 1.0
    evens, odds = [even], [odd]
    for term in range(1, TERMS):
        even, odd = even / (3 * term * (3 * term - 1)), odd / (3 * term * (3 * term + 1))
        evens.append(even)
        odds.append(odd)
    return AT_ZERO * polynomial(cube, evens) + SLOPE * x * polynomial(cube, odds)


@decomposes(aten.special_airy_ai.default, tolerance=4e-6, normwise=True)
def airy_ai(x: Tensor) -> Tensor:
    """NaN at infinity, of either sign."""
    x = x if x.dtype.is_floating_point else x.to(torch.get_default_dtype())
    left, right = x < -EDGE, x >= EDGE
    away = torch.logical_or(left, right)
    size = torch.where(away, x.abs(), torch.full_like(x, EDGE))
    root = size.sqrt()
    zeta = 2 / 3 * size * root
    inverse = 1 / zeta
    scale = 1 / (math.sqrt(math.pi) * root.sqrt())
    decay = scale / 2 * torch.exp(-zeta) * polynomial(inverse, DECAY_ABOVE) / polynomial(inverse, DECAY_BELOW)
    square = inverse * inverse
    sine = 1 + square * polynomial(square, SINE_ABOVE) / polynomial(square, SINE_BELOW)
    cosine = inverse * polynomial(square, COSINE_ABOVE) / polynomial(square, COSINE_BELOW)
    angle = zeta + math.pi / 4
    waves = scale * (torch.sin(angle) * sine - torch.cos(angle) * cosine)
    found = torch.where(right, decay, _series(torch.where(away, torch.zeros_like(x), x)))
    found = torch.where(left, waves, found)
    return torch.where(torch.isinf(x), torch.full_like(found, torch.nan), found)
