"""Sizes that depend on the data, and their upper bounds.

A dimension is a product of factors in row-major order: whole numbers, and `Axis` for a number of rows that only the data
tells. `[boxes x 90, 4]` has the dimensions `(A, 90)` and `(4,)`; one row of it is one class of one box.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import onnx_ir as ir

from enginesmith.compat.building import NotApplicable


@dataclass(frozen=True, eq=False)
class Axis:
    """Some of `bound` rows: those for which `valid` (bool[bound]) is true, in their order.

    `packed` promises that the valid rows come first, so that a row has the same number with and without the others.
    """

    bound: int
    valid: ir.Value
    packed: bool


Factor = int | Axis
Dim = tuple[Factor, ...]
"""Normal form: no 1, no two whole numbers side by side, `()` for size 1. Equal dimensions have the same rows."""


@dataclass(frozen=True)
class Least:
    """The smaller of a number and a dimension's size."""

    most: int
    of: Dim


def dim(*factors: Factor) -> Dim:
    """The product of factors, in normal form."""
    if any(factor == 0 for factor in factors if isinstance(factor, int)):
        return (0,)
    parts: list[Factor] = []
    for factor in factors:
        last = parts[-1] if parts else None
        if isinstance(factor, int) and isinstance(last, int):
            parts[-1] = last * factor
        elif factor != 1:
            parts.append(factor)
    return tuple(parts)


def bound(of: Dim) -> int:
    """The size that the padded tensor has."""
    return prod(factor.bound if isinstance(factor, Axis) else factor for factor in of)


def is_static(of: Dim) -> bool:
    return not any(isinstance(factor, Axis) for factor in of)


def is_exact(of: Dim) -> bool:
    """Does a row have the same number in the padded tensor as in the original one?"""
    return is_static(of) or (isinstance(of[0], Axis) and of[0].packed and is_static(of[1:]))


def regroup(dims: Sequence[Dim], wanted: Sequence[int | Dim]) -> list[Dim]:
    """The dimensions of a Reshape's result. `wanted` has a dimension or a number for each, once -1 for the rest.

    Raises NotApplicable where an axis would be cut apart.
    """
    factors = list(dim(*(factor for part in dims for factor in part)))
    rest = next((index for index, size in enumerate(wanted) if size == -1), None)
    if rest is None:
        taken = _take(factors, wanted)
        if prod(map(bound, [tuple(factors)])) != 1:
            raise NotApplicable("a Reshape changes the number of elements")
        return taken
    front = _take(factors, wanted[:rest])
    backwards = [_mirror(part) if isinstance(part, tuple) else part for part in reversed(wanted[rest + 1 :])]
    factors.reverse()
    back = [_mirror(part) for part in reversed(_take(factors, backwards))]
    factors.reverse()
    return [*front, dim(*factors), *back]


def _mirror(of: Dim) -> Dim:
    return tuple(reversed(of))


def _take(factors: list[Factor], wanted: Iterable[int | Dim]) -> list[Dim]:
    """Cut each wanted size off the front of `factors`."""
    return [dim(*(_cut(factors, part) for part in (size if isinstance(size, tuple) else (size,)))) for size in wanted]


def _cut(factors: list[Factor], wanted: Factor) -> Factor:
    if wanted == 1:
        return 1
    head = factors[0] if factors else 1
    if isinstance(wanted, Axis) or isinstance(head, Axis):
        if head is not wanted:
            raise NotApplicable("a Reshape cuts a dimension that depends on the data")
        factors.pop(0)
        return wanted
    if wanted == 0 or head % wanted:
        raise NotApplicable("a Reshape cuts a dimension that depends on the data")
    factors[0] = head // wanted
    if factors[0] == 1:
        factors.pop(0)
    return wanted
