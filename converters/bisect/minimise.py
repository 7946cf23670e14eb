"""Delta debugging: the smallest part of a list with which something still fails.

Source: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, IEEE TSE 28(2), 2002 (`ddmin`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")


def minimise(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """A part of `items`, in their order, that fails and of which no item can be left out.

    `items` as a whole must fail. Nothing is asked twice in a row; a `fails` that answers equal questions from memory
    saves more.
    """
    kept = list(items)
    if not kept or fails([]):
        return []
    parts = 2
    while len(kept) > 1:
        chunks = _chunks(kept, parts)
        smaller = next((chunk for chunk in chunks if fails(chunk)), None)
        if smaller is not None:
            kept, parts = smaller, 2
            continue
        if parts > 2:  # of two halves, each is what is left of the other
            rests = ([x for other in chunks if other is not chunk for x in other] for chunk in chunks)
            smaller = next((rest for rest in rests if fails(rest)), None)
            if smaller is not None:
                kept, parts = smaller, max(parts - 1, 2)
                continue
        if parts >= len(kept):
            break
        parts = min(2 * parts, len(kept))
    return kept


def narrow(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """A contiguous part of `items` that fails, found by bisection from both ends: a quick start for `minimise`.

    It is the smallest one where whatever contains a failing part fails too.
    """
    low, high = 0, len(items)  # items[:high] fails
    while high - low > 1:
        middle = (low + high) // 2
        if fails(items[:middle]):
            high = middle
        else:
            low = middle
    end = high
    low, high = 0, end  # items[low:end] fails
    while high - low > 1:
        middle = (low + high) // 2
        if fails(items[middle:end]):
            low = middle
        else:
            high = middle
    return list(items[low:end])


def _chunks(items: Sequence[T], parts: int) -> list[list[T]]:
    bounds = [len(items) * number // parts for number in range(parts + 1)]
    return [list(items[start:end]) for start, end in pairwise(bounds) if end > start]
