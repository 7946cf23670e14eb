"""What is said of an engine: its comparison's verdict, unless a stage on the way to it has a doubt."""

from __future__ import annotations

from typing import Any

import pytest

from enginesmith.converters.core.comparisons import Comparison, Coverage, SampleComparison, Unexercised
from enginesmith.converters.core.facts import ComparedFacts, Doubt, Facts, ModelFacts
from enginesmith.converters.core.records import Weights
from enginesmith.converters.graphs.comparison import conclude
from enginesmith.pipeline.job.manifest import StageRecord
from enginesmith.pipeline.job.results import verified

BAKED = Doubt(verified="no", reason="a branch is baked in")
RANDOM = Doubt(verified="proves nothing", reason="random weights")


def records(verdict: Any = "pass", **doubts: Doubt) -> dict[str, StageRecord]:
    """export -> compile -> compare; `aside` is a branch of its own."""
    found = Comparison(expected="torch", found="tvm", verdict=verdict, reason="all NaN")
    needs = {"export": {}, "aside": {"model": "export"}, "compile": {"model": "export"}, "compare": {"it": "compile"}}
    return {
        id: StageRecord(
            id=id,
            stage="compare" if id == "compare" else "simplify",
            needs=needs[id],
            status="built",
            facts=ComparedFacts(comparison=found) if id == "compare" else Facts(doubt=doubts.get(id)),
        )
        for id in needs
    }


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (records(), "yes"),
        (records("proves nothing"), "proves nothing"),
        (records(export=BAKED), "no"),
        (records(export=RANDOM), "proves nothing"),
        (records(compile=RANDOM, export=BAKED), "no"),
        (records("proves nothing", export=BAKED), "no"),
        (records(aside=BAKED), "yes"),
    ],
)
def test_a_doubt_on_the_way_decides(found: dict[str, StageRecord], expected: str) -> None:
    assert verified(found["compare"], found)[0] == expected


def test_what_the_samples_did_not_show_is_told_beside_the_verdict() -> None:
    found = records()
    unseen = [Unexercised(node=name, op="Relu", unseen=["a negative input", "a positive input"]) for name in ("a", "b")]
    coverage = Coverage(conditions=10, samples=4, unexercised=unseen)
    found["export"].facts = ModelFacts(weights=Weights(origin="model", detail=""), task="tensor", coverage=coverage)
    assert coverage.met == 6
    assert verified(found["compare"], found) == ("yes", "all NaN; not exercised: 2 nodes")


def test_a_stage_that_did_not_pass_decides_by_itself() -> None:
    found = records(export=RANDOM)
    found["compare"].status, found["compare"].error = "failed", "differs"
    assert verified(found["compare"], found) == ("no", "differs")
    found["compare"].status, found["compare"].error = "not run", "no GPU"
    assert verified(found["compare"], found) == ("not run", "no GPU")


def test_samples_that_are_all_vacuous_prove_nothing() -> None:
    def samples(*vacuous: str) -> list[SampleComparison]:
        return [SampleComparison(sample=str(number), passed=True, vacuous=why) for number, why in enumerate(vacuous)]

    assert conclude(samples("all NaN", ""), "torch", "tvm").verdict == "pass"
    assert conclude(samples("all NaN", "all NaN"), "torch", "tvm").verdict == "proves nothing"
