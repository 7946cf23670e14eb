"""A clock that is wrong, to see whether a model looks at it."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from enginesmith.converters.torch_models.state import is_users

DATETIME = datetime.datetime
SECONDS = ("time", "monotonic", "perf_counter", "process_time")
"""Functions of `time` that return seconds; each has a twin in nanoseconds."""
ORIGINAL = {name: value for name, value in vars(time).items() if name.removesuffix("_ns") in SECONDS}


class Clock:
    """The places where `time`'s functions and `datetime.datetime` are named: in these modules, and in the user's own."""

    def __init__(self) -> None:
        known = {id(original) for original in (*_functions(), DATETIME)}
        self.places = [
            (space, name, value)
            for module in list(sys.modules.values())
            if (space := getattr(module, "__dict__", None)) and (module in (time, datetime) or _is_users(space))
            for name, value in list(space.items())
            if id(value) in known
        ]

    @contextmanager
    def ahead(self, seconds: float) -> Iterator[None]:
        """While it lasts the clock is that much ahead."""
        swaps: dict[int, Any] = {id(function): _ahead(function, seconds) for function in _functions()}
        swaps[id(DATETIME)] = _datetime(seconds)
        for space, name, original in self.places:
            space[name] = swaps[id(original)]
        try:
            yield
        finally:
            for space, name, original in self.places:
                space[name] = original


def _functions() -> Iterator[Callable[[], Any]]:
    for name in SECONDS:
        yield ORIGINAL[name]
        yield ORIGINAL[f"{name}_ns"]


def _is_users(space: dict[str, Any]) -> bool:
    return bool(space.get("__file__")) and is_users(space.get("__name__", ""))


def _ahead(function: Callable[[], Any], seconds: float) -> Callable[[], Any]:
    amount = int(seconds * 1e9) if function.__name__.endswith("_ns") else seconds

    @wraps(function)
    def ahead() -> Any:
        return function() + amount

    return ahead


def _datetime(seconds: float) -> type[datetime.datetime]:
    class Ahead(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return DATETIME.now(tz) + datetime.timedelta(seconds=seconds)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    return Ahead
