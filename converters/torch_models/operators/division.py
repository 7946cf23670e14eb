"""Quotients and remainders as PyTorch rounds them, and what is computed of remainders."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

EUCLID = {torch.int8: 11, torch.uint8: 13, torch.int16: 22, torch.int32: 45, torch.int64: 91}
"""Steps of Euclid's algorithm that a type's numbers take at most: two neighbours among Fibonacci's numbers take most (G. Lamé,
1844)."""


@decomposes(aten.floor_divide.default, aten.floor_divide.Scalar)
def floor_divide(x: Tensor, y: Any) -> Any:
    """The exporters round the quotient down, which may have been rounded up to an integer: 0.6 // 0.2 is 2, as in Python."""
    return _floored(x, y)[0] if torch.result_type(x, y).is_floating_point else NotImplemented


@decomposes(aten.div.Tensor_mode, aten.div.Scalar_mode)
def divide(x: Tensor, y: Any, *, rounding_mode: str | None) -> Any:
    """Of integers: the exporters cut a quotient of float32."""
    if rounding_mode == "floor":
        return floor_divide(x, y)
    if rounding_mode is None or torch.result_type(x, y).is_floating_point:
        return NotImplemented
    x, y = _of_one_type(x, y)
    return x // y + _beyond(x, y).to(x.dtype)


@decomposes(aten.remainder.Tensor, aten.remainder.Scalar)
def remainder(x: Tensor, y: Any) -> Any:
    """The exporters take what a rounded quotient leaves."""
    return _floored(x, y)[1] if torch.result_type(x, y).is_floating_point else NotImplemented


@decomposes(aten.fmod.Tensor, aten.fmod.Scalar)
def fmod(x: Tensor, y: Any) -> Any:
    """Of integers: ONNX Runtime's Mod goes through float64 where the sign is that of `x`."""
    if torch.result_type(x, y).is_floating_point:
        return NotImplemented
    x, y = _of_one_type(x, y)
    return x % y - torch.where(_beyond(x, y), y, torch.zeros_like(y))


def _of_one_type(x: Tensor, y: Any) -> tuple[Tensor, Tensor]:
    kind = torch.result_type(x, y)
    return x.to(kind), y.to(kind) if isinstance(y, Tensor) else torch.full((), y, dtype=kind)


def _beyond(x: Tensor, y: Tensor) -> Tensor:
    """Where an integer quotient that is rounded down lies beyond the one that is cut."""
    return torch.logical_and(x % y != 0, (x < 0) != (y < 0))


def _floored(x: Tensor, y: Any) -> tuple[Tensor, Tensor]:
    """Quotient and remainder. The remainder of a division that cuts is exact, and so is its difference with `x` but for one
    rounding."""
    kind = torch.result_type(x, y)
    # a number in the code is not rounded to 16 bits
    wide = kind if isinstance(y, Tensor) or kind == torch.float64 else torch.float32
    x, y = x.to(wide), y.to(wide) if isinstance(y, Tensor) else torch.full((), y, dtype=wide)
    left = torch.fmod(x, y)
    other_side = torch.logical_and(left != 0, (y < 0) != (left < 0))
    whole = (x - left) / y
    whole = torch.where(other_side, whole - 1, whole)
    down = torch.floor(whole)
    down = torch.where(whole - down > 0.5, down + 1, down)
    return torch.where(y == 0, x / y, down).to(kind), torch.where(other_side, left + y, left).to(kind)


@decomposes(aten.gcd.default)
def gcd(x: Tensor, y: Tensor) -> Any:
    """Euclid's algorithm, with as many steps as any numbers of the type take."""
    kind = torch.result_type(x, y)
    if kind not in EUCLID:
        return NotImplemented
    x, y = torch.broadcast_tensors(x.to(kind).abs(), y.to(kind).abs())
    for _ in range(EUCLID[kind]):
        over = y == 0
        x, y = torch.where(over, x, y), torch.where(over, y, x % torch.where(over, torch.ones_like(y), y))
    return x


@decomposes(aten.lcm.default)
def lcm(x: Tensor, y: Tensor) -> Any:
    common = gcd(x, y)
    if common is NotImplemented:
        return NotImplemented
    none = common == 0
    return torch.where(none, common, (x // torch.where(none, torch.ones_like(common), common) * y).abs())


@decomposes(aten.sign.default, aten.sgn.default)
def sign(x: Tensor) -> Any:
    """0 of NaN, which ONNX leaves as it is."""
    if not x.dtype.is_floating_point:
        return NotImplemented
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)
