"""The error of outputs: 0 for equal ones, larger the further they are, 1 for what is broken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graphs import normal
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.converters.precision.fidelity import outputs_error


def detections(boxes: Any, scores: Any, labels: Any) -> dict[str, Any]:
    return {
        "boxes": np.array([boxes], np.float32).reshape(1, -1, 4),
        "scores": np.array([scores], np.float32),
        "labels": np.array([labels], np.int64),
    }


ONE = [[10, 10, 30, 30], [50, 50, 90, 90], [0, 0, 0, 0]]
EXPECTED = detections(ONE, [0.9, 0.6, -1], [1, 2, 0])


def test_equal_outputs_have_no_error() -> None:
    assert outputs_error({"y": normal(3, 4)}, {"y": normal(3, 4)}) == 0
    assert outputs_error(EXPECTED, EXPECTED) == pytest.approx(0, abs=1e-6)


@given(st.floats(0.001, 0.9))
def test_error_is_the_relative_length_of_the_difference(size: float) -> None:
    base = normal(64).astype(np.float64)
    assert outputs_error({"y": base}, {"y": base * (1 + size)}) == pytest.approx(size)


def test_integers_count_only_where_there_is_nothing_else() -> None:
    both = {"y": normal(4), "i": np.arange(4)}
    assert outputs_error(both, {**both, "i": np.zeros(4, np.int64)}) == 0
    assert outputs_error({"i": np.arange(4)}, {"i": np.array([0, 1, 3, 3])}) == 0.25


@pytest.mark.parametrize("broken", [np.full(4, np.nan, np.float32), np.full(4, np.inf, np.float32), normal(5)])
def test_broken_outputs_are_all_wrong(broken: Any) -> None:
    assert outputs_error({"y": normal(4)}, {"y": broken}) == 1


def test_infinities_that_are_expected_are_no_error() -> None:
    masked = np.array([1, -np.inf, 2], np.float32)
    assert outputs_error({"y": masked}, {"y": np.array([1, -1e4, 2], np.float32)}) == 0


def test_zeros_that_stay_zeros_are_right_and_others_wrong() -> None:
    zeros = np.zeros(4, np.float32)
    assert outputs_error({"y": zeros}, {"y": zeros}) == 0
    assert outputs_error({"y": zeros}, {"y": zeros + 1}) == 1


def test_detections_in_another_order_are_the_same() -> None:
    swapped = detections([ONE[1], ONE[0], ONE[2]], [0.6, 0.9, -1], [2, 1, 0])
    assert outputs_error(EXPECTED, swapped) == pytest.approx(0, abs=1e-6)


def test_the_error_of_detections_grows_with_what_goes_wrong() -> None:
    moved = outputs_error(EXPECTED, detections([[12, 10, 32, 30], *ONE[1:]], [0.9, 0.6, -1], [1, 2, 0]))
    scored = outputs_error(EXPECTED, detections(ONE, [0.9, 0.5, -1], [1, 2, 0]))
    relabelled = outputs_error(EXPECTED, detections(ONE, [0.9, 0.6, -1], [1, 3, 0]))
    lost = outputs_error(EXPECTED, detections(ONE, [0.9, -1, -1], [1, 0, 0]))
    extra = outputs_error(EXPECTED, detections(ONE, [0.9, 0.6, 0.6], [1, 2, 2]))
    assert 0 < scored < moved < 0.2 < lost < relabelled < 1
    assert extra > 0
    assert outputs_error(EXPECTED, detections(ONE, [-1, -1, -1], [0, 0, 0])) == 1


def test_broken_detections_are_all_wrong() -> None:
    nan = detections(ONE, [np.nan, np.nan, np.nan], [1, 2, 0])
    assert outputs_error(EXPECTED, nan) == 1
    none = detections(ONE, [-1, -1, -1], [0, 0, 0])
    assert outputs_error(none, none) == 0
