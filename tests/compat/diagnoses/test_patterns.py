"""The diagnoses as data: each known by its own example, bounded, and with a page."""

from __future__ import annotations

import re
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from enginesmith.compat.diagnoses import Diagnosis, diagnose, diagnoses, get_diagnosis
from enginesmith.compat.diagnoses.diagnosis import issue_url, literal
from enginesmith.compat.diagnoses.lines import LONGEST
from enginesmith.compat.diagnoses.registry import matcher
from enginesmith.compat.repairs import GRAPH_REPAIRS, REPAIRS

EVERY = [pytest.param(diagnosis, id=diagnosis.id) for diagnosis in diagnoses()]


def found(text: str) -> list[str]:
    explanation = diagnose(text)
    hits = [*([explanation.cause] if explanation.cause else []), *explanation.further, *explanation.warnings]
    return [hit.id for hit in hits]


@pytest.mark.parametrize("diagnosis", EVERY)
def test_its_example_is_known_by_it_and_by_no_earlier_one(diagnosis: Diagnosis):
    assert found(diagnosis.example) == [diagnosis.id]


@pytest.mark.parametrize("diagnosis", EVERY)
def test_every_expression_has_its_literal_in_what_it_matches(diagnosis: Diagnosis):
    for text, pattern in diagnosis.patterns:
        match = pattern.search(diagnosis.example)
        assert match is None or text in match[0]


def slowest(names: list[str]) -> tuple[float, str]:
    """CPU seconds of the slowest diagnosis on lines made to mislead it."""
    worst = (0.0, "")
    for name in names:
        diagnosis = get_diagnosis(name)
        for text, pattern in diagnosis.patterns:
            half = diagnosis.example[: len(diagnosis.example) // 2]
            for seed in (
                text,
                half,
                f"{half} {text}",
                text + "a",
                text + "'",
                text + "(",
                f"{text} 1",
                f"{text}[{text}",
            ):
                line = (seed * (LONGEST // len(seed) + 1))[:LONGEST]
                started = time.process_time()
                pattern.search(line)
                worst = max(worst, (time.process_time() - started, f"{name}: {pattern.pattern}"))
    return worst


def test_no_expression_is_slow_on_a_long_line_made_to_mislead_it():
    """In a process that can be given up: a search that explodes never ends by itself."""
    with ProcessPoolExecutor(1) as pool:
        seconds, pattern = pool.submit(slowest, [diagnosis.id for diagnosis in diagnoses()]).result(timeout=120)
    assert seconds < 5, pattern


def test_no_repeat_without_a_bound_over_anything():
    for diagnosis in diagnoses():
        for pattern in diagnosis.match:
            assert not re.search(r"(?<!\\)\.[*+]", pattern), (diagnosis.id, pattern)


def test_ids_are_unique_and_known():
    ids = [diagnosis.id for diagnosis in diagnoses()]
    assert len(set(ids)) == len(ids) >= 100
    for diagnosis in diagnoses():
        for name in diagnosis.leads_to:
            assert get_diagnosis(name).level == "error"
    with pytest.raises(KeyError):
        get_diagnosis("no-such-diagnosis")


@pytest.mark.parametrize("diagnosis", EVERY)
def test_page(diagnosis: Diagnosis):
    page = diagnosis.page()
    assert page.startswith(f"# {diagnosis.id}\n")
    assert diagnosis.example in page
    assert page.count("**Cause.**") == page.count("**Remedy.**") == 1
    assert all(re.fullmatch(r"https://[^\s<>]+", url) and url in page for url in diagnosis.urls)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"No Op registered for (?P<op>\S{1,9}) with", "No Op registered for "),
        (r"size of (?:\d+ )?bytes\.? more", "size of "),
        (r"\[8\] Assertion failed: .{0,20}?x\(\) && longest", "[8] Assertion failed: "),
        (r"[Nn]etwork must have", "etwork must have"),
        (r"colou?rs and tones", "rs and tones"),
        (r"a+bcdef", "bcdef"),
    ],
)
def test_literal(pattern: str, text: str):
    assert literal(pattern) == text


@pytest.mark.parametrize("pattern", ["this|that one", "(?i)anything", r"\d+ \w+", "a(bcdefgh)?"])
def test_an_expression_that_would_be_tried_on_every_line_is_refused(pattern: str):
    with pytest.raises(ValueError, match=r"alternatives|no plain text"):
        literal(pattern)


def test_links():
    assert issue_url("onnx/onnx-tensorrt#12") == "https://github.com/onnx/onnx-tensorrt/issues/12"
    with pytest.raises(ValueError, match="neither a URL"):
        issue_url("onnx-tensorrt 12")


@pytest.mark.parametrize("diagnosis", EVERY)
def test_the_matcher_finds_what_trying_each_expression_finds(diagnosis: Diagnosis):
    for line in (diagnosis.example, f"x{diagnosis.example}y", f"({diagnosis.example})"):
        first = next((known for known in diagnoses() if known.search(line)), None)
        found = matcher().find(line)
        assert (found[0] if found else None) == first


def test_every_repair_named_exists():
    named = {found.repair for found in diagnoses() if found.repair}
    assert named
    assert named <= {*REPAIRS, *GRAPH_REPAIRS}
