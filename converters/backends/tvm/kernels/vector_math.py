"""exp, log, tanh, erf and what follows from them, for vectors of float32: polynomials in place of calls into libm.

LLVM calls libm once per lane. Largest errors against float64, as the tests hold them: exp 2e-7, sigmoid, tanh and erf 5e-7
relative, log 2e-7 of the larger of 1 and its value; silu and gelu 1e-6 absolute. NaN comes out as NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm.tirx.script.builder import ir as T

from enginesmith.converters.backends.tvm.kernels.emit import Simd

# e^r for |r| <= ln 2 / 2, fitted to the least largest relative error (9.2e-8) by Lawson's algorithm, with 1 at r = 0
_EXP = (8.2903147465e-3, 4.1897929507e-2, 0.16667636196, 0.4999914953, 0.99999970719, 1.0)
_EXP_LEAST, _EXP_LOW, _EXP_MOST = -104.0, -86.6, 88.8  # 0 below the first, infinite above the last
# Cephes, logf.c
_LOG = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)  # fmt: skip
_LEAST_NORMAL = 1.17549435e-38
_MANTISSA = 23
"""Bits of a float32's mantissa, above which its exponent lies."""
_LOG2_E = 1.44269504088896341
_LN2 = 0.69314718055994531
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4  # the first times any n below 2^14 is exact
# Eigen, MathFunctionsImpl.h, ptanh_float: odd and even coefficients, highest first. At the limit it is 1 with and without
# fused multiplication: half of x (1 + tanh) has to be 0 for a large negative x
_TANH_LIMIT = 9.0
_TANH_ODD = (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
             1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03)  # fmt: skip
_TANH_EVEN = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
# Eigen, SpecialFunctionsImpl.h, erf for float: the same form, for |x| <= 4
_ERF_LIMIT = 4.0
_ERF_ODD = (-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
            -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02)  # fmt: skip
_ERF_EVEN = (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
             -1.42647390514189e-02)  # fmt: skip
_SQRT_HALF = 0.70710678118654752
_SQRT_HALF_BITS = 0x3F3504F3
_MOST = 3.4028234663852886e38
_SQRT_2_PI = 0.79788456080286536
_GELU_CUBE = 0.044715


def exp(simd: Simd, x: Any) -> Any:
    """e^x by 2^n times a polynomial; 2^n in two halves, so that what is too large gets infinite and what is small denormal."""
    series, n = _exp(simd, clamp(simd, x, _EXP_LEAST, _EXP_MOST), 1)
    half = T.Bind(n >> _ints(simd, 1))
    first = T.reinterpret(simd.dtype, T.reinterpret(_int_type(simd), series) + (half << _ints(simd, _MANTISSA)))
    return first * T.reinterpret(simd.dtype, (n - half + _ints(simd, 127)) << _ints(simd, _MANTISSA))


def exp_of_negative(simd: Simd, x: Any) -> Any:
    """e^x for x <= 0, what is denormal as 0."""
    series, n = _exp(simd, clamp(simd, x, 2 * _EXP_LEAST, float("inf")), 1)
    return series * T.reinterpret(simd.dtype, T.max(n + _ints(simd, 127), _ints(simd, 0)) << _ints(simd, _MANTISSA))


def sigmoid(simd: Simd, x: Any) -> Any:
    """1 / (1 + e^-x)"""
    one = simd.splat(1.0)
    return one / (one + _exp_of_minus(simd, x))


def silu(simd: Simd, x: Any) -> Any:
    """x sigmoid(x), whose product with x forgives what the exponential of a large number loses."""
    x = T.Bind(x)
    return x / (simd.splat(1.0) + _exp_of_minus(simd, x, rough=True))


def tanh(simd: Simd, x: Any) -> Any:
    return _rational(simd, clamp(simd, x, -_TANH_LIMIT, _TANH_LIMIT), _TANH_ODD, _TANH_EVEN)


def erf(simd: Simd, x: Any) -> Any:
    return _rational(simd, clamp(simd, x, -_ERF_LIMIT, _ERF_LIMIT), _ERF_ODD, _ERF_EVEN)


def gelu(simd: Simd, x: Any) -> Any:
    """x / 2 * (1 + erf(x / sqrt 2))"""
    return x * simd.fma(erf(simd, x * simd.splat(_SQRT_HALF)), simd.splat(0.5), simd.splat(0.5))


