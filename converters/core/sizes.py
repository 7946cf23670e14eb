"""Sizes that hang together: expressions in names, such as `s`, `2*s` or `p+s`, and sizes at which nothing was tried yet."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from functools import cache
from itertools import chain
from typing import Any

OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


@cache
def _parsed(form: str) -> ast.expr:
    """Raises ValueError for anything but names, whole numbers, sums, differences and products."""
    try:
        tree = ast.parse(form, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(form) from None
    for node in ast.walk(tree):
        number = isinstance(node, ast.Constant) and type(node.value) is int
        operation = isinstance(node, ast.BinOp) and type(node.op) in OPERATORS
        if not (number or operation or isinstance(node, ast.Name | ast.Load | ast.operator)):
            raise ValueError(form)
    return tree


def names_in(form: str) -> tuple[str, ...]:
    """The names in an expression, in order. Raises ValueError for what is none."""
    found = (node.id for node in ast.walk(_parsed(form)) if isinstance(node, ast.Name))
    return tuple(dict.fromkeys(found))


def value_of(form: str, sizes: Mapping[str, Any]) -> Any:
    """What an expression comes to: an int of ints, and of other things what their operators give. Raises KeyError for a name
    without a size, ValueError for what is no expression.
    """

    def of(node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return sizes[node.id]
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](of(node.left), of(node.right))
        assert isinstance(node, ast.Constant)
        return node.value

    return of(_parsed(form))


def untried(low: int, high: int, tried: Collection[int]) -> int:
    """A size between two bounds that is none of those tried: a prime near their middle, since an exporter or a padding that
    counts on multiples of something is seen there; else an odd one, else any, else the lower bound.
    """
    between = [size for size in _around((low + high) // 2, low, high) if size not in tried]
    prime = (size for size in between if size > 2 and all(size % part for part in range(2, int(size**0.5) + 1)))
    odd = (size for size in between if size % 2 and size > 1)
    return next(chain(prime, odd, between), low)


def _around(middle: int, low: int, high: int) -> list[int]:
    """Sizes strictly between two bounds, the nearest to the middle first; no more than a few hundred."""
    near = range(max(low + 1, middle - 200), min(high, middle + 200))
    return sorted(near, key=lambda size: (abs(size - middle), size))
