"""What a search finds, remembers, and leaves alone; and what a measurement lets pass."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enginesmith.converters.backends.tvm.kernels.schedule import WinogradSchedule
from enginesmith.converters.backends.tvm.tuning.walk import Walk
from enginesmith.converters.core.isolated import Isolated

EVEN = {"0": 2.0, "2": 2.0, "4": 2.0}


@pytest.fixture
def search(tuner: Isolated, tmp_path: Any) -> Any:
    def run(evaluations: int = 10_000, winograd: dict[str, float] = EVEN, broken: str = "") -> Any:
        return tuner.call("tuning_calls:search", str(tmp_path / "db"), evaluations, winograd, broken, timeout=60)

    return run


def test_workloads_are_known_by_what_matters(tuner: Isolated) -> None:
    same, halo, gap, label = tuner.call("tuning_calls:dumped", timeout=60)
    assert same
    assert halo
    assert not gap  # without any room a plane is gone through as one long row
    assert label == "3x3 convolution, 16 to 16 channels, 6x6"


def test_the_best_of_a_space_is_found(search: Any) -> None:
    told = search()
    assert not told["stopped"]
    best = {"rows": 3, "inputs": 2, "across": False}
    assert all(best.items() <= schedule.items() for schedule in told["schedules"] if "inputs" in schedule)
    assert told["gain"] > 0.2
    assert len(set(told["tried"])) == len(told["tried"])


def test_a_search_goes_on_where_the_last_one_ended(search: Any) -> None:
    first = search(8)
    assert "user" in first["stopped"]
    assert len(first["tried"]) >= 3
    second = search()
    assert second["remembered"] > len(first["tried"])  # and which kernel is best for the 3x3
    assert not set(first["tried"]) & set(second["tried"])


def test_a_failure_is_never_chosen(search: Any) -> None:
    told = search(broken="2")
    assert told["failed"]
    assert all(schedule.get("inputs") != 2 for schedule in told["schedules"])
    assert not search(broken="2")["failed"]  # they are remembered too


@pytest.mark.parametrize(
    ("times", "size"), [({"0": 2.0, "2": 1.0, "4": 0.5}, 4), ({"0": 1.0, "2": 0.6, "4": 3.0}, 2), ({"0": 1.0}, 0)]
)
def test_the_fastest_kernel_for_a_convolution_is_chosen(search: Any, times: dict[str, float], size: int) -> None:
    assert search(winograd=times)["sizes"] == [size]


def test_a_kernel_that_computes_something_else_is_refused(tuner: Isolated) -> None:
    assert "a wrong result" in tuner.call("tuning_calls:wrong", timeout=60)


def test_a_measurement(tuner: Isolated) -> None:
    default, other = tuner.call("tuning_calls:timed", timeout=60)
    assert 0 < default < 10
    assert 0 < other < 10


@settings(deadline=None)
@given(optimum=st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 4)), seed=st.integers(0, 9))
def test_a_walk_proposes_each_schedule_once_and_ends_at_the_best(optimum: tuple[int, int, int], seed: int) -> None:
    space = {"vectors": (1, 2, 3, 4), "sums": (4, 6, 8, 10, 12, 14), "rows": (1, 2, 4, 7, 14)}
    start = WinogradSchedule(vectors=2, sums=12, rows=7)
    walk, proposed = Walk(start, space, seed), []

    def away(schedule: WinogradSchedule) -> int:
        places = zip(space, optimum, strict=True)
        return sum(
            abs(values.index(getattr(schedule, name)) - place) for name, place in places for values in [space[name]]
        )

    while (schedule := walk.propose()) is not None:
        assert schedule.within(space)
        proposed.append(schedule)
        walk.learn(schedule, (1 + away(schedule)) / (1 + away(start)))
    assert len(set(proposed)) == len(proposed)
    assert away(walk.best) == 0
