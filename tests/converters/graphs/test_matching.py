"""Detections held against each other: what counts as the same, and what does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enginesmith.converters.graphs.matching import (
    Found,
    drawable,
    iou,
    match_classes,
    match_detections,
    merge,
    pictures_of,
)
from enginesmith.converters.graphs.tolerances import TOLERANCES

FP32 = TOLERANCES["fp32"]
settings.register_profile("quick", deadline=None, max_examples=60)
settings.load_profile("quick")

box = st.tuples(*[st.integers(0, 300)] * 2, *[st.integers(1, 200)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
detection = st.tuples(box, st.integers(100, 1000).map(lambda s: s / 1000), st.integers(1, 5))


def found(detections) -> Found:
    """Best first, as `pictures_of` gives them."""
    detections = sorted(detections, key=lambda d: -d[1])
    return Found(
        np.array([d[0] for d in detections], np.float32).reshape(-1, 4),
        np.array([d[1] for d in detections], np.float32),
        np.array([d[2] for d in detections], np.int64),
    )


def outputs(detections, padding: int = 0) -> dict[str, np.ndarray]:
    """As an engine gives them, in the order given, for one picture."""
    boxes = [d[0] for d in detections] + [(0, 0, 0, 0)] * padding
    return {
        "boxes": np.array(boxes, np.float32).reshape(1, -1, 4),
        "scores": np.array([[d[1] for d in detections] + [-1.0] * padding], np.float32),
        "labels": np.array([[d[2] for d in detections] + [0] * padding], np.int64),
    }


def separate(count: int, score: float = 0.9, step: float = 0.01) -> list[tuple[tuple[int, ...], float, int]]:
    """Boxes that don't touch, scores falling by `step`."""
    return [((30 * i, 0, 30 * i + 20, 20), score - step * i, 1) for i in range(count)]


def overlap(a, b) -> float:
    """By counting pixels."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@given(st.lists(box, max_size=8), st.lists(box, max_size=8))
def test_iou_is_brute_force(boxes, others) -> None:
    matrix = iou(np.array(boxes, np.float32).reshape(-1, 4), np.array(others, np.float32).reshape(-1, 4))
    assert matrix.shape == (len(boxes), len(others))
    for i, a in enumerate(boxes):
        for j, b in enumerate(others):
            assert matrix[i, j] == pytest.approx(overlap(a, b), abs=1e-5)


def test_boxes_without_area() -> None:
    flat = np.array([[5, 5, 5, 9], [0, 0, 0, 0], [5, 5, 9, 9]], np.float32)
    np.testing.assert_array_equal(iou(flat, flat), np.eye(3))


@given(st.data())
def test_a_permutation_matches_fully(data) -> None:
    detections = data.draw(st.lists(detection, max_size=30))
    shuffled = data.draw(st.permutations(detections))
    (before,), (after,) = pictures_of(outputs(detections)), pictures_of(outputs(shuffled))
    match = match_detections(before, after, FP32)
    assert match.passed
    assert match.matched == match.expected == match.found == len(detections)
    assert match.worst_iou == 1
    assert match.worst_score_difference == 0


@given(st.lists(detection, min_size=1, max_size=19, unique_by=lambda d: d[0]), st.data())
def test_another_label_is_another_object(detections, data) -> None:
    index = data.draw(st.integers(0, len(detections) - 1))
    changed = [*detections]
    changed[index] = (detections[index][0], detections[index][1], 9)
    match = match_detections(found(detections), found(changed), FP32)
    assert match.matched == len(detections) - 1
    assert not match.passed, "two without a partner are more than one in ten"


@given(st.lists(detection, max_size=20), st.integers(0, 30))
def test_padding_is_ignored(detections, padding) -> None:
    (plain,), (padded,) = pictures_of(outputs(detections)), pictures_of(outputs(detections, padding))
    match = match_detections(plain, padded, FP32)
    assert match.passed
    assert match.found == len(detections)


@given(st.lists(detection, max_size=20), st.lists(detection, max_size=20))
def test_each_detection_is_matched_once(some, others) -> None:
    there = match_detections(found(some), found(others), FP32)
    assert there.matched <= min(len(some), len(others))
    assert 0 <= there.worst_iou <= 1
    assert there.passed <= (there.worst_score_difference <= FP32.score)


def test_duplicates_need_as_many_partners() -> None:
    one = ((0, 0, 9, 9), 0.5, 1)
    assert match_detections(found([one] * 3), found([one] * 3), FP32).matched == 3
    assert not match_detections(found([one] * 3), found([one] * 2), FP32).passed


@pytest.mark.parametrize(("moved", "passed"), [(0.2, True), (0.5, False), (3, False)])
def test_how_far_a_box_may_move(moved: float, passed: bool) -> None:
    (x, y, right, bottom), score, label = separate(1)[0]
    match = match_detections(found(separate(1)), found([((x + moved, y, right + moved, bottom), score, label)]), FP32)
    assert match.passed is passed
    assert (match.worst_iou < 1) is passed, "that of matched boxes"


@pytest.mark.parametrize(("change", "passed"), [(0.004, True), (0.006, False)])
def test_how_far_a_score_may_move(change: float, passed: bool) -> None:
    changed = [(box, score - change, label) for box, score, label in separate(3)]
    match = match_detections(found(separate(3)), found(changed), FP32)
    assert match.passed is passed
    assert match.matched == 3
    assert match.worst_score_difference == pytest.approx(change, abs=1e-6)


@pytest.mark.parametrize("lost_by", ["expected", "found"])
@pytest.mark.parametrize(
    ("count", "lost", "passed"),
    [
        (20, [19], True),  # the last one kept
        (20, [18, 19], True),
        (20, [17, 18, 19], False),  # three are not rounding
        (20, [0], False),  # far above the cut
        (20, [10], False),
        (10, [9], True),
        (5, [4], False),  # one in five
        (1, [0], False),  # all there was
    ],
)
def test_the_cut_is_decided_by_rounding(count: int, lost: list[int], passed: bool, lost_by: str) -> None:
    everything = separate(count, step=0.002 if len(lost) > 1 else 0.02)
    kept = [d for index, d in enumerate(everything) if index not in lost]
    before, after = (everything, kept) if lost_by == "found" else (kept, everything)
    match = match_detections(found(before), found(after), FP32)
    if lost_by == "expected" and len(kept) in (9, 19, 18) and passed:
        passed = len(lost) <= len(kept) // 10
    assert match.passed is passed
    assert match.matched == len(kept)


def test_empty_sides() -> None:
    nothing, something = found([]), found(separate(2))
    assert match_detections(nothing, nothing, FP32).passed
    assert not match_detections(something, nothing, FP32).passed
    assert not match_detections(nothing, something, FP32).passed
    assert match_detections(nothing, something, FP32).found == 2


@pytest.mark.parametrize("field", ["boxes", "scores"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_never_passes(field: str, value: float) -> None:
    broken = outputs(separate(30))
    broken[field].flat[-1] = value
    (before,), (after,) = pictures_of(outputs(separate(30))), pictures_of(broken)
    match = match_detections(before, after, FP32)
    assert not match.passed
    assert np.isfinite([match.worst_iou, match.worst_score_difference]).all(), "JSON knows no NaN"


def test_pictures_are_best_first_and_apart() -> None:
    first, second = [((0, 0, 5, 5), 0.2, 1), ((0, 0, 9, 9), 0.8, 2)], [((1, 1, 4, 4), 0.5, 3), ((0, 0, 1, 1), 0.0, 4)]
    batch = {name: np.concatenate([outputs(first)[name], outputs(second)[name]]) for name in outputs(first)}
    one, two = pictures_of(batch)
    assert one.scores.tolist() == pytest.approx([0.8, 0.2])
    assert one.labels.tolist() == [2, 1]
    assert two.labels.tolist() == [3, 4], "a score of 0 is a detection"


def test_a_graph_for_one_picture_may_leave_out_the_batch() -> None:
    """As torchvision's own, which does not pad either."""
    plain = outputs(separate(3))
    (expected,) = pictures_of(outputs(separate(3), padding=5))
    (one,) = pictures_of({name: array[0] for name, array in plain.items()})
    assert match_detections(expected, one, FP32).matched == 3


