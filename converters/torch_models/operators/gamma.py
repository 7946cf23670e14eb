"""The gamma function's logarithm and its derivatives, Hurwitz' zeta function.

Errors are relative to a result's magnitude, or to 1 near a function's zeros on the negative axis and digamma's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

LGAMMA = (
    *(0.422784336, -0.100317302, 0.0329649495, -0.0123841679, 0.00499944951, -0.00210851419, 0.000910639952),
    *(-0.000403461197, 0.000195539624, -8.92520143e-05, 2.04818777e-05, -9.27990505e-06, 1.923083e-05, -9.05981644e-06),
)
"""lgamma(2 + t) / (t (t + 1)) by powers of t for |t| <= 1: interpolated at Chebyshev's points, with an error of 2e-9."""

STIRLING = (1 / 12, -1 / 360, 1 / 1260)
"""Of lgamma, by odd powers of 1 / x: DLMF 5.11.1."""

PSI = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)
"""Of digamma, by even powers of 1 / x: DLMF 5.11.2."""

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730)
"""The even Bernoulli numbers from the second."""

ZETA_TERMS = 10


def polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Horner's rule, from the constant up."""
    value = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def _floating(x: Tensor) -> Tensor:
    return x if x.dtype.is_floating_point else x.to(torch.get_default_dtype())


def _of_positive(x: Tensor) -> Tensor:
    """Between 1 and 3 by the polynomial, to which smaller and larger ones are moved by the recurrence; from 8 by Stirling's."""
    far = x >= 8
    near = torch.where(far, torch.full_like(x, 2), x)
    low = near < 1
    product, moved = torch.ones_like(x), near
    for _ in range(5):
        above = moved >= 3
        moved = torch.where(above, moved - 1, moved)
        product = torch.where(above, product * moved, product)
    t = torch.where(low, moved - 1, moved - 2)
    inner = polynomial(t, LGAMMA) * t * (t + 1)
    inner = inner + torch.log(product) - torch.log(torch.where(low, near, torch.ones_like(near)))
    outer = torch.where(far, x, torch.full_like(x, 8))
    correction = polynomial((1 / outer).square(), STIRLING) / outer
    stirling = (outer - 0.5) * (torch.log(outer) - 1) + (0.5 * math.log(2 * math.pi) - 0.5) + correction
    return torch.where(far, stirling, inner)


@decomposes(aten.lgamma.default, aten.special_gammaln.default, tolerance=4e-6, normwise=True)
def lgamma(x: Tensor) -> Tensor:
    """By reflection where `x` is negative: DLMF 5.5.3."""
    x = _floating(x)
    size = x.abs()
    found = _of_positive(size)
    rest = size - torch.floor(size)
    sine = torch.sin(math.pi * torch.where(rest > 0.5, 1 - rest, rest))
    pole = torch.logical_and(x <= 0, rest == 0)
    safe = torch.where(sine == 0, torch.ones_like(sine), sine)
    # the reflected size is taken in its own logarithm: a product with it could overflow
    negative = (
        math.log(math.pi) - torch.log(safe) - torch.log(torch.where(size == 0, torch.ones_like(size), size)) - found
    )
    found = torch.where(x < 0, negative, found)
    found = torch.where(pole, torch.full_like(found, torch.inf), found)
    return torch.where(torch.isinf(x), torch.full_like(found, torch.inf), found)


@decomposes(aten.mvlgamma.default, tolerance=4e-6, normwise=True)
def mvlgamma(x: Tensor, p: int) -> Tensor:
    """DLMF 35.3.4."""
    x = _floating(x)
    found = lgamma(x)
    for step in range(1, p):
        found = found + lgamma(x - step / 2)
    return found + p * (p - 1) / 4 * math.log(math.pi)


