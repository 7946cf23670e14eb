"""Names of a graph's inputs and outputs, made of paths in a model's arguments and in what it returns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def valid(path: str) -> str:
    """A path as a tensor's name, which neither shapes on the command line nor backends take apart."""
    return re.sub(r"[^\w.-]", "_", path)


def distinct(names: Iterable[str], taken: Sequence[str] = ()) -> list[str]:
    """The names, with underscores behind those that an input or another output has already."""
    found: dict[str, None] = dict.fromkeys(taken)
    for name in names:
        while name in found:
            name += "_"
        found[name] = None
    return [*found][len(dict.fromkeys(taken)) :]
