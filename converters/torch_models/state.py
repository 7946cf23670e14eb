"""What a model's Python keeps between calls: attributes, globals of the user's files, closures, defaults."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

from enginesmith.converters.core.files import is_installed

DEPTH = 8
"""Of objects within objects that are looked at."""
LARGEST = 10_000
"""Elements of a container, more of which are taken for data."""
SCALARS = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class Change:
    """Something that is not what it was: the entry `key` of `owner`, which is a container or an object's attributes."""

    path: str
    """As `self.calls` would say it: `layers.0.calls`."""
    owner: Any
    key: Any
    value: Any


@dataclass
class _Kept:
    path: str
    owner: Any
    entries: Any
    """A shallow copy."""


class State:
    """The state of a module as it is now, to be compared and to be put back."""

    def __init__(self, module: nn.Module) -> None:
        self.functions: list[FunctionType] = []
        """The user's, which the module may call."""
        self._kept: list[_Kept] = []
        self._seen: set[int] = set()
        for name, part in reversed(list(module.named_modules())):  # those within others first, by their own names
            self._look(part, name, 0)

    def changes(self) -> list[Change]:
        """Entries that were added, or hold another object or number."""
        return [change for kept in self._kept for change in _changes(kept)]

    def restore(self) -> None:
        """Put everything back that is reachable by containers and attributes."""
        for kept in self._kept:
            if not _same(kept.owner, kept.entries):
                _fill(kept.owner, kept.entries)

    def _look(self, value: Any, path: str, depth: int) -> None:
        if depth > DEPTH or isinstance(value, (*SCALARS, Tensor, ModuleType)) or id(value) in self._seen:
            return
        self._seen.add(id(value))
        if isinstance(value, MethodType):
            self._look(value.__func__, path, depth)
        elif isinstance(value, FunctionType):
            self._look_at_function(value, path, depth)
        elif isinstance(value, type):
            if is_users(value.__module__):
                self._keep(value, path, dict(vars(value)), depth)
                for base in value.__bases__:
                    self._look(base, base.__name__, depth)
        elif isinstance(value, (dict, list, set, deque, CellType)):
            self._keep(value, path, _entries(value), depth)
        elif isinstance(value, (tuple, frozenset)):
            for part in list(value)[:LARGEST]:
                self._look(part, path, depth + 1)
        elif hasattr(value, "__dict__") and (isinstance(value, nn.Module) or is_users(type(value).__module__)):
            self._keep(vars(value), path, dict(vars(value)), depth)
            self._look(type(value), type(value).__name__, depth + 1)

    def _keep(self, owner: Any, path: str, entries: Any, depth: int) -> None:
        if len(entries) > LARGEST:
            return
        self._kept.append(_Kept(path, owner, entries))
        for key, part in list(entries.items()) if isinstance(entries, dict) else enumerate(entries):
            self._look(part, _join(path, key), depth + 1)

    def _look_at_function(self, function: FunctionType, path: str, depth: int) -> None:
        if not is_users(function.__module__):
            return
        self.functions.append(function)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._look(cell, name, depth)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._look(default, path, depth + 1)
        self._look(vars(function), path, depth + 1)
        self._look(function.__globals__, function.__module__, depth)


def put(change: Change, value: Any) -> None:
    """Give the place that changed another value; raises TypeError where that can't be."""
    if isinstance(change.owner, type):
        setattr(change.owner, change.key, value)
    elif isinstance(change.owner, (dict, list)):
        change.owner[change.key] = value
    elif isinstance(change.owner, CellType):
        change.owner.cell_contents = value
    else:
        raise TypeError(f"{change.path} takes no value")


def _entries(owner: Any) -> Any:
    """A shallow copy of what it holds."""
    if isinstance(owner, type):
        return dict(vars(owner))
    if isinstance(owner, CellType):
        try:
            return [owner.cell_contents]
        except ValueError:  # empty yet
            return []
    return dict(owner) if isinstance(owner, dict) else set(owner) if isinstance(owner, set) else list(owner)


def _same(owner: Any, entries: Any) -> bool:
    now = _entries(owner)
    if len(now) != len(entries):
        return False
    if isinstance(now, dict):
        return all(key in now and _equal(now[key], value) for key, value in entries.items())
    if isinstance(now, set):
        return bool(now == entries)
    return all(_equal(one, other) for one, other in zip(now, entries, strict=True))


def _equal(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and isinstance(one, SCALARS) and one == other)


def _changes(kept: _Kept) -> Iterator[Change]:
    if _same(kept.owner, kept.entries):
        return
    now = _entries(kept.owner)
    if isinstance(now, dict):
        for key, value in now.items():
            if key not in kept.entries or not _equal(value, kept.entries[key]):
                yield Change(_join(kept.path, key), kept.owner, key, value)
    elif len(now) != len(kept.entries):
        yield Change(kept.path, kept.owner, None, None)
    else:
        for index, value in enumerate(now):
            if isinstance(now, set) or not _equal(value, kept.entries[index]):
                yield Change(kept.path, kept.owner, index, value)


def _fill(owner: Any, entries: Any) -> None:
    if isinstance(owner, type):
        for name, value in entries.items():
            if vars(owner).get(name) is not value:
                setattr(owner, name, value)
    elif isinstance(owner, list):
        owner[:] = entries
    elif isinstance(owner, dict):
        for key in owner.keys() - entries.keys():
            del owner[key]
        owner.update(entries)
    elif isinstance(owner, set):
        owner.clear()
        owner.update(entries)
    elif isinstance(owner, deque):
        owner.clear()
        owner.extend(entries)
    elif entries:
        owner.cell_contents = entries[0]
    elif _entries(owner):
        del owner.cell_contents


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def is_users(module: str) -> bool:
    """Whether it is neither Python's, nor an installed package's, nor ours, none of which keeps state for a model."""
    if module.partition(".")[0] == "enginesmith" or module in sys.builtin_module_names:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not is_installed(Path(file))
