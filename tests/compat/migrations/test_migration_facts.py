"""The tables of facts: what each entry must say."""

from __future__ import annotations

import pytest

from enginesmith.compat.migrations.facts import TOOLS, facts, same_names
from enginesmith.compat.target import numbers

ENTRIES = [(tool, name) for tool in TOOLS for name in facts(tool)]


@pytest.mark.parametrize("tool", TOOLS)
def test_every_entry_says_what_it_is_now_and_what_is_ours(tool: str) -> None:
    silent = [name for name, fact in facts(tool).items() if not fact.now or not fact.ours]
    assert not silent


@pytest.mark.parametrize(("tool", "name"), ENTRIES)
def test_what_is_there_no_more_is_told_so(tool: str, name: str) -> None:
    fact = facts(tool)[name]
    if fact.last:
        assert fact.status in ("removed", "renamed")
        assert numbers(fact.last) < (11,)
    if fact.since and fact.last:
        assert numbers(fact.since) <= numbers(fact.last)
    if fact.status == "deprecated":
        assert fact.deprecated


def test_no_name_of_the_api_is_both_gone_and_the_same() -> None:
    same = {f"{owner}.{name}" for owner, names in same_names().items() for name in names}
    gone = {name for name, fact in facts("python").items() if fact.last}
    assert not same & gone


def test_another_tool_has_no_table() -> None:
    with pytest.raises(KeyError):
        facts("tensorrt")
