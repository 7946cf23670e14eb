"""What nodes of NVIDIA's public TensorRT plugins compute, in numpy: for onnx's reference evaluator, where no runtime has them.

Source: github.com/NVIDIA/TensorRT, plugin/efficientNMSPlugin/efficientNMSInference.cu.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

from enginesmith.compat.repairs.plugin_nodes import CANDIDATES, DOMAINS
from enginesmith.compat.values import Array


def efficient_nms(
    boxes: Array,
    scores: Array,
    *,
    background: int,
    center: bool,
    iou: float,
    most: int,
    least: float,
    sigmoid: bool,
    agnostic: bool,
    clip: bool,
) -> tuple[Array, Array, Array, Array]:
    """int32[B, 1], [B, most, 4], [B, most] and int32[B, most] of boxes [B, N, 4] or [B, N, C, 4] and scores [B, N, C]."""
    images, _, classes = scores.shape
    boxes = boxes.reshape(images, scores.shape[1], -1, 4)
    number, labels = np.zeros((images, 1), np.int32), np.zeros((images, most), np.int32)
    found, values = np.zeros((images, most, 4), boxes.dtype), np.zeros((images, most), scores.dtype)
    if sigmoid:
        with np.errstate(over="ignore"):
            scores = (1 / (1 + np.exp(-scores.astype(np.float64)))).astype(scores.dtype)
    for image in range(images):
        anchors, kinds = np.nonzero((scores[image] >= least) & (np.arange(classes) != background))
        order = np.argsort(-scores[image][anchors, kinds], kind="stable")[:CANDIDATES]
        kept: list[tuple[Array, int, Any]] = []
        for anchor, kind in zip(anchors[order], kinds[order], strict=True):
            box = boxes[image, anchor, kind if boxes.shape[2] > 1 else 0]
            if center:
                box = np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2])
            rivals = (other for other, label, _ in kept if agnostic or label == kind)
            if len(kept) < most and all(_overlap(box, other) < iou for other in rivals):
                kept.append((box, kind, scores[image, anchor, kind]))
        number[image] = len(kept)
        for place, (box, kind, score) in enumerate(kept):
            found[image, place] = np.clip(box, 0, 1) if clip else box
            values[image, place], labels[image, place] = score, kind
    return number, found, values, labels


def _overlap(one: Array, other: Array) -> float:
    low = [np.minimum(box[:2], box[2:]) for box in (one, other)]
    high = [np.maximum(box[:2], box[2:]) for box in (one, other)]
    shared = float(np.prod(np.maximum(np.minimum(*high) - np.maximum(*low), 0)))
    union = sum(float(np.prod(high[side] - low[side])) for side in (0, 1)) - shared
    return shared / union if shared > 0 and union > 0 else 0.0


class _EfficientNMS(OpRun):
    def _run(self, boxes: Array, scores: Array, **given: Any) -> tuple[Array, ...]:
        return efficient_nms(
            boxes,
            scores,
            background=given.get("background_class", -1),
            center=bool(given.get("box_coding", 0)),
            iou=given.get("iou_threshold", 0.5),
            most=given.get("max_output_boxes", 100),
            least=given.get("score_threshold", 0.0),
            sigmoid=bool(given.get("score_activation", 0)),
            agnostic=bool(given.get("class_agnostic", 0)),
            clip=bool(given.get("clip_boxes", 0)),
        )


OPERATORS = [type("EfficientNMS_TRT", (_EfficientNMS,), {"op_domain": domain}) for domain in DOMAINS]
"""For `ReferenceEvaluator(new_ops=...)`."""
