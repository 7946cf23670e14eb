"""What each backend and version takes, as data: tables read from the backends' documentation, or measured.

The tables are in YAML beside this module, one per backend; each says where its facts are from.
"""

from __future__ import annotations

from functools import cache

from pydantic import BaseModel

from enginesmith.compat.support.table import TYPES, Entry, Release, Table
from enginesmith.compat.tables import read_table
from enginesmith.compat.target import EVERY, Target, numbers

__all__ = ["TYPES", "Entry", "Release", "Support", "Table", "first_version_with", "lookup", "table", "version_note",
           "versions"]  # fmt: skip


class Support(BaseModel, frozen=True):
    """What a backend says about one operator. `version` is the table's, the newest one up to the version asked for."""

    backend: str
    version: str
    op: str
    since: str
    """The version from which on this holds."""
    types: frozenset[str] | None
    """Element types of the main input, as TYPES has them; None where the source names none."""
    opset: int | None
    """The newest opset that the version says it reads, if it says."""
    form: int | None
    """The opset whose form of the operator is read, for a backend that implements them one by one."""
    note: str
    source: str


@cache
def table(backend: str) -> Table:
    """The table of one of `target.EVERY`. Raises KeyError for another name."""
    if backend not in EVERY:
        raise KeyError(backend)
    return Table.model_validate(read_table(__name__, backend))


def versions(backend: str) -> list[str]:
    """The versions that the table knows, oldest first."""
    return list(table(backend).versions)


@cache
def lookup(target: Target, op: str, opset: int = 0) -> Support | None:
    """What `target` says about an operator of the default domain; None where it does not support it at all."""
    known = table(target.backend)
    version = known.nearest(target.version)
    found = known.entry(op, version)
    if found is None:
        return None
    since, entry = found
    release = known.versions[since]
    forms = [form for form in entry.opsets if form <= opset] or list(entry.opsets[:1])
    return Support(
        backend=target.backend,
        version=version,
        op=op,
        since=since,
        types=None if entry.types is None else frozenset(entry.types),
        opset=known.versions[version].opset,
        form=forms[-1] if forms else None,
        note=entry.note,
        source=release.source,
    )


def first_version_with(backend: str, op: str, after: str = "") -> str | None:
    """The first version, of those after `after`, that supports an operator; None where none does."""
    known = table(backend)
    later = [version for version in known.versions if not after or numbers(version) > numbers(after)]
    return next((version for version in later if known.entry(op, version) is not None), None)


def version_note(target: Target) -> str:
    """Says so where the table does not hold the version asked for; else empty."""
    nearest = table(target.backend).nearest(target.version)
    if not target.version or numbers(target.version)[: len(numbers(nearest))] == numbers(nearest):
        return ""
    return f"nothing is on record about {target}; what is said holds for {nearest}"
