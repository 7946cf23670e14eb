"""Mean average precision of detections at an IoU of 0.5, as COCO's evaluation computes it.

The definition is that of pycocotools' `COCOeval` (https://github.com/cocodataset/cocoapi): in each picture and class
detections are matched best score first, each to the free box that it overlaps most; the precision at a recall is the
best one at this recall or a higher one, and is averaged over the recalls 0, 0.01, ... 1; classes without any box are
left out. A detection on a crowd is neither right nor wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.data.metrics.base import Metric, Outputs
from enginesmith.converters.graphs.matching import Found, iou, pictures_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IOU = 0.5
MOST = 100
"""Detections of a picture and class that count, best first: COCO's maxDets."""
SURE = 0.5
"""Score from which a detection of the float32 graph is taken for the truth."""
NOTHING = 0.02
"""mAP below which labels and model hardly belong together."""


@dataclass
class Truth:
    """What is on one picture."""

    boxes: NDArray[np.floating]
    labels: NDArray[np.integer]
    crowd: NDArray[np.bool_]


@dataclass
class Class:
    """All that is known of one class."""

    boxes: int = 0
    scores: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)


class MeanAP(Metric):
    """By the data's boxes, else by those detections of the float32 graph that have a score of `SURE` or more."""

    name = "mAP@0.5"

    def __init__(self) -> None:
        self.classes: dict[int, Class] = {}
        self.labelled = False

    def fresh(self) -> MeanAP:
        return MeanAP()

    def add(self, outputs: Outputs, reference: Outputs, target: Any) -> None:
        check_outputs(reference)
        found = pictures_of(outputs)
        self.labelled = target is not None
        truths = [sure(one) for one in pictures_of(reference)] if target is None else truths_of(target, len(found))
        for detections, truth in zip(found, truths, strict=True):
            self._add(finite(detections), truth)

    def value(self) -> float:
        import numpy as np

        known = [average_precision(one) for one in self.classes.values() if one.boxes]
        if not known:
            raise UserError(
                f"METRIC=map: there is nothing to find: no labels, and no detection of the float32 model has a score of "
                f"{SURE} or more; give EVAL with annotated pictures, or METRIC=cosine"
            )
        return float(np.mean(known))

    def doubt(self) -> str:
        if not self.labelled or self.value() >= NOTHING:
            return ""
        true = sorted(label for label, one in self.classes.items() if one.boxes)
        found = sorted(label for label, one in self.classes.items() if one.scores)
        return (
            f"the float32 model has an mAP of {self.value():.3f} on the labels: are they numbered as it numbers its classes "
            f"(the data has {_few(true)}, the model found {_few(found)}), and the boxes in pixels of its input?"
        )

    def _add(self, found: Found, truth: Truth) -> None:
        import numpy as np

        for label in {*truth.labels.tolist(), *found.labels.tolist()}:
            one = self.classes.setdefault(int(label), Class())
            own, theirs = np.flatnonzero(found.labels == label)[:MOST], truth.labels == label
            crowd = truth.crowd[theirs]
            one.boxes += int((~crowd).sum())
            verdicts = matched(found.boxes[own], truth.boxes[theirs], crowd)
            for score, verdict in zip(found.scores[own].tolist(), verdicts, strict=True):
                if verdict is not None:
                    one.scores.append(score)
                    one.right.append(verdict)


def check_outputs(outputs: Outputs) -> None:
    """Raises UserError where the graph is no detector of ours."""
    missing = [name for name in ("boxes", "scores", "labels") if name not in outputs]
    if missing:
        raise UserError(
            f"METRIC=map needs the outputs boxes, scores and labels, and the model has {', '.join(outputs)}; "
            "give METRIC=cosine or file.py:function"
        )


def finite(found: Found) -> Found:
    """In float32, without detections whose box or score is no number."""
    import numpy as np

    there = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores)
    # areas of boxes in float16 overflow
    return Found(found.boxes[there].astype(np.float32), found.scores[there].astype(np.float32), found.labels[there])


def sure(found: Found) -> Truth:
    """The detections of `SURE` score as the truth."""
    import numpy as np

    kept = finite(found)
    there = kept.scores >= SURE
    return Truth(kept.boxes[there], kept.labels[there], np.zeros(int(there.sum()), bool))