def gelu_tanh(simd: Simd, x: Any) -> Any:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), the form that Hendrycks and Gimpel approximate GELU by."""
    x = T.Bind(x)
    inner = simd.fma(x * x * x, simd.splat(2 * _GELU_CUBE * _SQRT_2_PI), x * simd.splat(2 * _SQRT_2_PI))
    return x * sigmoid(simd, inner)  # exact where tanh would be near -1


def log(simd: Simd, x: Any) -> Any:
    """By the exponent, and a polynomial of the rest; -inf of 0, NaN below it."""
    x = T.Bind(x)
    zero, least = simd.splat(0.0), simd.splat(_LEAST_NORMAL)
    shifted = T.Bind(T.Select(x < least, x * simd.splat(2.0**_MANTISSA), x))  # denormal numbers are so no longer
    moved = T.Select(x < least, _ints(simd, -_MANTISSA), _ints(simd, 0))
    bits = T.Bind(T.reinterpret(_int_type(simd), T.max(least, shifted)))
    exponent = T.Bind((bits - _ints(simd, _SQRT_HALF_BITS)) >> _ints(simd, _MANTISSA))
    m = T.Bind(T.reinterpret(simd.dtype, bits - (exponent << _ints(simd, _MANTISSA))) - simd.splat(1.0))
    power, square = T.Bind(T.cast(exponent + moved, simd.dtype)), T.Bind(m * m)
    rest = simd.fma(power, simd.splat(_LN2_LOW), _polynomial(simd, m, _LOG) * m * square)
    rest = T.Bind(rest - square * simd.splat(0.5))
    result = simd.fma(power, simd.splat(_LN2_HIGH), m + rest)
    beyond = T.max(zero, x - simd.splat(_MOST))  # inf of inf, else 0
    below = T.min(zero, shifted - least) * simd.splat(_MOST) * simd.splat(_MOST)  # -inf of 0, else 0
    negative = T.call_llvm_pure_intrin(simd.dtype, "llvm.sqrt", T.min(zero, x))  # NaN below 0, else 0
    return result + beyond + below + negative


def extreme(pick: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """The larger (`T.max`) or smaller (`T.min`), NaN where one is: of those the instruction takes the second."""
    a = T.Bind(a)
    return T.Select(T.isnan(a), a, pick(a, b))


def greater(simd: Simd, a: Any, b: Any) -> Any:
    """1 where a > b, 0 elsewhere and for NaN. By arithmetic: TVM can't simplify what it binds vectors of bool to."""
    more = (a - b) * simd.splat(_MOST) * simd.splat(_MOST)
    return T.min(T.max(more, simd.splat(0.0)), simd.splat(1.0))  # the constants come last: 0 is the larger beside NaN


def where(simd: Simd, mask: Any, a: Any, b: Any) -> Any:
    """a where the mask is 1, b where it is 0; the bits are mixed."""
    chosen = T.Bind(_ints(simd, 0) - T.cast(mask, _int_type(simd)))
    first, second = (T.reinterpret(_int_type(simd), value) for value in (a, b))
    return T.reinterpret(simd.dtype, (first & chosen) | (second & (_ints(simd, -1) - chosen)))


def clamp(simd: Simd, x: Any, low: float, high: float) -> Any:
    """The constants come first: then the comparison lets NaN through."""
    if high < float("inf"):
        x = T.min(simd.splat(high), x)
    return T.max(simd.splat(low), x) if low > -float("inf") else x


def _exp_of_minus(simd: Simd, x: Any, rough: bool = False) -> Any:
    """e^-x; 2e-38 or more, and infinite where it is too large. Half of it is computed, whose exponent doesn't overflow."""
    series, n = _exp(simd, clamp(simd, x, -_EXP_MOST, -_EXP_LOW), -1, rough, scale=0.5)
    half = T.reinterpret(simd.dtype, T.reinterpret(_int_type(simd), series) + (n << _ints(simd, _MANTISSA)))
    return half * simd.splat(2.0)


def _exp(simd: Simd, x: Any, sign: int, rough: bool = False, scale: float = 1.0) -> tuple[Any, Any]:
    """e^(sign x) as a polynomial of what n ln 2 leaves, times `scale`, and the n of 2^n, an integer.

    `rough`: a relative error of up to 1e-7 |x|, an instruction less.
    """
    x = T.Bind(x)
    n = T.Bind(T.call_llvm_pure_intrin(simd.dtype, "llvm.rint", x * simd.splat(sign * _LOG2_E)))
    r = x
    for part in (_LN2,) if rough else (_LN2_HIGH, _LN2_LOW):
        r = T.Bind(simd.fma(n, simd.splat(-sign * part), r))
    powers = zip(_EXP, reversed(range(len(_EXP))), strict=True)
    series = T.Bind(_polynomial(simd, r, [scale * c * sign**k for c, k in powers]))
    return series, T.Bind(T.cast(n, _int_type(simd)))


def _rational(simd: Simd, x: Any, odd: Sequence[float], even: Sequence[float]) -> Any:
    """x P(x^2) / Q(x^2)"""
    x = T.Bind(x)
    square = T.Bind(x * x)
    return x * _polynomial(simd, square, odd) / _polynomial(simd, square, even)


def _polynomial(simd: Simd, x: Any, coefficients: Sequence[float]) -> Any:
    """Horner's scheme, highest power first."""
    value = simd.splat(coefficients[0])
    for coefficient in coefficients[1:]:
        value = T.Bind(simd.fma(value, x, simd.splat(coefficient)))
    return value


def _int_type(simd: Simd) -> str:
    return f"int32x{simd.lanes}" if simd.lanes > 1 else "int32"


def _ints(simd: Simd, value: int) -> Any:
    return T.Broadcast(T.int32(value), simd.lanes) if simd.lanes > 1 else T.int32(value)
