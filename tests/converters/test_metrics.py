"""Metrics against hand-computed cases and COCO's own evaluation; and what is no metric and no target."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from enginesmith.converters.errors import UserError
from enginesmith.converters.metrics import Metric, load_metric, metric_sources


@pytest.fixture(autouse=True)
def _imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a user's file does to `sys.path` and `sys.modules` ends with the test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("metric_of_test", None)


def metric(spec: str, *examples: tuple[Any, Any, Any]) -> Metric:
    """After these examples: outputs, reference, target."""
    made = load_metric(spec, "tensor", False)
    for example in examples:
        made.add(*example)
    return made


def classes(*rows: list[float]) -> dict[str, np.ndarray]:
    return {"ids": np.zeros((9, 9), np.int64), "logits": np.array(rows, np.float32), "other": np.zeros((3, 3))}


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


def detections(*pictures: list[tuple[list[float], float, int]]) -> dict[str, np.ndarray]:
    """Padded as the static detectors pad."""
    most = max(map(len, pictures)) + 2
    boxes = np.zeros((len(pictures), most, 4), np.float32)
    scores, labels = np.full((len(pictures), most), -1, np.float32), np.zeros((len(pictures), most), np.int64)
    for at, picture in enumerate(pictures):
        for index, (box, score, label) in enumerate(picture):
            boxes[at, index], scores[at, index], labels[at, index] = box, score, label
    return {"boxes": boxes, "scores": scores, "labels": labels}


A, B, C = [0.0, 0, 10, 10], [20.0, 20, 40, 40], [50.0, 50, 60, 70]


def boxes(*entries: tuple[list[float], int]) -> dict[str, Any]:
    return {"boxes": [box for box, _ in entries], "labels": [label for _, label in entries]}


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


def user(folder: Path, body: str) -> str:
    (folder / "metric_of_test.py").write_text(f"import numpy as np\n{body}\n")
    return f"{folder}/metric_of_test.py:metric"


@pytest.mark.parametrize(
    "value",
    ["0.25", "np.float32(0.25)", "np.array(0.25)", "np.array([0.25])", "torch.tensor(0.25)", "np.mean([0, 0.5])"],
)
def test_a_metric_of_the_users(tmp_path: Path, value: str) -> None:
    found = metric(user(tmp_path, f"import torch\ndef metric(outputs, targets): return {value}"), ({}, {}, None))
    assert found.value() == 0.25
    assert found.name == "metric_of_test.py:metric"


def test_what_a_metric_of_the_users_is_given(tmp_path: Path) -> None:
    body = (
        "def metric(outputs, targets): return sum(float(o['y'][0]) * t for o, t in zip(outputs, targets, strict=True))"
    )
    reused = np.array([2.0])
    made = load_metric(user(tmp_path, body), "tensor", True)
    for target in (1, 10, 100):
        made.add({"y": reused}, {"y": reused}, target)
    reused[0] = 0
    assert made.value() == 222
    assert made.fresh().value() == 0
    body = "def metric(outputs, targets): return float(targets[0]['y'][0])"
    assert metric(user(tmp_path / "..", body), ({"y": np.ones(1)}, {"y": np.full(1, 7.0)}, None)).value() == 7


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def metric(outputs, targets): return float('nan')", "returned nan; it must return a finite number"),
        ("def metric(outputs, targets): return float('inf')", "returned inf; it must return a finite number"),
        ("def metric(outputs, targets): pass", "returned None; it must return a number, higher is better"),
        ("def metric(outputs, targets): return '0.5'", "returned a str; it must return a number"),
        ("def metric(outputs, targets): return True", "returned a bool; it must return a number"),
        ("def metric(outputs, targets): return np.bool_(True)", "returned a bool; it must return a number"),
        ("def metric(outputs, targets): return [0.5]", "returned a list; it must return a number"),
        ("def metric(outputs, targets): return np.ones(3)", "returned no single number: ValueError"),
        ("def metric(outputs): return 1", "metric failed: TypeError: .* takes 1 positional argument but 2 were given"),
        ("def metric(outputs, targets):\n    return outputs[0]['z']", r"failed: KeyError: 'z' \(metric_of_test.py:3\)"),
        ("def metrics(outputs, targets): return 1", "has no function 'metric'; it has metrics"),
    ],
)
def test_a_metric_of_the_users_that_is_wrong(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        metric(user(tmp_path, body), ({"y": np.ones(1)}, {"y": np.ones(1)}, None)).value()


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
        ("top2", r"METRIC=top2 is none of top1, map, cosine and no file.py:function; did you mean top1\?"),
        ("MAP", "did you mean map"),
        ("zzz", "is none of top1, map, cosine and no file.py:function$"),
        ("nothing.py:metric", "METRIC=nothing.py:metric: there is no file nothing.py"),
    ],
)
def test_no_metrics(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_metric(spec, "tensor", False)
    with pytest.raises(UserError, match=message):
        metric_sources(spec)


def test_sources_of_a_metric(tmp_path: Path) -> None:
    for spec in ("", "top1", "map", "cosine"):
        assert metric_sources(spec) == {}
    spec = user(tmp_path, "raise RuntimeError('run')\ndef metric(outputs, targets): return 1")
    file = tmp_path / "metric_of_test.py"
    assert metric_sources(spec) == {str(file): hashlib.sha256(file.read_bytes()).hexdigest()}
    with pytest.raises(UserError, match=r"metric_of_test\.py has no function 'metrik'; it has metric"):
        metric_sources(f"{file}:metrik")
