"""Families that all tools share: each reads its example, and what it says is made of the sentence's own parts."""

from __future__ import annotations

import re
import time

import pytest

from enginesmith.compat.diagnoses import diagnose
from enginesmith.compat.diagnoses.families import families, fill, read_family
from enginesmith.compat.diagnoses.lines import LONGEST


@pytest.mark.parametrize("family", [pytest.param(family, id=family.id) for family in families()])
def test_its_example_is_read_by_it_and_by_no_earlier_one(family):
    reading = read_family(family.example)
    assert reading is not None
    assert reading.family == family.id
    assert not re.search(r"[{}\[\]]", fill(family.cause, {}))


def test_no_repeat_without_a_bound():
    for family in families():
        for pattern in family.match:
            assert not re.search(r"(?<!\\)\.[*+](?![^\[]*\])", pattern), (family.id, pattern)


@pytest.mark.parametrize("family", [pytest.param(family, id=family.id) for family in families()])
def test_no_expression_is_slow_on_a_line_made_to_mislead_it(family):
    half = family.example[: len(family.example) // 2]
    started = time.process_time()
    for seed in (half, f"{half} ", f"{half}: ", half + "(", f"{half} is not ", "a ", "1 and ", "must be "):
        family.read((seed * (LONGEST // len(seed) + 1))[:LONGEST])
    assert time.process_time() - started < 4


def test_brackets_go_where_their_part_is_not_known():
    assert fill("a {x}[ of {y}][ ({z})]", {"x": "1", "z": "3"}) == "a 1 (3)"


@pytest.mark.parametrize(
    ("line", "family", "parts"),
    [
        ("odd.OddError: axis 3 wants Foo, expected Foo, but got Bar", "expected-got", {"wanted": "Foo", "got": "Bar"}),
        ("RuntimeError: Foo is not supported by the Bar backend", "unsupported", {"what": "Foo"}),
        ("[E] [TRT] the dimensions [1,2,3] and [1,4,3] of it differ", "dimension-mismatch", {"first": "[1,2,3]"}),
    ],
)
def test_what_decides_is_read_where_no_diagnosis_knows_it(line, family, parts):
    headline = diagnose(f"all went well\n{line}\n").headline
    assert headline is not None
    assert headline.reading is not None
    assert headline.reading.family == family
    assert headline.reading.details.items() >= parts.items()
    assert all(value in headline.reading.cause for value in parts.values())


def test_a_symptom_is_read_by_its_reason():
    cause = diagnose("InternalError: Check failed: (a == b) is false: Expected Foo, but got Bar").cause
    assert cause is not None
    assert cause.generic
    assert cause.reading is not None
    assert cause.reading.details == {"wanted": "Foo", "got": "Bar"}
