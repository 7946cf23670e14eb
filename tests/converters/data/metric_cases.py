"""Outputs, targets and the metrics of them, for the tests of metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from enginesmith.converters.data.metrics import Metric, load_metric


def metric(spec: str, *examples: tuple[Any, Any, Any]) -> Metric:
    """After these examples: outputs, reference, target."""
    made = load_metric(spec, "tensor", False)
    for example in examples:
        made.add(*example)
    return made


def classes(*rows: list[float]) -> dict[str, np.ndarray]:
    return {"ids": np.zeros((9, 9), np.int64), "logits": np.array(rows, np.float32), "other": np.zeros((3, 3))}


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
