"""How figures are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.converters.core.records import Latency
from enginesmith.pipeline.report import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 ms"), (0.02784, "0.0278 ms"), (0.111, "0.111 ms"), (3.11, "3.11 ms"), (141.2, "141 ms"), (2589.4, "2,589 ms")],
)  # fmt: skip
def test_milliseconds(value: float, shown: str) -> None:
    assert text.milliseconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 s"), (0.0004, "1 ms"), (0.25, "250 ms"), (4.21, "4.2 s"), (59.96, "1 min 0 s"), (3840, "1 h 4 min")],
)
def test_seconds(value: float, shown: str) -> None:
    assert text.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (84_213_776, "84.2 MB"), (102e6, "102 MB"), (1.64e9, "1.6 GB")],
)
def test_size(value: float, shown: str) -> None:
    assert text.size(value) == shown


@given(st.floats(min_value=1e-30, max_value=1e30))
def test_difference_is_never_rounded_to_nothing(value: float) -> None:
    assert float(text.difference(value)) == pytest.approx(value, rel=0.06)


@pytest.mark.parametrize(
    ("engine", "onnxruntime", "said"),
    [(5, 10, "2.00 times as fast"), (10, 5, "slower than ONNX Runtime: takes 2.00 times"), (10, 10.1, "as fast as"), (0, 1, "no")],
)  # fmt: skip
def test_speed(engine: float, onnxruntime: float, said: str) -> None:
    latency = Latency(engine_ms=engine, onnxruntime_ms=onnxruntime, runs=1, threads=1, load_before=0, load_after=0)
    assert text.speed(latency).startswith(said)


def test_moment() -> None:
    assert text.moment("2026-03-14T09:26:53Z") == text.moment("2026-03-14T11:26:53+02:00") == "2026-03-14 09:26 UTC"
    assert text.moment("yesterday") == "yesterday"


def test_percent_says_all_only_of_all() -> None:
    assert [text.percent(share) for share in (1, 0.99999, 0.5, 0)] == ["100%", "99.9%", "50%", "0%"]
