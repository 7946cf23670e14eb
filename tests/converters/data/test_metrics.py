"""Metrics by name: top-1, cosine, and which one a task gets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from metric_cases import A, B, boxes, classes, detections, metric

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.data.metrics import load_metric, metric_sources

FIRST, SECOND = [2.0, 1.0, 0.0], [0.0, 3.0, 1.0]


@pytest.mark.parametrize(
    "target",
    [
        [0, 1],
        (0, 1),
        np.array([0, 1]),
        np.array([[0], [1]], np.uint8),
        np.array([0.0, 1.0]),
        [np.int64(0), np.int64(1)],
        [np.array(0), np.array(1)],
        [[1, 0, 0], [0, 1, 0]],
    ],
)
def test_top1_with_labels(target: Any) -> None:
    outputs = classes(FIRST, SECOND)
    assert metric("top1", (outputs, outputs, target)).value() == 1
    swapped = classes(SECOND, SECOND)
    assert metric("top1", (swapped, outputs, target), (outputs, outputs, target)).value() == 0.75


@pytest.mark.parametrize("target", [1, np.array(1), np.array([1]), np.array([[1]]), [0, 1, 0], np.float32(1)])
def test_top1_of_one_row(target: Any) -> None:
    assert metric("top1", (classes(SECOND), classes(FIRST), target)).value() == 1
    assert metric("top1", (classes(FIRST), classes(SECOND), target)).value() == 0


def test_top1_without_labels_is_agreement() -> None:
    expected = classes(FIRST, SECOND)
    assert metric("top1", (expected, expected, None)).value() == 1
    assert metric("top1", (classes(FIRST, FIRST), expected, None)).value() == 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_top1_of_broken_outputs_is_wrong(value: float) -> None:
    """Also where the broken one is the right class, which `argmax` would find."""
    assert metric("top1", (classes([value, 0, 0], FIRST), classes(FIRST, FIRST), None)).value() == 0.5
    assert metric("top1", (classes([2.0, -np.inf, 0]), classes(FIRST), None)).value() == 1, "a class that is masked out"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([0, 1, 2], r"takes a class number for each of 2 rows, and a target is \[3\]"),
        ([0.5, 1], r"takes class numbers as targets, and one is \[0.5, 1.0\]"),
        ([0, 3], r"a target is class \[0, 3\], and the model has 3 classes, numbered from 0"),
        ([-1, 0], r"a target is class \[-1, 0\]"),
        (["cat", "dog"], "a target of METRIC=top1: "),
        ({"labels": [0, 1]}, "a target of METRIC=top1: a dict where an array is expected"),
        ([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]], "takes a class number for each of 2 rows"),
    ],
)
def test_top1_of_odd_targets(target: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        metric("top1", (classes(FIRST, SECOND), classes(FIRST, SECOND), target))


def test_top1_needs_classes() -> None:
    with pytest.raises(UserError, match=r"needs an output of floats \[N, classes\], and there is y float64 \[3\]"):
        metric("top1", ({"y": np.zeros(3)}, {"y": np.zeros(3)}, None))


@pytest.mark.parametrize(
    ("expected", "found", "value"),
    [
        ([1, 0], [1, 0], 1),
        ([1, 0], [2, 0], 1),
        ([1, 0], [0, 1], 0),
        ([1, 0], [-1, 0], -1),
        ([1, 0], [1, 1], 0.5**0.5),
        ([0, 0], [0, 0], 1),
        ([0, 0], [0, 1], 0),
        ([1, 0], [0, 0], 0),
        ([1, 0], [1, np.nan], 0),
        ([1, 0], [1, np.inf], 0),
        ([1, np.inf], [1, np.inf], 1),
        ([1, np.nan], [1, 5], 1),
        ([3e38, 3e38], [3e38, 3e38], 1),
        ([1e-40, 0], [1e-40, 0], 1),
        ([1, 0], [1, 0, 0], 0),
        ([], [], 1),
    ],
)
def test_cosine(expected: list[float], found: list[float], value: float) -> None:
    before, after = {"y": np.array(expected, np.float32)}, {"y": np.array(found, np.float32)}
    assert metric("cosine", (after, before, None)).value() == pytest.approx(value, abs=1e-7)


def test_cosine_is_the_mean_over_outputs_of_floats() -> None:
    before = {"a": np.ones(3, np.float32), "n": np.ones(3, np.int64), "b": np.ones((2, 2), np.float16)}
    after = before | {"n": np.zeros(3, np.int64), "b": -before["b"]}
    assert metric("cosine", (before, before, None), (after, before, None)).value() == pytest.approx(0.5)
    with pytest.raises(UserError, match="METRIC=cosine needs outputs of floats"):
        metric("cosine", ({"n": before["n"]}, {"n": before["n"]}, None))


def test_doubts_about_labels() -> None:
    """Of another model, or counted from 1: the float32 graph itself is no better than a guess."""
    rng = np.random.default_rng(0)
    scores = rng.random((50, 10), np.float32)
    outputs, right = {"y": scores}, scores.argmax(axis=1)
    assert metric("top1", (outputs, outputs, right)).doubt() == ""
    assert metric("top1", (outputs, outputs, None)).doubt() == ""
    often = np.where(np.arange(50) < 20, right, (right + 1) % 10)
    assert metric("top1", (outputs, outputs, often)).doubt() == "", "40 %: a bad model, but the same classes"
    doubt = metric("top1", (outputs, outputs, (right + 1) % 10)).doubt()
    assert "is right on 0 of 50 labels, no better than guessing among its 10 classes" in doubt
    found = detections([(A, 0.9, 1), (B, 0.8, 2)])
    assert metric("map", (found, found, boxes((A, 1)))).doubt() == ""
    assert metric("map", (found, found, None)).doubt() == ""
    doubt = metric("map", (found, found, boxes((A, 17), (B, 18)))).doubt()
    assert "has an mAP of 0.000 on the labels" in doubt
    assert "(the data has 17, 18, the model found 1, 2)" in doubt
    assert metric("cosine").doubt() == ""


@pytest.mark.parametrize(
    ("task", "name"), [("classification", "top-1"), ("detection", "mAP@0.5"), ("tensor", "cosine")]
)
def test_the_tasks_own(task: str, name: str) -> None:
    assert load_metric("", task, False).name == name


def test_labels_of_unknown_meaning() -> None:
    with pytest.raises(UserError, match="the data has labels, and what they mean isn't known; give METRIC=top1"):
        load_metric("", "tensor", True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("top2", r"METRIC=top2 is none of top1, map, miou, cosine and no file.py:function; did you mean top1\?"),
        ("MAP", "did you mean map"),
        ("zzz", "is none of top1, map, miou, cosine and no file.py:function$"),
        ("nothing.py:metric", "METRIC=nothing.py:metric: there is no file nothing.py"),
    ],
)
def test_no_metrics(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_metric(spec, "tensor", False)
    with pytest.raises(UserError, match=message):
        metric_sources(spec)


LABELS = np.array([[[0, 0, 1], [1, 1, 2]]])


def test_miou_of_labels_and_of_scores() -> None:
    """Class 0: 1 of 2, class 1: 3 of 4, class 2: 1 of 1."""
    found = np.array([[[0, 1, 1], [1, 1, 2]]])
    expected = (1 / 2 + 3 / 4 + 1) / 3
    assert metric("miou", ({"y": found}, {"y": LABELS}, None)).value() == pytest.approx(expected)
    scores = {
        name: {"y": np.eye(3, dtype=np.float32)[of].transpose(0, 3, 1, 2)} for name, of in (("a", found), ("b", LABELS))
    }
    assert metric("miou", (scores["a"], scores["b"], None)).value() == pytest.approx(expected)
    assert metric("miou", ({"y": found}, {"y": found}, LABELS)).value() == pytest.approx(expected)
    assert metric("miou", ({"y": found[:, None]}, {"y": found[:, None]}, LABELS[0])).value() == pytest.approx(expected)


def test_miou_is_of_all_examples_together_and_without_what_is_ignored() -> None:
    right, wrong = ({"y": LABELS}, {"y": LABELS}, LABELS), ({"y": LABELS}, {"y": LABELS}, np.full_like(LABELS, 2))
    assert metric("miou", right, wrong).value() == pytest.approx((2 / 4 + 3 / 6 + 2 / 7) / 3)
    target = np.where(LABELS == 1, 255, LABELS)
    assert metric("miou", ({"y": LABELS}, {"y": LABELS}, target)).value() == 1
    broken = np.eye(3, dtype=np.float32)[LABELS].transpose(0, 3, 1, 2).copy()
    broken[0, 0] = np.nan
    assert metric("miou", ({"y": broken}, {"y": LABELS}, None)).value() == 0


def test_miou_refuses_what_has_no_labels() -> None:
    with pytest.raises(UserError, match=r"needs labels \(integers\) \[N, H, W\].*there is y float32 \[1, 3\]"):
        metric("miou", ({"y": np.ones((1, 3), np.float32)}, {"y": np.ones((1, 3), np.float32)}, None))
    with pytest.raises(
        UserError, match=r"takes a class number for each pixel, \[1, 2, 3\], and a target is int64 \[2\]"
    ):
        metric("miou", ({"y": LABELS}, {"y": LABELS}, [0, 1]))


def test_whole_numbers_of_which_nothing_is_known_are_labels() -> None:
    assert load_metric("", "tensor", labelled=False, whole=True).name == "mIoU"
    assert load_metric("", "tensor", labelled=False).name == "cosine"
