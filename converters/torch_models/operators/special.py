"""Special functions, elementwise."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.gamma import polynomial
from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten


@decomposes(aten.hypot.default, tolerance=2e-7)
def hypot(x: Tensor, y: Tensor) -> Tensor:
    """The larger side times the square root of one and the ratio's square, so that no square overflows; infinity where either
    side is infinite, whatever the other one is (IEEE 754).
    """
    x, y = x.abs(), y.abs()
    # chosen by one comparison: TVM can't compile a maximum and a minimum of the same two in one kernel
    first = x > y
    large, small = torch.where(first, x, y), torch.where(first, y, x)
    ratio = small / torch.where(large == 0, torch.ones_like(large), large)
    length = large * torch.sqrt(1 + ratio * ratio)
    infinite = torch.logical_or(torch.isinf(x), torch.isinf(y))
    return torch.where(infinite, torch.full_like(length, torch.inf), length)


def _log_of_sum(x: Tensor, y: Tensor, base: float) -> Tensor:
    """The larger one, and the logarithm of 1 and the ratio of the two: the exporters' powers overflow beyond 88."""
    kind = torch.result_type(x, y)
    x, y = x.to(kind), y.to(kind)
    first = torch.logical_or(x > y, torch.isnan(x))
    large, small = torch.where(first, x, y), torch.where(first, y, x)
    scale = math.log(base)
    apart = torch.where(large == small, torch.zeros_like(large), small - large)  # of infinities too
    return large + torch.log1p(torch.exp(apart * scale)) / scale


@decomposes(aten.logaddexp.default, tolerance=3e-7, normwise=True)
def logaddexp(x: Tensor, y: Tensor) -> Tensor:
    return _log_of_sum(x, y, math.e)


@decomposes(aten.logaddexp2.default, tolerance=3e-7, normwise=True)
def logaddexp2(x: Tensor, y: Tensor) -> Tensor:
    return _log_of_sum(x, y, 2)


ERFINV_NEAR = (
    *(1.50140941, 0.246640727, -0.00417768164, -0.00125372503, 0.00021858087, -4.39150654e-06, -3.5233877e-06),
    *(3.43273939e-07, 2.81022636e-08),
)
ERFINV_FAR = (
    *(2.83297682, 1.00167406, 0.00943887047, -0.0076224613, 0.00573950773, -0.00367342844, 0.00134934322),
    *(0.000100950558, -0.000200214257),
)


@decomposes(aten.erfinv.default, aten.special_erfinv.default, tolerance=2e-6)
def erfinv(x: Tensor) -> Tensor:
    """By two polynomials of log(1 - x^2).

    Source: Giles, "Approximating the erfinv function", GPU Computing Gems, 2011, single precision, from which float64 gains
    nothing.
    """
    x = x if x.dtype.is_floating_point else x.to(torch.get_default_dtype())
    end = x.abs() == 1
    w = -torch.log((1 - x) * (1 + x))
    near = polynomial(w - 2.5, ERFINV_NEAR)
    far = polynomial(torch.sqrt(torch.where(w < 5, torch.full_like(w, 5), w)) - 3, ERFINV_FAR)
    found = torch.where(w < 5, near, far) * x
    return torch.where(end, x * torch.inf, found)


@decomposes(aten.log_sigmoid.default, tolerance=2e-7)
def log_sigmoid(x: Tensor) -> Tensor:
    """log(1 / (1 + e^-x)), which the exporter writes as the logarithm of a sigmoid: of -104 and less that one is 0."""
    return -torch.nn.functional.softplus(-x)


@decomposes(aten.rrelu.default)
def rrelu(x: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, generator: Any = None) -> Any:
    """Of inference: the slope is the mean of those that training draws."""
    return NotImplemented if training else torch.nn.functional.leaky_relu(x, (lower + upper) / 2)


@decomposes(aten.signbit.default)
def signbit(x: Tensor) -> Tensor:
    """A zero's sign is its reciprocal's (ONNX Runtime's Where loses it). A NaN counts as positive: no graph can tell."""
    if not x.dtype.is_floating_point:
        return x < 0 if x.dtype != torch.bool else torch.zeros_like(x)
    return torch.logical_or(x < 0, 1 / x < 0)


@decomposes(aten.copysign.Tensor)
def copysign(x: Tensor, y: Tensor) -> Tensor:
    """The first one's magnitude with the second one's sign, of zeros too."""
    kind = torch.result_type(x, y)
    size = x.abs().to(kind if kind.is_floating_point else torch.get_default_dtype())
    return torch.where(signbit(y), -size, size)


