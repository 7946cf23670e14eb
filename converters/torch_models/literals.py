"""The numbers that a piece of Python compares with, as far as they can be read off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

MOST = 48


def literals(values: Iterable[Any]) -> list[float]:
    """Numbers in code, its constants, containers, and numbers themselves; at most `MOST` different ones."""
    return list(dict.fromkeys(number for value in values for number in _numbers(value)))[:MOST]


def words(codes: Iterable[CodeType]) -> list[str]:
    """Texts among the constants of code."""
    return [word for code in codes for word in code.co_consts if isinstance(word, str)][:MOST]


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**31:
        yield value
    elif isinstance(value, dict) and len(value) <= 2 * MOST:
        for key, part in value.items():
            yield from _numbers(key)
            yield from _numbers(part)
    elif isinstance(value, (tuple, list, set, frozenset, range)) and len(value) <= 2 * MOST:
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, CodeType):
        for constant in value.co_consts:
            yield from _numbers(constant)
