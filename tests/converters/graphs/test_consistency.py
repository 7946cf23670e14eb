"""Engines held against themselves: here plain functions, honest ones and such with a fault."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enginesmith.converters.core.comparisons import Comparison
from enginesmith.converters.core.samples import Feed
from enginesmith.converters.graphs.answers import Infer, Subject, again
from enginesmith.converters.graphs.batches import batch_of, picked, rows_of, smaller
from enginesmith.converters.graphs.consistency import check
from enginesmith.converters.graphs.self_checks import note_contradictions
from enginesmith.converters.graphs.tolerances import TOLERANCES

FP32 = TOLERANCES["fp32"]
WEIGHTS = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)


def feeds(*batches: int) -> list[Feed]:
    rng = np.random.default_rng(1)
    return [OrderedDict(x=rng.standard_normal((batch, 6)).astype(np.float32)) for batch in batches]


def honest(feed: Feed) -> dict[str, Any]:
    return {"y": np.tanh(feed["x"] @ WEIGHTS)}


def verdicts(infer: Infer, given: list[Feed], reference: Infer = honest, **more: Any) -> dict[str, str]:
    subject = Subject("engine", infer, given, "tensor", FP32, again(FP32), lambda: reference, **more)
    return {each.check: each.verdict for each in check(subject)}


def stateful(share: float) -> Infer:
    kept = [np.float32(0)]

    def infer(feed: Feed) -> dict[str, Any]:
        outputs = honest(feed)
        outputs["y"] = outputs["y"] + np.float32(share) * kept[0]
        kept[0] = outputs["y"].mean()
        return outputs

    return infer


def every(period: int) -> Infer:
    calls = count(1)

    def infer(feed: Feed) -> dict[str, Any]:
        outputs = honest(feed)
        return {"y": -outputs["y"]} if next(calls) % period == 0 else outputs

    return infer


def rows(change: Callable[[Any, Any], Any]) -> Infer:
    def infer(feed: Feed) -> dict[str, Any]:
        return {"y": change(honest(feed)["y"], feed["x"])}

    return infer


def by_row(values: Any) -> Any:
    return np.arange(len(values), dtype=np.float32)[:, None]


@pytest.mark.parametrize("given", [feeds(1, 1, 1), feeds(4, 4), feeds(4, 4, 2, 1)])
def test_an_honest_engine_passes_all_that_is_asked(given: list[Feed]) -> None:
    found = verdicts(honest, given)
    assert set(found.values()) == {"pass"}
    assert ("equal rows" in found) == (given[0]["x"].shape[0] > 1)
    assert ("batch sizes" in found) == (len({len(feed["x"]) for feed in given}) > 1)


@pytest.mark.parametrize(
    ("infer", "name"),
    [
        (stateful(1e-2), "repeated"),
        (stateful(1e-3), "repeated"),
        (every(3), "repeated"),
        (every(11), "repeated"),
        (rows(lambda y, x: np.concatenate([y[:1], y[1:] + 1e-2 * y[:-1]])), "permuted rows"),
        (rows(lambda y, x: y + 1e-2 * y.mean()), "equal rows"),
        (rows(lambda y, x: y[:1].repeat(len(y), 0)), "permuted rows"),
        (rows(lambda y, x: y * (1 + 1e-2 * by_row(y))), "permuted rows"),
        (rows(lambda y, x: y[::-1]), "permuted rows"),
        (rows(lambda y, x: np.where(by_row(y) == len(y) - 1, 0, y)), "permuted rows"),
    ],
)
def test_a_fault_is_found(infer: Infer, name: str) -> None:
    assert verdicts(infer, feeds(4, 4))[name] == "fail"


def test_what_one_input_leaves_for_another_is_found() -> None:
    seen: list[Any] = []

    def infer(feed: Feed) -> dict[str, Any]:
        """Keeps what it is asked for, and mixes up the last two."""
        key = feed["x"].tobytes()
        seen.append(key)
        return {"y": honest(feed)["y"] + np.float32(len(set(seen[-2:])) == 2)}

    found = verdicts(infer, feeds(1, 1))
    assert found["interleaved"] == "fail"


def test_another_path_for_larger_batches_is_found() -> None:
    found = verdicts(rows(lambda y, x: y + 1e-2 * (len(y) > 2)), feeds(4, 4, 1))
    assert found["batch sizes"] == "fail"
    assert found["permuted rows"] == found["equal rows"] == "pass"


def test_a_graph_that_mixes_rows_is_no_alarm() -> None:
    def mixing(feed: Feed) -> dict[str, Any]:
        y = honest(feed)["y"]
        return {"y": np.cumsum(y, 0) / y.max()}

    found = verdicts(mixing, feeds(4, 4, 1), reference=mixing)
    assert found["repeated"] == found["interleaved"] == "pass"
    assert found["permuted rows"] == found["equal rows"] == "by design"


def test_a_graph_that_draws_at_random_is_no_alarm_and_its_other_output_still_is() -> None:
    rng = np.random.default_rng(2)

    def drawing(feed: Feed) -> dict[str, Any]:
        return {**honest(feed), "noise": rng.standard_normal(3)}

    assert verdicts(drawing, feeds(1, 1), reference=drawing)["repeated"] == "by design"
    faulty = every(2)
    broken = verdicts(lambda feed: {**faulty(feed), "noise": rng.standard_normal(3)}, feeds(1, 1), drawing)
    assert broken["repeated"] == "fail"


def test_rounding_that_the_graph_itself_magnifies_is_no_alarm() -> None:
    def steep(feed: Feed, shift: float = 0.0) -> dict[str, Any]:
        return {"y": np.sin(1e5 * (feed["x"] + np.float32(shift)))}

    def engine(feed: Feed) -> dict[str, Any]:
        """As another kernel for the tail of a batch would round."""
        y = steep(feed)["y"]
        y[-1] = steep(OrderedDict(x=feed["x"][-1]), 6e-8)["y"]
        return {"y": y}

    assert verdicts(engine, feeds(4, 4), reference=steep)["permuted rows"] != "fail"


def test_what_there_is_no_time_for_is_told() -> None:
    def slow(feed: Feed) -> dict[str, Any]:
        time.sleep(0.02)
        return honest(feed)

    found = verdicts(slow, feeds(4, 4), seconds=0.01)
    assert found["repeated"] == "pass"
    assert found["interleaved"] == found["permuted rows"] == found["equal rows"] == "not run"


def test_an_engine_that_breaks_down_on_changed_rows_is_not_run() -> None:
    def picky(feed: Feed) -> dict[str, Any]:
        if (feed["x"][0] == feed["x"][-1]).all():
            raise RuntimeError("no")
        return honest(feed)

    assert verdicts(picky, feeds(4, 4))["equal rows"] == "not run"


def test_the_same_graph_built_otherwise() -> None:
    other = {"lowest level": lambda: rows(lambda y, x: y + 1e-7)}
    assert verdicts(honest, feeds(1, 1), others=other)["lowest level"] == "pass"
    other = {"lowest level": lambda: rows(lambda y, x: y + 1e-2)}
    assert verdicts(honest, feeds(1, 1), others=other)["lowest level"] == "fail"


def test_a_contradiction_fails_a_comparison_that_agreed() -> None:
    comparison = Comparison(expected="a", found="b", verdict="pass")
    subject = Subject("engine", every(2), feeds(1, 1), "tensor", FP32, again(FP32), lambda: honest)
    note_contradictions(comparison, check(subject))
    assert comparison.verdict == "fail"
    assert "engine contradicts itself: call 2 with the same input: output y differs by" in comparison.reason
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison


@given(st.integers(2, 6), st.integers(1, 3), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_rows_of_outputs_follow_rows_of_inputs(size: int, each: int, shift: int) -> None:
    feed = OrderedDict(x=np.arange(size * 2).reshape(size, 2), scale=np.ones(1))
    batch = batch_of(feed)
    assert batch is not None
    assert batch.inputs == ("x",)
    order = [(row + shift) % size for row in range(size)]

    def answer(feed: Feed) -> dict[str, Any]:
        return {"y": np.repeat(feed["x"], each, axis=0), "count": np.arange(7)}

    turned = answer(picked(feed, batch, order))
    expected = rows_of(answer(feed), size, order)
    assert (rows_of(turned, size, range(size))["y"] == expected["y"]).all()
    assert ("count" in expected) == (7 % size == 0)


def test_a_smaller_batch_is_the_same_in_all_else() -> None:
    wide = [OrderedDict(x=np.zeros((4, 6))), OrderedDict(x=np.zeros((2, 7))), OrderedDict(x=np.zeros((2, 6)))]
    found = smaller(wide[0], wide)
    assert found is not None
    assert found[1] == 2
    assert smaller(wide[0], wide[:2]) is None


def test_a_batch_is_found_behind_an_input_that_has_none() -> None:
    batch = batch_of(OrderedDict(n=np.array(3), steps=np.zeros(7), x=np.zeros((4, 6)), mask=np.zeros((4, 1))))
    assert batch is not None
    assert (batch.size, batch.inputs) == (4, ("x", "mask"))
    assert batch_of(OrderedDict(x=np.zeros((1, 6)), n=np.array(3))) is None
