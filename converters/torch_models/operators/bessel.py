"""Modified Bessel functions of the first and second kind, orders 0 and 1.

Source: Chebyshev series of the Cephes library (Moshier), which PyTorch evaluates as well, less the terms that float32 can't hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

I0_NEAR = (
    *(
        -5.1897956e-10,
        2.65982372e-09,
        -1.30002501e-08,
        6.04699502e-08,
        -2.67079385e-07,
        1.11738754e-06,
        -4.41673836e-06,
    ),
    *(1.64484481e-05, -5.75419501e-05, 0.000188502885, -0.000576375575, 0.00163947562, -0.00432431, 0.0105464604),
    *(-0.0237374148, 0.0493052842, -0.094901097, 0.171620902, -0.304682672, 0.676795274),
)
I0_FAR = (
    *(4.94060239e-10, 3.39623203e-09, 2.26666899e-08, 2.04891859e-07, 2.89137052e-06, 6.88975835e-05, 0.00336911648),
    0.804490411,
)
I1_NEAR = (
    *(
        9.38153739e-09,
        -4.44505913e-08,
        2.00329475e-07,
        -8.56872026e-07,
        3.47025131e-06,
        -1.32731637e-05,
        4.78156511e-05,
    ),
    *(-0.000161760816, 0.000512285956, -0.00151357245, 0.00415642294, -0.0105640849, 0.024726449, -0.0529459812),
    *(0.102643659, -0.176416518, 0.252587186),
)
I1_FAR = (
    *(-3.83538039e-09, -2.63146885e-08, -2.51223624e-07, -3.88256481e-06, -0.000110588939, -0.00976109749, 0.778576235),
)

K0_NEAR = (1.90451638e-09, 2.53479108e-07, 2.2862121e-05, 0.00126461541, 0.0359799365, 0.3442899, -0.535327393)
K0_FAR = (
    *(-1.69753451e-09, 8.57403402e-09, -4.6604899e-08, 2.76681364e-07, -1.83175552e-06, 1.39498137e-05),
    *(-0.000128495496, 0.00156988389, -0.0314481013, 2.44030308),
)
K1_NEAR = (-2.21338763e-08, -2.43340614e-06, -0.000173028896, -0.00697572386, -0.122611181, -0.353155961, 1.52530023)
K1_FAR = (
    *(2.01504976e-09, -1.03457625e-08, 5.74108413e-08, -3.5019606e-07, 2.40648495e-06, -1.93619797e-05),
    *(0.000195215518, -0.00285781686, 0.103923737, 2.72062619),
)


def _series(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Clenshaw's recurrence, the last coefficient being halved and at degree 0; x is twice the polynomials' own."""
    last, one, two = (torch.zeros_like(x) for _ in range(3))
    for coefficient in coefficients:
        last, one, two = x * last - one + coefficient, last, one
    return (last - two) / 2


def _scaled(x: Tensor, near: Sequence[float], far: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
    """The series up to 8 and beyond it, over the root, and which of them holds."""
    close = x <= 8
    inner = _series(torch.where(close, x, torch.zeros_like(x)) / 2 - 2, near)
    outer = torch.where(close, torch.full_like(x, 8), x)
    return close, inner, _series(32 / outer - 2, far) / outer.sqrt()


def _floating(x: Tensor) -> Tensor:
    return x if x.dtype.is_floating_point else x.to(torch.get_default_dtype())


@decomposes(aten.special_i0e.default, tolerance=2e-6)
def i0e(x: Tensor) -> Tensor:
    """Times exp(-|x|)."""
    close, near, far = _scaled(_floating(x).abs(), I0_NEAR, I0_FAR)
    return torch.where(close, near, far)


@decomposes(aten.special_i1e.default, tolerance=2e-6)
def i1e(x: Tensor) -> Tensor:
    """Times exp(-|x|)."""
    x = _floating(x)
    size = x.abs()
    close, near, far = _scaled(size, I1_NEAR, I1_FAR)
    found = torch.where(close, near * size, far)
    return torch.where(x < 0, -found, found)


@decomposes(aten.i0.default, aten.special_i0.default, aten.special_modified_bessel_i0.default, tolerance=4e-6)
def i0(x: Tensor) -> Tensor:
    """An error of the exponential's argument comes with it."""
    return torch.exp(_floating(x).abs()) * i0e(x)


@decomposes(aten.special_i1.default, aten.special_modified_bessel_i1.default, tolerance=4e-6)
def i1(x: Tensor) -> Tensor:
    """An error of the exponential's argument comes with it."""
    return torch.exp(_floating(x).abs()) * i1e(x)


def _second(x: Tensor, order: int, scaled: bool) -> Tensor:
    """K, times exp(x) where `scaled`: infinity at 0, NaN below."""
    x = _floating(x)
    positive = x > 0
    near = torch.logical_and(positive, x <= 2)
    inner = torch.where(near, x, torch.ones_like(x))
    outer = torch.where(torch.logical_or(near, torch.logical_not(positive)), torch.full_like(x, 2), x)
    series = _series(inner * inner - 2, (K0_NEAR, K1_NEAR)[order])
    logarithm = torch.log(inner / 2)
    close = series / inner + logarithm * i1(inner) if order else series - logarithm * i0(inner)
    far = _series(8 / outer - 2, (K0_FAR, K1_FAR)[order]) / outer.sqrt()
    close, far = (close * torch.exp(inner), far) if scaled else (close, far * torch.exp(-outer))
    found = torch.where(near, close, far)
    found = torch.where(x == 0, torch.full_like(found, torch.inf), found)
    return torch.where(x < 0, torch.full_like(found, torch.nan), found)


@decomposes(aten.special_modified_bessel_k0.default, tolerance=4e-6)
def k0(x: Tensor) -> Tensor:
    """Of the second kind."""
    return _second(x, 0, scaled=False)


@decomposes(aten.special_modified_bessel_k1.default, tolerance=4e-6)
def k1(x: Tensor) -> Tensor:
    """Of the second kind."""
    return _second(x, 1, scaled=False)


@decomposes(aten.special_scaled_modified_bessel_k0.default, tolerance=4e-6)
def k0e(x: Tensor) -> Tensor:
    """Times exp(x)."""
    return _second(x, 0, scaled=True)


@decomposes(aten.special_scaled_modified_bessel_k1.default, tolerance=4e-6)
def k1e(x: Tensor) -> Tensor:
    """Times exp(x)."""
    return _second(x, 1, scaled=True)
