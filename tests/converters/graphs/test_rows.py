"""Rows sorted by a score: equal scores have no order, and nothing else is excused by that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from polygraphy.comparator import IterationResult

from enginesmith.converters.core.samples import Sample
from enginesmith.converters.graphs.difference import compare_outputs
from enginesmith.converters.graphs.tolerances import TOLERANCES


def passes(expected: dict[str, Any], found: dict[str, Any]) -> bool:
    wrap = [IterationResult(outputs=side, runtime=0.0, runner_name="test") for side in (expected, found)]
    return compare_outputs("tensor", Sample(name="s"), {}, *wrap, TOLERANCES["fp32"]).passed


SCORES = np.repeat(np.linspace(0.9, 0.1, 10, dtype=np.float32), 3)
"""Thirty, each thrice."""
BOXES = np.arange(120, dtype=np.float32).reshape(30, 4)
LABELS = np.arange(30)


def table(order: Any) -> np.ndarray:
    """[1, 30, 6]: box, score, class."""
    return np.concatenate([BOXES, SCORES[:, None], LABELS[:, None].astype(np.float32)], axis=1)[None, order]


SWAPPED = np.array([2, 1, 0, *range(3, 30)])
"""Within the first tie."""
CROSSED = np.array([3, 1, 2, 0, *range(4, 30)])
"""Two rows of different scores."""


@pytest.mark.parametrize(("order", "same"), [(SWAPPED, True), (CROSSED, False)])
def test_one_tensor_of_boxes_scores_and_classes(order: np.ndarray, same: bool) -> None:
    assert passes({"y": table(np.arange(30))}, {"y": table(order)}) is same


@pytest.mark.parametrize(("order", "same"), [(SWAPPED, True), (CROSSED, False)])
@pytest.mark.parametrize("axis", [0, 1])
def test_values_and_indices_of_a_top_k(order: np.ndarray, same: bool, axis: int) -> None:
    values, indices = np.stack([SCORES, SCORES / 2], 1 - axis), np.stack([LABELS, LABELS], 1 - axis)
    moved = indices.take(order, axis)
    assert passes({"v": values, "i": indices}, {"v": values.take(order, axis), "i": moved}) is same


def test_boxes_labels_and_scores_move_together() -> None:
    expected = {"boxes": BOXES, "scores": SCORES, "labels": LABELS}
    assert passes(expected, {name: array[SWAPPED] for name, array in expected.items()})
    assert not passes(expected, {**expected, "labels": LABELS[CROSSED]})
    assert not passes(expected, {**expected, "labels": LABELS[SWAPPED]}), "a label of another box"


def test_scores_that_rounding_brings_into_another_order() -> None:
    near = np.array([0.9, 0.5, 0.5 - 1e-7, 0.1], np.float32)
    found = np.array([0.9, 0.5, 0.5 - 1e-7, 0.1], np.float32)
    assert passes({"v": near, "i": np.arange(4)}, {"v": found, "i": np.array([0, 2, 1, 3])})
    far = np.array([0.9, 0.5, 0.4, 0.1], np.float32)
    assert not passes({"v": far, "i": np.arange(4)}, {"v": far, "i": np.array([0, 2, 1, 3])})


def test_the_last_rows_may_be_others_where_their_tie_goes_on() -> None:
    values, indices = SCORES[:20], LABELS[:20].copy()
    other = indices.copy()
    other[-1] = 29
    assert passes({"v": values, "i": indices}, {"v": values, "i": other})
    other[:3] = 29
    assert not passes({"v": values, "i": indices}, {"v": values, "i": other})


def test_scores_that_are_all_equal_excuse_nothing() -> None:
    same = np.zeros(30, np.float32)
    assert not passes({"v": same, "i": LABELS}, {"v": same, "i": LABELS[::-1]})
