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


@contextmanager
def shifted(seconds: float) -> Iterator[None]:
    """While it lasts `time` and `datetime.datetime` are ahead, in these modules and wherever their names were imported."""
    swaps: dict[int, tuple[Any, Any]] = {}
    for name in SECONDS:
        for function, amount in ((name, seconds), (f"{name}_ns", int(seconds * 1e9))):
            original = getattr(time, function)
            swaps[id(original)] = (original, _ahead(original, amount))
    swaps[id(DATETIME)] = (DATETIME, _datetime(seconds))
    places = [
        (space, name, value, swaps[id(value)][1])
        for module in list(sys.modules.values())
        if (space := getattr(module, "__dict__", None)) and (module in (time, datetime) or _is_users(space))
        for name, value in list(space.items())
        if id(value) in swaps
    ]
    for space, name, _, replacement in places:
        space[name] = replacement
    try:
        yield
    finally:
        for space, name, original, _ in places:
            space[name] = original


def _is_users(space: dict[str, Any]) -> bool:
    return bool(space.get("__file__")) and is_users(space.get("__name__", ""))


def _ahead(function: Callable[[], Any], amount: Any) -> Callable[[], Any]:
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
