"""Rules and repairs of other distributions.

A distribution names a module in the group of entry points `enginesmith.rules` or `enginesmith.repairs`. Importing it
registers what it holds, by the decorators that `compat.families` shows. One that can't be imported is left out, whole; a
rule that fails says nothing. There is a line of warning for each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache, wraps
from importlib.metadata import entry_points
from typing import Any

GROUPS = ("enginesmith.rules", "enginesmith.repairs")

_registries: list[dict[str, Any]] = []
_said: dict[str, str] = {}


def registry() -> dict[str, Any]:
    """A place for rules or repairs by their id, to which plug-ins may add."""
    _registries.append({})
    return _registries[-1]


@cache
def load() -> None:
    """Import them all, the first time that it is called."""
    named = {entry.value: entry for group in GROUPS for entry in entry_points(group=group)}
    for entry in named.values():
        before = [dict(known) for known in _registries]
        try:
            entry.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - another's module raises anything
            _warn(entry.value, f"the plug-in {entry.name} ({entry.value}) is left out: {_line(error)}")
            for now, known in zip(_registries, before, strict=True):
                now.clear()
                now.update(known)
        for now, known in zip(_registries, before, strict=True):
            for id in now.keys() - known.keys():
                if hasattr(now[id], "check"):
                    now[id] = replace(now[id], check=_guarded(id, now[id].check))


def warnings() -> list[str]:
    """A line for each plug-in, or rule of one, that failed so far."""
    return list(_said.values())


def _guarded(id: str, check: Callable[..., Any]) -> Callable[..., Any]:
    """The check of a rule, of a node or a whole model, that finds nothing where it fails."""

    @wraps(check)
    def guarded(of: Any, target: Any) -> Any:
        try:
            found = check(of, target)
            return found if found is None or isinstance(found, str) else list(found)
        except Exception as error:  # noqa: BLE001 - as above
            _warn(id, f"the rule {id} of a plug-in failed, and says nothing: {_line(error)}")
            return []

    return guarded


def _warn(about: str, line: str) -> None:
    if about not in _said:
        _said[about] = line
        print(f"warning: {line}", file=sys.stderr)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
