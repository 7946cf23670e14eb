"""Data from a function of the user's."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.user_code import guarded
from enginesmith.converters.data.datasets.base import Item, Source

FORMS = "yield an array, a tuple or a mapping of the inputs, or (inputs, target)"
END = object()


class Loader(Source):
    """What a function gives, called anew for each pass, with the same seed for Python, NumPy and torch."""

    def __init__(self, name: str, function: Callable[[], Any], specs: Sequence[InputSpec], seed: int) -> None:
        self.name = name
        self.empty = f"gave nothing; {FORMS}"
        self.specs = specs
        self.seed = seed
        self.call = function

    def __iter__(self) -> Iterator[Item]:
        seed_all(self.seed)
        made = guarded(self.call, f"the loader {self.name} failed")
        if made is None:
            raise UserError(f"the loader {self.name} returned None; return an iterable, or yield the examples")
        if not hasattr(made, "__iter__") and hasattr(made, "__getitem__") and hasattr(made, "__len__"):
            made = map(made.__getitem__, range(len(made)))  # one of torch's datasets
        if isinstance(made, str | Mapping) or not hasattr(made, "__iter__"):
            raise UserError(f"the loader {self.name} returned a {type(made).__name__}; return an iterable of examples")
        iterator = guarded(lambda: iter(made), f"the loader {self.name} failed")
        for number in range(sys.maxsize):
            where = f"{self.name}, example {number}"
            given = guarded(partial(next, iterator, END), f"the loader {where} failed")
            if given is END:
                return
            values, target = split(given, [spec.name for spec in self.specs], where)
            yield Item(where, values, target)


def split(given: Any, names: Sequence[str], where: str) -> tuple[Mapping[str, Any], Any]:
    """The inputs by name, and the target, None without one. Raises UserError for what is neither.

    A tuple with one more than there are inputs ends with the target, as (inputs, target) does.
    """
    if given is None:
        raise UserError(f"{where} is None; {FORMS}")
    if isinstance(given, Mapping):
        return _named(given, names, where), None
    if not isinstance(given, list | tuple):
        return _positional([given], names, where), None
    if len(given) == 2 and isinstance(given[0], Mapping):
        return _named(given[0], names, where), given[1]
    if len(given) == len(names) + 1:
        return _positional(given[:-1], names, where), given[-1]
    if len(given) == 2 and isinstance(given[0], list | tuple):
        return _positional(given[0], names, where), given[1]
    return _positional(given, names, where), None


def _named(given: Mapping[str, Any], names: Sequence[str], where: str) -> Mapping[str, Any]:
    missing = [name for name in names if name not in given]
    unknown = [str(name) for name in given if name not in names]
    if missing or unknown:
        what = [f"has no {', '.join(missing)}"] if missing else []
        what += [f"has {', '.join(unknown)} too"] if unknown else []
        raise UserError(f"{where} {' and '.join(what)}; the model's inputs are {', '.join(names)}")
    return given


def _positional(given: Sequence[Any], names: Sequence[str], where: str) -> Mapping[str, Any]:
    if len(given) != len(names):
        raise UserError(f"{where} has {len(given)} arrays, and the model's inputs are {', '.join(names)}")
    return dict(zip(names, given, strict=True))


def seed_all(seed: int) -> None:
    """Python's, NumPy's and, where it is loaded, torch's global random numbers: a loader that shuffles then gives the
    same examples each time.
    """
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)
