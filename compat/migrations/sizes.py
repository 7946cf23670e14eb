"""Sizes of inputs as the tools write them, in our own grammar: `x:1..4..16x3x224x224`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

Dims = tuple[int, ...]
Ranges = dict[str, tuple[Dims, Dims, Dims]]
"""Of each input the smallest sizes, those to optimize for, and the largest ones."""
PLAIN = re.compile(r"[^\s,;={}]+")
"""Names that our grammar takes."""


def parse(text: str) -> dict[str, Dims]:
    """`x:1x3x224x224,'y':8`, as trtexec has it: after the last colon are the sizes. Raises ValueError naming what is none."""
    found: dict[str, Dims] = {}
    for part in filter(None, (word.strip() for word in text.split(","))):
        name, colon, sizes = part.rpartition(":")
        if not colon:
            raise ValueError(f"{part!r} has no name with a colon")
        found[name.strip("'\"")] = dims(sizes.split("x") if sizes != "scalar" else [])
    return found


def parse_bracketed(words: Iterable[str]) -> dict[str, Dims]:
    """`x:[1,3,224,224]`, as Polygraphy has it; the older `x,1x3x224x224` too. Raises ValueError naming what is none."""
    found: dict[str, Dims] = {}
    for word in words:
        bracketed = re.fullmatch(r"(?:(.*):)?[\[(]([^\])]*)[\])]", word)
        older = re.fullmatch(r"(.*),([\dx]+)", word)
        plain = re.fullmatch(r"(?:(.*):)?(\d[\dx]*)", word)
        match = bracketed or older or plain
        if match is None:
            raise ValueError(f"{word!r} is no NAME:[1,3,224,224]")
        found[match[1] or ""] = dims(filter(None, re.split(r"[x,\s]+", match[2])))
    return found


def dims(words: Iterable[str]) -> Dims:
    """Raises ValueError for what is no size."""
    made = []
    for word in words:
        if not re.fullmatch(r"\d+", word.strip()):
            raise ValueError(f"{word!r} is no size that can be read")
        made.append(int(word))
    return tuple(made)


def merge(low: Mapping[str, Dims], best: Mapping[str, Dims], high: Mapping[str, Dims]) -> Ranges:
    """What is left out follows from the rest as trtexec has it: smallest and largest from the optimum, it from the largest.

    Raises ValueError where the sizes of an input differ in rank, or are out of order.
    """
    ranges: Ranges = {}
    for name in dict.fromkeys((*best, *high, *low)):
        middle = next(given[name] for given in (best, high, low) if name in given)
        three = (low.get(name, middle), middle, high.get(name, middle))
        if len({len(each) for each in three}) > 1:
            raise ValueError(f"the sizes of {name} differ in rank: {', '.join(map(_joined, three))}")
        if any(not a <= b <= c for a, b, c in zip(*three, strict=True)):
            raise ValueError(f"the sizes of {name} are out of order: {', '.join(map(_joined, three))}")
        ranges[name] = three
    return ranges


def written(ranges: Ranges, dtypes: Mapping[str, str] | None = None) -> str:
    """In our grammar. Raises ValueError for a name that it has no form for."""
    parts = []
    for name, (low, best, high) in ranges.items():
        if name and not PLAIN.fullmatch(name):
            raise ValueError(f"an input named {name!r} can't be given by --shape")
        dtype = (dtypes or {}).get(name, "")
        sizes = "x".join(_dim(*each) for each in zip(low, best, high, strict=True)) or "scalar"
        parts.append(":".join(filter(None, (name, sizes, dtype))))
    return " ".join(parts)


def _dim(low: int, best: int, high: int) -> str:
    return str(best) if low == best == high else f"{low}..{best}..{high}"


def _joined(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes)) or "scalar"
