"""Complex tensors as pairs of real ones, and which function does on pairs what an operator does on complex tensors.

No engine has complex numbers, and ONNX hardly any operator on them: a graph has them as two real tensors all the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket
from torch.utils import _pytree as pytree

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Pair:
    """A complex tensor as its real and its imaginary part, of one shape and dtype."""

    re: Tensor
    im: Tensor

    def to(self, dtype: torch.dtype) -> Pair:
        """With parts of this real dtype."""
        return self if self.re.dtype == dtype else Pair(self.re.to(dtype), self.im.to(dtype))


@dataclass(frozen=True)
class OnPairs:
    """`tolerance` as of a decomposition, always relative to a result's largest magnitude."""

    function: Callable[..., Any]
    tolerance: float


_functions: dict[OpOverload | OpOverloadPacket, OnPairs] = {}


def on_pairs(*operators: OpOverload | OpOverloadPacket, tolerance: float = 0.0) -> Callable[[F], F]:
    """Register a function as what these operators do, or all overloads, with a Pair in the place of each complex tensor."""

    def register(function: F) -> F:
        for operator in operators:
            assert operator not in _functions, operator
            _functions[operator] = OnPairs(function, tolerance)
        return function

    return register


def on_halves(*operators: OpOverloadPacket, number: int | None = None) -> None:
    """Register operators that do the same to both parts. `number`: the place of an argument that is a value for the result."""
    for operator in operators:
        on_pairs(operator)(_Halves(operator, number))


@dataclass(frozen=True)
class _Halves:
    operator: OpOverloadPacket
    number: int | None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        made = []
        for half in (real, imaginary):
            given = [half(each) if place == self.number else _part(each, half) for place, each in enumerate(arguments)]
            made.append(self.operator(*given, **{name: _part(each, half) for name, each in named.items()}))
        return together(*made)


def together(re: Any, im: Any) -> Any:
    """Pairs of what stands in the same place of two results: tensors, or lists of them."""
    if isinstance(re, Tensor):
        return Pair(re, im)
    return type(re)(Pair(*both) for both in zip(re, im, strict=True))


def _part(argument: Any, half: Callable[[Any], Any]) -> Any:
    """Of an argument that may hold tensors: indices, masks, sizes and dimensions are the same for both parts."""

    def leaf(value: Any) -> Any:
        if isinstance(value, torch.dtype):
            return value.to_real() if value.is_complex else value
        same = not isinstance(value, Pair | complex) and not (isinstance(value, Tensor) and value.is_floating_point())
        return value if same else half(value)

    return pytree.tree_map(leaf, argument)


def real(value: Any) -> Any:
    """The real part of a pair, a real tensor or a number."""
    if isinstance(value, Pair):
        return value.re
    return value.real if isinstance(value, complex) else value


def imaginary(value: Any) -> Any:
    """The imaginary part of a pair, a real tensor or a number, with its shape."""
    if isinstance(value, Pair):
        return value.im
    if isinstance(value, Tensor):
        return torch.zeros_like(value)
    return value.imag if isinstance(value, complex) else 0


def parts(value: Any) -> tuple[Any, Any]:
    """Both; None for the imaginary one of what is real, so that no one computes with it."""
    return real(value), imaginary(value) if isinstance(value, Pair | complex) else None


def each(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """A function of both parts of a pair, or of what is real."""
    return Pair(function(value.re), function(value.im)) if isinstance(value, Pair) else function(value)


def pair(re: Any, im: Any) -> Pair:
    """Of two results, one of which may be None for nothing, a number, or smaller by broadcasting."""
    shape = im if not isinstance(re, Tensor) else re
    re, im = (
        part if isinstance(part, Tensor) else torch.full_like(shape, 0 if part is None else part) for part in (re, im)
    )
    return Pair(*torch.broadcast_tensors(re, im))


def on_pairs_of(operator: Any) -> OnPairs | None:
    """What is registered for an operator or for all of its overloads."""
    from enginesmith.converters.torch_models.operators.registry import decompositions

    decompositions()  # loads all modules
    return _functions.get(operator) or _functions.get(getattr(operator, "overloadpacket", None))  # type: ignore[arg-type]
