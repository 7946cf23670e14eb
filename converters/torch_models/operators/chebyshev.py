"""Chebyshev's polynomials of the four kinds, of any degree: DLMF 18.5.1 to 18.5.4, and their continuation beyond 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

KINDS = "tuvw"


def _ratio(kind: str, n: Tensor, angle: Tensor, cosine: Any, sine: Any) -> Tensor:
    if kind == "t":
        return cosine(n * angle)  # type: ignore[no-any-return]
    if kind == "u":
        return sine((n + 1) * angle) / sine(angle)  # type: ignore[no-any-return]
    function = cosine if kind == "v" else sine
    return function((n + 0.5) * angle) / function(angle / 2)  # type: ignore[no-any-return]


def chebyshev(kind: str, x: Any, n: Any, shifted: bool) -> Tensor:
    """Of degree `n`, which is cut to an integer and may be a tensor; 0 where it is negative. `shifted`: of 2 x - 1."""
    given = x if isinstance(x, Tensor) else n
    dtype = torch.result_type(x, n)
    dtype = dtype if dtype.is_floating_point else torch.get_default_dtype()
    x, n = (each if isinstance(each, Tensor) else given.new_full((), each, dtype=dtype) for each in (x, n))
    x, n = torch.broadcast_tensors(x.to(dtype), torch.trunc(n.to(dtype)))
    x = 2 * x - 1 if shifted else x
    odd = (n - 2 * torch.floor(n / 2)) != 0
    one = torch.ones_like(x)
    size = x.abs()
    inside, outside = size < 1, size > 1
    angle = torch.acos(torch.where(inside, x, torch.zeros_like(x)))
    found = _ratio(kind, n, angle, torch.cos, torch.sin)
    # below -1 the last two kinds change places, and odd degrees their sign
    sign = torch.where(torch.logical_and(odd, x < 0), -one, one)
    angle = torch.acosh(torch.where(outside, size, 2 * one))
    beyond = _ratio(kind, n, angle, torch.cosh, torch.sinh)
    ends = {"t": one, "u": n + 1, "v": one, "w": 2 * n + 1}[kind]
    if kind in "vw":
        other = "w" if kind == "v" else "v"
        beyond = torch.where(x < 0, _ratio(other, n, angle, torch.cosh, torch.sinh), beyond)
        ends = torch.where(x < 0, 2 * n + 1 if kind == "v" else one, ends)
    found = torch.where(inside, found, sign * torch.where(outside, beyond, ends))
    found = torch.where(torch.isnan(x), x, found)
    return torch.where(n < 0, torch.zeros_like(found), found)


def _operators(kind: str, shifted: bool) -> None:
    name = f"special_{'shifted_' if shifted else ''}chebyshev_polynomial_{kind}"
    packet = getattr(aten, name)

    def polynomial(x: Any, n: Any) -> Tensor:
        return chebyshev(kind, x, n, shifted)

    decomposes(packet.default, packet.x_scalar, packet.n_scalar, tolerance=2e-5, normwise=True)(polynomial)


for _kind in KINDS:
    for _shifted in (False, True):
        _operators(_kind, _shifted)
