"""Arithmetic and elementary functions of complex tensors, as those of their parts.

A real operand stays real, so that where PyTorch multiplies infinity by the zero that it has for an imaginary part, and gets
NaN, these give what mathematics gives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.pairs import Pair, on_pairs, pair, parts

aten = torch.ops.aten

EPS = 1e-6
"""Of most functions here: some roundings of float32, relative to the largest magnitude in the result."""


def plus(x: Any, y: Any) -> Any:
    """Of parts, where None is nothing to add."""
    return y if x is None else x if y is None else x + y


def minus(x: Any, y: Any) -> Any:
    return x if y is None else -y if x is None else x - y


def times(x: Any, y: Any) -> Any:
    return None if x is None or y is None else x * y


@on_pairs(aten.mul, tolerance=EPS)
def mul(x: Any, y: Any) -> Pair:
    (a, b), (c, d) = parts(x), parts(y)
    return pair(minus(times(a, c), times(b, d)), plus(times(a, d), times(b, c)))


@on_pairs(aten.add)
def add(x: Any, y: Any, *, alpha: Any = 1) -> Pair:
    (a, b), (c, d) = parts(x), parts(y if _one(alpha) else _scaled(y, alpha))
    return pair(plus(a, c), plus(b, d))


@on_pairs(aten.sub)
def sub(x: Any, y: Any, *, alpha: Any = 1) -> Pair:
    (a, b), (c, d) = parts(x), parts(y if _one(alpha) else _scaled(y, alpha))
    return pair(minus(a, c), minus(b, d))


@on_pairs(aten.rsub)
def rsub(x: Any, y: Any, alpha: Any = 1) -> Pair:
    return sub(y, x, alpha=alpha)


def _one(alpha: Any) -> bool:
    return not isinstance(alpha, Tensor) and alpha == 1


def _scaled(x: Any, alpha: Any) -> Any:
    return mul(x, alpha) if isinstance(x, Pair) or isinstance(alpha, complex) else x * alpha


@on_pairs(aten.div, tolerance=EPS)
def div(x: Any, y: Any) -> Pair:
    """By the larger part of the divisor first, so that no square overflows (R. L. Smith, Algorithm 116, CACM 1962)."""
    a, b = parts(x)
    if not isinstance(y, Pair):
        if not isinstance(y, complex):
            return pair(a / y, None if b is None else b / y)
        y = 1 / y
        return mul(x, y)
    scale = torch.maximum(y.re.abs(), y.im.abs())
    c, d = y.re / scale, y.im / scale
    length = c * c + d * d
    re, im = plus(times(a, c), times(b, d)), minus(times(b, c), times(a, d))
    return pair(re / scale / length, im / scale / length)


@on_pairs(aten.reciprocal, tolerance=EPS)
def reciprocal(z: Pair) -> Pair:
    return div(1, z)


@on_pairs(aten.abs, tolerance=EPS)
def magnitude(z: Pair) -> Tensor:
    return torch.hypot(z.re, z.im)


@on_pairs(aten.angle, tolerance=EPS)
def angle(z: Pair) -> Tensor:
    return torch.atan2(z.im, z.re)


@on_pairs(aten.sgn, aten.sign, tolerance=EPS)
def sgn(z: Pair) -> Pair:
    length = magnitude(z)
    length = torch.where(length == 0, torch.ones_like(length), length)
    return Pair(z.re / length, z.im / length)


@on_pairs(aten.square, tolerance=EPS)
def square(z: Pair) -> Pair:
    return mul(z, z)


@on_pairs(aten.exp, tolerance=EPS)
def exp(z: Pair) -> Pair:
    growth = torch.exp(z.re)
    return Pair(growth * torch.cos(z.im), growth * torch.sin(z.im))


@on_pairs(aten.log, tolerance=EPS)
def log(z: Pair) -> Pair:
    return Pair(torch.log(magnitude(z)), angle(z))


@on_pairs(aten.log2, tolerance=EPS)
def log2(z: Pair) -> Pair:
    return mul(log(z), 1.4426950408889634)


@on_pairs(aten.log10, tolerance=EPS)
def log10(z: Pair) -> Pair:
    return mul(log(z), 0.4342944819032518)


@on_pairs(aten.log1p, tolerance=EPS)
def log1p(z: Pair) -> Pair:
    return log(add(z, 1))


@on_pairs(aten.sqrt, tolerance=EPS)
def sqrt(z: Pair) -> Pair:
    """The larger part from the magnitude and the other one by division: nothing cancels (W. Kahan, "Branch cuts", 1987)."""
    larger = torch.sqrt((magnitude(z) + z.re.abs()) / 2)
    smaller = z.im.abs() / (2 * torch.where(larger == 0, torch.ones_like(larger), larger))
    right = z.re >= 0
    im = torch.where(right, smaller, larger)
    below = torch.where(z.im == 0, 1 / z.im < 0, z.im < 0)  # the two sides of the cut differ by the sign of zero
    return Pair(torch.where(right, larger, smaller), torch.where(below, -im, im))


@on_pairs(aten.rsqrt, tolerance=EPS)
def rsqrt(z: Pair) -> Pair:
    return reciprocal(sqrt(z))


@on_pairs(aten.pow, tolerance=1e-5)
def pow(x: Any, y: Any) -> Pair:
    """Whole powers by squaring, all others by the logarithm."""
    if isinstance(y, int | float) and float(y).is_integer() and abs(y) <= 64:
        if y == 0:
            return Pair(torch.ones_like(x.re), torch.zeros_like(x.im))
        power = _whole(x, abs(int(y)))
        return reciprocal(power) if y < 0 else power
    base = x if isinstance(x, Pair) else _paired(x, y)
    made = exp(mul(log(base), y))
    nothing = torch.logical_and(base.re == 0, base.im == 0)
    # 0 to the power of 0 is 1, to any other one that has a value 0
    alone = eq(y, 0).to(made.re.dtype) if isinstance(y, Pair | Tensor) else float(y == 0)
    re = torch.where(nothing, alone, made.re)
    return Pair(re, torch.where(nothing, torch.zeros_like(made.im), made.im))


def _paired(x: Any, like: Any) -> Pair:
    """A number or a real tensor as a pair."""
    tensor = like.re if isinstance(like, Pair) else like
    re, im = parts(x)
    return pair(re if isinstance(re, Tensor) else torch.full_like(tensor, re), im)


def _whole(z: Any, power: int) -> Any:
    if power == 1:
        return z
    half = _whole(z, power // 2)
    even = mul(half, half)
    return mul(even, z) if power % 2 else even


@on_pairs(aten.cosh, tolerance=EPS)
def cosh(z: Pair) -> Pair:
    return Pair(torch.cosh(z.re) * torch.cos(z.im), torch.sinh(z.re) * torch.sin(z.im))


@on_pairs(aten.sinh, tolerance=EPS)
def sinh(z: Pair) -> Pair:
    return Pair(torch.sinh(z.re) * torch.cos(z.im), torch.cosh(z.re) * torch.sin(z.im))


@on_pairs(aten.cos, tolerance=EPS)
def cos(z: Pair) -> Pair:
    return cosh(_turned(z))


@on_pairs(aten.sin, tolerance=EPS)
def sin(z: Pair) -> Pair:
    return _turned_back(sinh(_turned(z)))


@on_pairs(aten.tanh, tolerance=EPS)
def tanh(z: Pair) -> Pair:
    """From tan of the imaginary and tanh of the real part, whose hyperbolic functions would overflow."""
    t, s = torch.tanh(z.re), torch.tan(z.im)
    return div(Pair(t, s), Pair(torch.ones_like(t), t * s))


@on_pairs(aten.tan, tolerance=EPS)
def tan(z: Pair) -> Pair:
    return _turned_back(tanh(_turned(z)))


def _turned(z: Pair) -> Pair:
    """Times the imaginary unit."""
    return Pair(-z.im, z.re)


def _turned_back(z: Pair) -> Pair:
    return Pair(z.im, -z.re)


@on_pairs(aten.sigmoid, tolerance=EPS)
def sigmoid(z: Pair) -> Pair:
    return reciprocal(add(exp(Pair(-z.re, -z.im)), 1))


@on_pairs(aten.silu, tolerance=EPS)
def silu(z: Pair) -> Pair:
    return mul(z, sigmoid(z))


@on_pairs(aten.eq)
def eq(x: Any, y: Any) -> Tensor:
    (a, b), (c, d) = parts(x), parts(y)
    same: Tensor = a == c
    return torch.logical_and(same, torch.as_tensor((0 if b is None else b) == (0 if d is None else d)))


@on_pairs(aten.ne)
def ne(x: Any, y: Any) -> Tensor:
    return torch.logical_not(eq(x, y))


@on_pairs(aten.isnan)
def isnan(z: Pair) -> Tensor:
    return torch.logical_or(torch.isnan(z.re), torch.isnan(z.im))


@on_pairs(aten.isinf)
def isinf(z: Pair) -> Tensor:
    return torch.logical_or(torch.isinf(z.re), torch.isinf(z.im))


@on_pairs(aten.isfinite)
def isfinite(z: Pair) -> Tensor:
    return torch.logical_and(torch.isfinite(z.re), torch.isfinite(z.im))


@on_pairs(aten.logical_not)
def logical_not(z: Pair) -> Tensor:
    return eq(z, 0)