def test_merge() -> None:
    good = match_detections(found(separate(3)), found(separate(3)), FP32)
    bad = match_detections(found(separate(3)), found(separate(1)), FP32)
    total = merge([good, bad])
    assert (total.expected, total.found, total.matched, total.passed) == (6, 4, 4, False)


def test_drawable() -> None:
    drawn = drawable(found(separate(30)), most=4)
    assert len(drawn.boxes) == len(drawn.scores) == len(drawn.labels) == 4
    assert drawn.scores[0] == pytest.approx(0.9)
    assert drawn.boxes[1] == [30, 0, 50, 20]


def test_classes_agree() -> None:
    logits = np.random.default_rng(0).standard_normal((4, 10)).astype(np.float32)
    match = match_classes(logits, logits * 1.01, FP32)
    assert (match.top1, match.top5, match.passed) == (1, 1, True)


def test_another_best_class() -> None:
    logits = np.array([[0, 1, 2], [5, 1, 0]], np.float32)
    match = match_classes(logits, np.array([[0, 3, 2], [5, 1, 0]], np.float32), FP32)
    assert (match.top1, match.top5, match.passed) == (0.5, 1, False)
    assert match_classes(logits, logits[:, ::-1], FP32).top1 == 0
    assert match_classes(logits, np.array([[0, 3, 2], [5, 1, 0]], np.float32), replace(FP32, top1=0.5)).passed


def test_a_tie_is_no_disagreement() -> None:
    tie = np.array([[1.0, 1.00001, 0.5]], np.float32)
    assert match_classes(tie, tie[:, [1, 0, 2]], FP32).passed
    apart = np.array([[5, 4, 0]], np.float32)
    assert not match_classes(apart, apart[:, [1, 0, 2]], FP32).passed
    assert match_classes(apart, apart[:, [1, 0, 2]], FP32, np.full((1, 3), 1.5)).passed, (
        "rounding is known to do as much"
    )


def test_the_five_best_as_sets() -> None:
    expected = np.arange(10, dtype=np.float32)[None]
    swapped = expected[:, [0, 1, 2, 3, 9, 5, 6, 7, 8, 4]]
    assert match_classes(expected, swapped, FP32).top5 == pytest.approx(0.8)
    assert match_classes(np.full((1, 1), np.nan, np.float32), np.zeros((1, 1), np.float32), FP32).top5 == 1


def test_classes_that_are_no_numbers() -> None:
    logits = np.array([[0, 1, 2]], np.float32)
    assert not match_classes(logits, np.array([[np.nan, 1, 2]], np.float32), FP32).passed
