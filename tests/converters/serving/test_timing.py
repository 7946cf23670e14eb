"""Calls in turn, and what is told of their times."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.converters.core.timing import FEWEST_RUNS, in_turn, spread


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=300))
def test_percentiles_are_runs_and_in_order(times: list[float]) -> None:
    found = spread(times)
    line = [found.low, found.p50, found.p90, found.p99, found.high]
    assert line == sorted(line)
    assert set(line) <= {each * 1e3 for each in times}
    assert found.runs == len(times)
    assert found.mean == pytest.approx(1e3 * sum(times) / len(times))


def test_calls_alternate_and_neither_always_follows_the_other() -> None:
    order: list[str] = []

    def call(name: str) -> float:
        order.append(name)
        return 1.0

    times = in_turn([lambda: call("a"), lambda: call("b")], 60, most=4)
    assert times == [[1.0] * 4, [1.0] * 4]
    assert "".join(order) == "ab" + "ab" + "ba" + "ab" + "ba"


def test_it_ends_after_its_time() -> None:
    def call() -> float:
        time.sleep(0.02)
        return 0.02

    began = time.monotonic()
    (times,) = in_turn([call], 0.1)
    assert FEWEST_RUNS <= len(times) < 20
    assert time.monotonic() - began < 5