def truths_of(target: Any, pictures: int) -> list[Truth]:
    """One for each picture, from a mapping with `boxes` [K, 4] and `labels` [K] (torchvision's form), or a list of them.

    `crowd`, or `iscrowd`, [K] may be there. Raises UserError for anything else.
    """
    import numpy as np

    targets = [target] if isinstance(target, dict) and pictures == 1 else target
    if not isinstance(targets, list | tuple) or len(targets) != pictures:
        raise UserError(
            f"METRIC=map takes a mapping with boxes and labels for each picture, and a target is {_form(target)}"
        )
    truths = []
    for one in targets:
        if not isinstance(one, dict) or not {"boxes", "labels"} <= set(one):
            raise UserError(f"METRIC=map takes targets with boxes and labels, and one is {_form(one)}")
        boxes, labels = _numbers(one["boxes"], (-1, 4)), _numbers(one["labels"], (-1,))
        crowd = _numbers(one.get("crowd", one.get("iscrowd", [False] * len(labels))), (-1,)).astype(bool)
        if not len(boxes) == len(labels) == len(crowd):
            raise UserError(f"METRIC=map: a target has {len(boxes)} boxes and {len(labels)} labels")
        if not np.isfinite(boxes).all() or (boxes[:, 2:] < boxes[:, :2]).any():
            raise UserError(
                "METRIC=map: a target has a box that is not x1 y1 x2 y2 with x1 <= x2, y1 <= y2; convert it"
            )
        truths.append(Truth(boxes, labels.astype(np.int64), crowd))
    return truths


def matched(boxes: NDArray[np.floating], truth: NDArray[np.floating], crowd: NDArray[np.bool_]) -> list[bool | None]:
    """Whether each of the detections, best first, is right; None where it lies on a crowd."""
    import numpy as np

    overlaps = iou(boxes, truth[~crowd])
    inside = within(boxes, truth[crowd]).max(axis=1, initial=0)
    free = np.ones(overlaps.shape[1], bool)
    verdicts: list[bool | None] = []
    for row, covered in zip(overlaps, inside, strict=True):
        candidates = np.where(free, row, -1.0)
        best = int(candidates.argmax()) if len(candidates) else -1
        if best >= 0 and candidates[best] >= IOU:
            free[best] = False
            verdicts.append(True)
        else:
            verdicts.append(None if covered >= IOU else False)
    return verdicts


def within(boxes: NDArray[np.floating], crowds: NDArray[np.floating]) -> NDArray[np.floating]:
    """The share of each of [A, 4] boxes that lies in each of [B, 4]: [A, B]."""
    import numpy as np

    low = np.maximum(boxes[:, None, :2], crowds[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], crowds[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    return np.asarray(shared / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)[:, None])


def average_precision(one: Class) -> float:
    """Mean of the best precision at the recalls 0, 0.01, ... 1 or higher."""
    import numpy as np

    order = np.argsort(-np.array(one.scores, np.float64), kind="stable")
    right = np.array(one.right, bool)[order]
    hits = right.cumsum()
    precision = hits / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / one.boxes, np.linspace(0, 1, 101), side="left")
    return float(np.append(best, 0.0)[at].mean())


def _numbers(value: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    from enginesmith.converters.data.datasets.arrays import as_array

    array = as_array(value, "a target of METRIC=map")
    if array.size == 0:
        return array.reshape(0, *shape[1:])
    if array.ndim == len(shape) + 1 and len(array) == 1:  # collated into a batch of one
        array = array[0]
    if array.ndim != len(shape) or array.shape[1:] != shape[1:]:
        raise UserError(f"METRIC=map: a target has an array {list(array.shape)}; boxes are [K, 4], labels [K]")
    return array


def _form(value: Any) -> str:
    shape = f" {list(value.shape)}" if hasattr(value, "shape") else ""
    keys = f" with {', '.join(map(str, value))}" if isinstance(value, dict) else ""
    return f"a {type(value).__name__}{shape}{keys}"


def _few(labels: list[int]) -> str:
    return ", ".join(map(str, labels[:5])) + (" ..." if len(labels) > 5 else "") if labels else "none"
