"""Turn a name that nobody knows into a helpful error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from enginesmith.converters.core.errors import UserError

MOST = 20
"""Names that an error lists."""


def unknown(kind: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a `kind` (`backend`, `target of tvm`) that is not among `known`, with the nearest names first."""
    names = list(known)
    near = difflib.get_close_matches(given.lower(), names, n=3, cutoff=0.5)
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names[:MOST])}{more}"
    return UserError(f"unknown {kind} {given!r}; {hint}")
