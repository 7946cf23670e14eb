"""The regularized incomplete gamma functions."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.gamma import STIRLING, lgamma, polynomial
from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

POINTS = 32

TERMS = 10

DECAY = 18.0
"""Where exp(-t) is below float32's rounding."""

STIRLING_FROM = 8.0


def _factor(a: Tensor, x: Tensor) -> Tensor:
    """x^a exp(-x) / gamma(a); by Stirling's series where powers of a large `a` would lose their last digits."""
    large = a >= STIRLING_FROM
    low = torch.where(large, torch.ones_like(a), a)
    direct = torch.exp(low * torch.log(x) - x - lgamma(low))
    high = torch.where(large, a, torch.full_like(a, STIRLING_FROM))
    away = (x - high) / high
    # log(1 + t) - t, without the difference's rounding where t is small
    near = away.abs() < 0.1
    small = torch.where(near, away, torch.zeros_like(away))
    series = -small * small * polynomial(small, [(-1) ** n / (n + 2) for n in range(8)])
    rest = torch.where(near, series, torch.log(x / high) - away)
    correction = polynomial((1 / high).square(), STIRLING) / high
    stirling = torch.sqrt(high / (2 * math.pi)) * torch.exp(high * rest - correction)
    return torch.where(large, stirling, direct)


def _integral(a: Tensor, x: Tensor, length: Tensor, upper: bool) -> Tensor:
    """Of exp(-x (e^s - 1) + a s), or of exp(x (1 - e^-s) - a s), over s from 0 to `length`: Gauss and Legendre's sum."""
    places, weights = np.polynomial.legendre.leggauss(POINTS)
    where, weight = (torch.from_numpy(each / 2).to(x) for each in (places + 1, weights))
    s = length[..., None] * where
    grown = torch.expm1(s if upper else -s)
    exponent = -x[..., None] * grown + (a if upper else -a)[..., None] * s
    return (torch.exp(exponent) * weight).sum(-1) * length


def _series(a: Tensor, x: Tensor) -> Tensor:
    """The lower integral where `x` is below 1, whose start is too steep for the sum where `a` is small: DLMF 8.11.4."""
    found = torch.ones_like(x)
    for term in range(TERMS, 0, -1):
        found = 1 + found * x / (a + term)
    return found / a


def _tails(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """P where `x` is at most `a`, and Q where it is above, `a` and `x` being positive and finite: DLMF 8.2 with t = x e^-s and
    t = x e^s, over as much of the axis as counts.
    """
    below = x <= a
    gap = torch.where(x == a, torch.full_like(x, 1e-30), (x - a).abs())
    wave = torch.sqrt(3 * DECAY / x)
    wave = torch.where(wave < 1, wave, torch.full_like(wave, torch.inf))
    lower_a, lower_x = torch.where(below, a, torch.ones_like(a)), torch.where(below, x, torch.ones_like(x))
    length = torch.minimum(torch.minimum((DECAY + lower_x) / lower_a, DECAY / gap), wave)
    p = torch.where(lower_x < 1, _series(lower_a, lower_x), _integral(lower_a, lower_x, length, upper=False))
    upper_a, upper_x = torch.where(below, torch.ones_like(a), a), torch.where(below, torch.ones_like(x), x)
    wave = torch.where(upper_x < 1, torch.log((DECAY + 3) / upper_x + 1), torch.sqrt(2 * DECAY / upper_x))
    length = torch.minimum(DECAY / gap, wave)
    q = _integral(upper_a, upper_x, length, upper=True)
    factor = _factor(a, x)
    return factor * p, factor * q


def _regularized(a: Tensor, x: Tensor, upper: bool) -> Tensor:
    a, x = torch.broadcast_tensors(a, x)
    fine = torch.logical_and(torch.logical_and(a > 0, x > 0), torch.logical_not(torch.isinf(a + x)))
    one = torch.ones_like(x)
    inner_a, inner_x = torch.where(fine, a, one), torch.where(fine, x, one)
    p, q = _tails(inner_a, inner_x)
    below = inner_x <= inner_a
    found = torch.where(below, 1 - p, q) if upper else torch.where(below, p, 1 - q)
    # P is 0 at the lower end of the axis and where the mean is infinite
    lower = torch.where(torch.logical_or(x == 0, torch.isinf(a)), torch.zeros_like(x), one)
    found = torch.where(fine, found, 1 - lower if upper else lower)
    none = torch.logical_or(torch.logical_and(a == 0, x == 0), torch.logical_and(torch.isinf(a), torch.isinf(x)))
    none = torch.logical_or(none, torch.logical_or(a < 0, x < 0))
    none = torch.logical_or(none, torch.isnan(a + x))
    return torch.where(none, torch.full_like(found, torch.nan), found)


@decomposes(*(aten.igamma.default, aten.special_gammainc.default), tolerance=2e-5, normwise=True)
def igamma(a: Tensor, x: Tensor) -> Tensor:
    """P(a, x): by the integral of the tail that `x` lies in, the other one being the rest to 1."""
    return _regularized(a, x, upper=False)


@decomposes(*(aten.igammac.default, aten.special_gammaincc.default), tolerance=2e-5, normwise=True)
def igammac(a: Tensor, x: Tensor) -> Tensor:
    """Q(a, x), the rest to 1."""
    return _regularized(a, x, upper=True)