@decomposes(
    *(aten.digamma.default, aten.special_digamma.default, aten.special_psi.default), tolerance=4e-6, normwise=True
)
def digamma(x: Tensor) -> Tensor:
    """Moved to 6 and beyond by the recurrence, DLMF 5.5.2; by reflection where `x` is negative, DLMF 5.5.4."""
    x = _floating(x)
    negative = x < 0
    moved = torch.where(negative, 1 - x, x)
    found = torch.zeros_like(x)
    for _ in range(6):
        low = moved < 6
        found = torch.where(low, found - 1 / moved, found)
        moved = torch.where(low, moved + 1, moved)
    square = (1 / moved).square()
    found = found + torch.log(moved) - 0.5 / moved - square * polynomial(square, PSI)
    rest = x - torch.round(x)
    angle = math.pi * torch.where(negative, rest, torch.ones_like(rest) / 4)
    found = torch.where(negative, found - math.pi * torch.cos(angle) / torch.sin(angle), found)
    pole = torch.logical_and(negative, rest == 0)
    return torch.where(pole, torch.full_like(found, torch.nan), found)


@decomposes(aten.special_zeta.default, tolerance=4e-6)
def zeta(x: Tensor, q: Tensor) -> Tensor:
    """Euler and Maclaurin's sum, for `x` above 1 and `q` above 0: DLMF 25.11.28. NaN elsewhere, infinity for `x` of 1."""
    x, q = torch.broadcast_tensors(_floating(x), _floating(q))
    outside = torch.logical_or(x < 1, q < 0)
    pole = torch.logical_or(x == 1, q == 0)
    none = torch.logical_or(outside, pole)
    exponent = torch.where(none, torch.full_like(x, 2), x)
    base = torch.where(none, torch.ones_like(q), q)
    found = torch.zeros_like(base)
    for step in range(ZETA_TERMS):
        found = found + torch.pow(base + step, -exponent)
    end = base + ZETA_TERMS
    last = torch.pow(end, -exponent)
    found = found + last * (end / (exponent - 1) + 0.5)
    rising, factorial = exponent / end, 2.0
    for step, number in enumerate(BERNOULLI):
        found = found + last * rising * (number / factorial)
        first = 2 * step + 1
        rising = rising * ((exponent + first) / end) * ((exponent + (first + 1)) / end)
        factorial *= (first + 2) * (first + 3)
    found = torch.where(pole, torch.full_like(found, torch.inf), found)
    return torch.where(outside, torch.full_like(found, torch.nan), found)


def _cotangent(order: int) -> list[float]:
    """A derivative of cot as a polynomial of it, from the constant up: that of c is -(1 + c^2)."""
    found = [0.0, 1.0]
    for _ in range(order):
        slope = [power * value for power, value in enumerate(found)][1:]
        found = [-(one + two) for one, two in zip([*slope, 0.0, 0.0], [0.0, 0.0, *slope], strict=True)]
    return found


@decomposes(aten.polygamma.default, tolerance=8e-6, normwise=True)
def polygamma(n: int, x: Tensor) -> Tensor:
    """DLMF 5.15.1: the zeta function of n + 1; reflected where `x` is negative, DLMF 5.15.6."""
    x = _floating(x)
    if n == 0:
        return digamma(x)
    low = x < 0.5
    sign = 1 if n % 2 else -1
    found = sign * math.factorial(n) * zeta(torch.full_like(x, n + 1), torch.where(low, 1 - x, x))
    rest = x - torch.round(x)
    pole = torch.logical_and(low, rest == 0)
    angle = math.pi * torch.where(torch.logical_and(low, rest != 0), rest, torch.full_like(rest, 0.25))
    reflected = math.pi ** (n + 1) * polynomial(torch.cos(angle) / torch.sin(angle), _cotangent(n))
    found = torch.where(low, -sign * found - reflected, found)
    if n == 1:
        found = torch.where(x == torch.inf, torch.zeros_like(found), found)  # which PyTorch has of this one alone
    return torch.where(pole, torch.full_like(found, sign * torch.inf), found)
