"""Products and sums of complex tensors: matrices, convolutions, along a dimension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.complex_arithmetic import add, magnitude, minus, mul, plus
from enginesmith.converters.torch_models.operators.pairs import Pair, on_pairs, pair, parts

aten = torch.ops.aten

TOLERANCE = 2e-6
"""Relative to the largest magnitude in the result: sums of products in another order."""


def _bilinear(product: Callable[..., Tensor], x: Any, y: Any) -> Pair:
    """Of what is linear in both; three or four real products."""
    (a, b), (c, d) = parts(x), parts(y)

    def of(one: Any, other: Any) -> Any:
        return product(one, other) if isinstance(one, Tensor) and isinstance(other, Tensor) else None

    return pair(minus(of(a, c), of(b, d)), plus(of(a, d), of(b, c)))


@on_pairs(aten.mm, tolerance=TOLERANCE)
def mm(x: Any, y: Any) -> Pair:
    return _bilinear(torch.mm, x, y)


@on_pairs(aten.bmm, tolerance=TOLERANCE)
def bmm(x: Any, y: Any) -> Pair:
    return _bilinear(torch.bmm, x, y)


@on_pairs(aten.mv, tolerance=TOLERANCE)
def mv(x: Any, y: Any) -> Pair:
    return _bilinear(torch.mv, x, y)


@on_pairs(aten.dot, tolerance=TOLERANCE)
def dot(x: Any, y: Any) -> Pair:
    return _bilinear(torch.dot, x, y)


@on_pairs(aten.vdot, tolerance=TOLERANCE)
def vdot(x: Pair, y: Pair) -> Pair:
    return dot(Pair(x.re, -x.im), y)


@on_pairs(aten.matmul, tolerance=TOLERANCE)
def matmul(x: Any, y: Any) -> Pair:
    return _bilinear(torch.matmul, x, y)


@on_pairs(aten.addmm, tolerance=TOLERANCE)
def addmm(bias: Any, x: Any, y: Any, *, beta: Any = 1, alpha: Any = 1) -> Pair:
    return add(mul(bias, beta), mul(mm(x, y), alpha))


@on_pairs(aten.baddbmm, tolerance=TOLERANCE)
def baddbmm(bias: Any, x: Any, y: Any, *, beta: Any = 1, alpha: Any = 1) -> Pair:
    return add(mul(bias, beta), mul(bmm(x, y), alpha))


@on_pairs(aten.linear, tolerance=TOLERANCE)
def linear(x: Any, weight: Any, bias: Any = None) -> Pair:
    made = _bilinear(torch.nn.functional.linear, x, weight)
    return made if bias is None else add(made, bias)


@on_pairs(aten.convolution, tolerance=TOLERANCE)
def convolution(x: Any, weight: Any, bias: Any, *form: Any) -> Pair:
    made = _bilinear(lambda a, b: aten.convolution(a, b, None, *form), x, weight)
    if bias is None:
        return made
    places = (-1, *(1 for _ in form[0]))  # form begins with the strides, one a dimension
    re, im = (each.view(places) if isinstance(each, Tensor) else each for each in parts(bias))
    return Pair(plus(made.re, re), plus(made.im, im))


@on_pairs(aten.linalg_vector_norm, tolerance=TOLERANCE)
def vector_norm(z: Pair, *arguments: Any, **named: Any) -> Tensor:
    return aten.linalg_vector_norm(magnitude(z), *arguments, **named)  # type: ignore[no-any-return]


@on_pairs(aten.prod, tolerance=1e-5)
def prod(z: Pair, dim: int | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Pair:
    """Halves multiplied with each other, until one is left."""
    if dim is None:
        z, dim = Pair(z.re.flatten(), z.im.flatten()), 0
    re, im = z.re, z.im
    count = re.shape[dim]
    if count == 0:
        ones = torch.prod(re, dim, keepdim)
        return Pair(ones, torch.zeros_like(ones))
    while count > 1:
        half = count // 2
        made = mul(
            Pair(re.narrow(dim, 0, half), im.narrow(dim, 0, half)),
            Pair(re.narrow(dim, half, half), im.narrow(dim, half, half)),
        )
        rest = [part.narrow(dim, 2 * half, count - 2 * half) for part in (re, im)]
        re, im = (
            (made.re, made.im)
            if count % 2 == 0
            else (torch.cat([made.re, rest[0]], dim), torch.cat([made.im, rest[1]], dim))
        )
        count -= half
    return Pair(re, im) if keepdim else Pair(re.squeeze(dim), im.squeeze(dim))


@on_pairs(aten.var, tolerance=TOLERANCE)
def var(z: Pair, *arguments: Any, **named: Any) -> Tensor:
    return aten.var(z.re, *arguments, **named) + aten.var(z.im, *arguments, **named)  # type: ignore[no-any-return]
