"""Mean average precision: by hand, in every form of targets, and against COCO's own evaluation."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import A, B, C, boxes, detections, metric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.data.metrics import load_metric


def test_map_by_hand() -> None:
    """Class 1: right, wrong, right, of three boxes: precision 1 up to a recall of 1/3, 2/3 up to 2/3, then 0; COCO's 101
    recalls. Class 2: found. Class 3 has no box, so that its detection is no matter."""
    found = detections([(A, 0.9, 1), ([100, 100, 110, 110], 0.8, 1), (B, 0.7, 1), (C, 0.6, 2), (C, 0.5, 3)])
    target = boxes((A, 1), (B, 1), (C, 1), (C, 2))
    first = (34 * 1 + 33 * 2 / 3) / 101
    assert metric("map", (found, found, target)).value() == pytest.approx((first + 1) / 2)


@pytest.mark.parametrize("form", ["mapping", "list", "collated", "crowd"])
def test_forms_of_targets_for_map(form: str) -> None:
    found = detections([(A, 0.9, 1), (B, 0.8, 2)])
    target: Any = boxes((A, 1), (B, 2))
    if form == "list":
        target = [target]
    elif form == "collated":
        target = {key: np.array(value)[None] for key, value in target.items()}
    elif form == "crowd":
        target |= {"iscrowd": np.zeros(2)}
    assert metric("map", (found, found, target)).value() == 1


def test_map_of_a_batch_and_of_pictures_without_boxes() -> None:
    found = detections([(A, 0.9, 1)], [(B, 0.8, 1)], [])
    empty = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0)}
    assert metric("map", (found, found, [boxes((A, 1)), empty, empty])).value() == 1
    assert metric("map", (found, found, [empty, boxes((B, 1)), empty])).value() == 0.5


def test_map_without_labels_is_agreement() -> None:
    expected = detections([(A, 0.9, 1), (B, 0.8, 2), (C, 0.3, 3)])
    assert metric("map", (expected, expected, None)).value() == 1
    assert metric("map", (detections([(A, 0.9, 1), (C, 0.9, 3)]), expected, None)).value() == 0.5, "C was not sure"
    assert metric("map", (detections([(A, 0.9, 2), (B, 0.9, 1)]), expected, None)).value() == 0


def test_detections_in_float16() -> None:
    """The area of a box of 300 pixels is no float16."""
    found = detections([([10.0, 10, 310, 310], 0.9, 1)])
    low = {name: array.astype(np.float16) if array.dtype == np.float32 else array for name, array in found.items()}
    assert metric("map", (low, found, None), (low, low, boxes(([10.0, 10, 310, 290], 1)))).value() == 1


def test_broken_detections_are_no_detections() -> None:
    expected = detections([(A, 0.9, 1), (B, 0.8, 2)])
    for broken in (detections([([np.nan] * 4, 0.9, 1), (B, 0.8, 2)]), detections([(A, np.nan, 1), (B, 0.8, 2)])):
        assert metric("map", (broken, expected, None)).value() == 0.5
        assert metric("map", (broken, broken, boxes((A, 1), (B, 2)))).value() == 0.5


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, "takes a mapping with boxes and labels for each picture, and a target is a int"),
        ([boxes((A, 1))] * 2, "for each picture, and a target is a list"),
        ({"boxes": [A]}, "takes targets with boxes and labels, and one is a dict with boxes"),
        ({"boxes": [A, B], "labels": [1]}, "a target has 2 boxes and 1 labels"),
        ({"boxes": [[1, 2, 3]], "labels": [1]}, r"a target has an array \[1, 3\]; boxes are \[K, 4\], labels \[K\]"),
        (
            {"boxes": [[20, 20, 10, 10]], "labels": [1]},
            "a box that is not x1 y1 x2 y2 with x1 <= x2, y1 <= y2; convert it",
        ),
        ({"boxes": ["a"], "labels": [1]}, "a target of METRIC=map"),
    ],
)
def test_odd_targets_for_map(target: Any, message: str) -> None:
    found = detections([(A, 0.9, 1)])
    with pytest.raises(UserError, match=message):
        metric("map", (found, found, target))


def test_map_where_there_is_nothing_to_find() -> None:
    found = detections([(A, 0.4, 1)])
    with pytest.raises(
        UserError, match=r"nothing to find: no labels, and no detection .* score of 0.5 or more; give EVAL"
    ):
        metric("map", (found, found, None)).value()
    with pytest.raises(
        UserError, match="needs the outputs boxes, scores and labels, and the model has y; give METRIC=cosine"
    ):
        metric("map", ({"y": A}, {"y": A}, None))


BOX = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 12)] * 2).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)
FOUND = st.lists(st.tuples(BOX, st.integers(1, 99).map(lambda n: n / 100), st.integers(1, 3)), max_size=8)
TRUE = st.lists(st.tuples(BOX, st.integers(1, 3), st.booleans()), max_size=5)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(FOUND, TRUE), min_size=1, max_size=5).filter(lambda p: any(not c for _, t in p for *_, c in t))
)
def test_map_is_that_of_coco(pictures: list[Any]) -> None:
    pictures = [(distinct(found, at), true) for at, (found, true) in enumerate(pictures)]
    made = load_metric("map", "detection", True)
    for found, true in pictures:
        outputs = detections(found)
        target = {
            "boxes": [b for b, *_ in true],
            "labels": [label for _, label, _ in true],
            "crowd": [c for *_, c in true],
        }
        made.add(outputs, outputs, target)
    assert made.value() == pytest.approx(coco_map(pictures), abs=1e-6)


def distinct(found: list[Any], at: int) -> list[Any]:
    """Scores without ties, whose order the two may break differently."""
    return [(box, score + (at * 10 + index) / 1e5, label) for index, (box, score, label) in enumerate(found)]


def coco_map(pictures: list[Any]) -> float:
    """pycocotools' AP at an IoU of 0.5."""
    wide = [[b[0], b[1], b[2] - b[0], b[3] - b[1]] for _, true in pictures for b, *_ in true]
    marks = [(at, label, crowd) for at, (_, true) in enumerate(pictures) for _, label, crowd in true]
    truth = COCO()
    truth.dataset = {
        "images": [{"id": at} for at in range(len(pictures))],
        "categories": [{"id": label} for label in (1, 2, 3)],
        "annotations": [
            {
                "id": n + 1,
                "image_id": at,
                "category_id": label,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": int(crowd),
            }
            for n, (box, (at, label, crowd)) in enumerate(zip(wide, marks, strict=True))
        ],
    }
    results = [
        {"image_id": at, "category_id": label, "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]], "score": score}
        for at, (found, _) in enumerate(pictures)
        for b, score, label in found
    ]
    if not results:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]  # recall, class; all areas, 100 detections
    return float(precision[:, (precision > -1).all(axis=0)].mean())