@decomposes(aten.copysign.Scalar)
def copysign_of_number(x: Tensor, y: float) -> Tensor:
    """As `copysign`, with a sign that is known."""
    size = x.abs()
    size = size if size.dtype.is_floating_point else size.to(torch.get_default_dtype())
    return -size if math.copysign(1, y) < 0 else size


@decomposes(aten.atan2.default, aten.arctan2.default, tolerance=3e-7)
def atan2(y: Tensor, x: Tensor) -> Tensor:
    """Of the first octant, then mirrored, with the signs of zeros and the quotients of infinities as C has them (ISO C, annex F): the
    exporters take minus pi for the angle of a negative number.
    """
    kind = torch.result_type(y, x)
    kind = kind if kind.is_floating_point else torch.get_default_dtype()
    y, x = y.to(kind), x.to(kind)
    rise, run = y.abs(), x.abs()
    steep = rise > run
    large, small = torch.where(steep, rise, run), torch.where(steep, run, rise)
    equal = torch.logical_and(small == large, large > 0)  # of infinities too
    ratio = torch.where(equal, torch.ones_like(large), small / torch.where(large == 0, torch.ones_like(large), large))
    angle = torch.atan(ratio)
    angle = torch.where(steep, math.pi / 2 - angle, angle)
    angle = torch.where(signbit(x), math.pi - angle, angle)
    return torch.where(signbit(y), -angle, angle)


@decomposes(aten.frexp.Tensor)
def frexp(x: Tensor) -> Any:
    """Mantissa and exponent, exactly: by halvings of powers of two, largest first."""
    if x.dtype not in (torch.float32, torch.float16):
        return NotImplemented
    single = x.dtype == torch.float32
    least, digits = (-126, 24) if single else (-14, 11)
    whole = torch.logical_and(torch.isfinite(x), x != 0)
    size = torch.where(whole, x.abs(), torch.ones_like(x))
    exponent = torch.ones_like(x, dtype=torch.int32)
    for bound, lift in ((2.0**least, digits), (1.0, -least)):
        low = size < bound
        size, exponent = torch.where(low, size * 2.0**lift, size), torch.where(low, exponent - lift, exponent)
    for power in (64, 32, 16, 8, 4, 2, 1) if single else (8, 4, 2, 1):
        high = size >= 2.0**power
        size, exponent = torch.where(high, size * 2.0**-power, size), torch.where(high, exponent + power, exponent)
    mantissa = torch.where(x < 0, -size, size) / 2
    return torch.where(whole, mantissa, x), torch.where(whole, exponent, torch.zeros_like(exponent))


def _greater(x: Tensor, y: Tensor, greatest: bool) -> Tensor:
    kind = torch.result_type(x, y)
    x, y = x.to(kind), y.to(kind)
    if not kind.is_floating_point:
        return torch.maximum(x, y) if greatest else torch.minimum(x, y)
    first = torch.logical_or(torch.isnan(y), x >= y if greatest else x <= y)
    return torch.where(first, x, y)


@decomposes(aten.fmax.default)
def fmax(x: Tensor, y: Tensor) -> Tensor:
    """The greater one, or the one that is a number."""
    return _greater(x, y, greatest=True)


@decomposes(aten.fmin.default)
def fmin(x: Tensor, y: Tensor) -> Tensor:
    """The lesser one, or the one that is a number."""
    return _greater(x, y, greatest=False)


@decomposes(aten.nextafter.default)
def nextafter(x: Tensor, y: Tensor) -> Any:
    """By the distance to the neighbour: 2^-24 of the power of two above, in float32, and half of that from a power of two
    towards 0.
    """
    if x.dtype != torch.float32:
        return NotImplemented
    mantissa, exponent = frexp(x)
    edge = torch.logical_and(mantissa.abs() == 0.5, (y > x) != (x > 0))
    exponent = torch.where(edge, exponent - 1, exponent).clamp(min=-125)
    # two factors: no power that a graph computes is subnormal
    distance = torch.exp2((exponent - 1).to(x.dtype)) * 2.0**-23
    moved = torch.where(y > x, x + distance, x - distance)
    least = torch.where(y > 0, torch.full_like(x, 2.0**-149), torch.full_like(x, -(2.0**-149)))
    moved = torch.where(x == 0, least, moved)
    most = torch.full_like(x, torch.finfo(x.dtype).max)
    moved = torch.where(torch.isinf(x), torch.where(x > 0, most, -most), moved)
    moved = torch.where(x == y, y, moved)
    return torch.where(torch.logical_or(torch.isnan(x), torch.isnan(y)), x + y, moved)
