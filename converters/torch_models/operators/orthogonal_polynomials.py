"""Hermite's, Laguerre's and Legendre's polynomials, by their recurrences: DLMF 18.9."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

HERMITE_MOST = 128
"""The largest degree of Hermite's polynomials: of greater ones PyTorch gives NaN."""

Step = Callable[[Tensor, Any, Tensor, Tensor], Tensor]
"""The polynomial of degree k + 1 from x, k and those of degrees k and k - 1."""


def _unrolled(x: Tensor, n: int, first: Tensor, step: Step) -> Tensor:
    before, now = torch.ones_like(x), first
    if n < 1:
        return before if n == 0 else torch.zeros_like(x)
    for k in range(1, n):
        before, now = now, step(x, float(k), now, before)
    return now


def _looped(x: Tensor, n: Tensor, first: Tensor, step: Step) -> Tensor:
    """Up to the greatest degree, each element until its own is reached."""
    most = n.max()

    def more(k: Tensor, before: Tensor, now: Tensor) -> Tensor:
        return k < most

    def further(k: Tensor, before: Tensor, now: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        done = k >= n
        following = step(x, k, now, before)
        return k + 1, torch.where(done, before, now), torch.where(done, now, following)

    start = torch.ones_like(most), torch.ones_like(x), first.clone()
    _, _, found = while_loop(more, further, start)
    found = torch.where(n < 1, torch.ones_like(x), found)
    return torch.where(n < 0, torch.zeros_like(x), found)


def _polynomial(x: Any, n: Any, first: Callable[[Tensor], Tensor], step: Step, most: int = 0) -> Tensor:
    dtype = torch.result_type(x, n)
    dtype = dtype if dtype.is_floating_point else torch.get_default_dtype()
    if not isinstance(n, Tensor):
        x = x.to(dtype)
        return torch.full_like(x, torch.nan) if 0 < most < n else _unrolled(x, int(n), first(x), step)
    x = x if isinstance(x, Tensor) else n.new_full((), x, dtype=dtype)
    x, n = (each.clone() for each in torch.broadcast_tensors(x.to(dtype), torch.trunc(n.to(dtype))))
    found = _looped(x, n.clamp(max=most) if most else n, first(x), step)
    return torch.where(n > most, torch.full_like(found, torch.nan), found) if most else found


def _overloads(name: str) -> tuple[Any, Any, Any]:
    packet = getattr(aten, f"special_{name}")
    return packet.default, packet.x_scalar, packet.n_scalar


@decomposes(*_overloads("hermite_polynomial_h"), tolerance=1e-5, normwise=True)
def hermite_h(x: Any, n: Any) -> Tensor:
    """The physicists'."""
    return _polynomial(x, n, lambda x: 2 * x, lambda x, k, now, before: 2 * x * now - 2 * k * before, HERMITE_MOST)


@decomposes(*_overloads("hermite_polynomial_he"), tolerance=1e-5, normwise=True)
def hermite_he(x: Any, n: Any) -> Tensor:
    """The probabilists'."""
    return _polynomial(x, n, lambda x: x, lambda x, k, now, before: x * now - k * before, HERMITE_MOST)


@decomposes(*_overloads("laguerre_polynomial_l"), tolerance=1e-5, normwise=True)
def laguerre_l(x: Any, n: Any) -> Tensor:
    """Laguerre's."""
    return _polynomial(
        x, n, lambda x: 1 - x, lambda x, k, now, before: ((2 * k + (1 - x)) * now - k * before) / (k + 1)
    )


@decomposes(*_overloads("legendre_polynomial_p"), tolerance=1e-5, normwise=True)
def legendre_p(x: Any, n: Any) -> Tensor:
    """Legendre's."""
    return _polynomial(x, n, lambda x: x, lambda x, k, now, before: ((2 * k + 1) * x * now - k * before) / (k + 1))
