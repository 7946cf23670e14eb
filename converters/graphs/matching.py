"""Detections held against each other: matched by label and overlap, never by position, since close scores swap order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from enginesmith.converters.core.comparisons import ClassMatch, DetectionMatch, Detections
from enginesmith.converters.graphs.rounding import JUMPS, LOST, MARGIN
from enginesmith.converters.graphs.tolerances import Apart, Tolerance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]


SAME_PIXELS = 0.05
"""Boxes whose sides are this close, in pixels, are one box: one without area, clipped to the picture's edge, overlaps
nothing."""


class Found(NamedTuple):
    """The detections of one picture, padding removed, best first."""

    boxes: Floats
    """[K, 4] as x1 y1 x2 y2 in pixels."""
    scores: Floats
    """[K] in 0..1."""
    labels: NDArray[np.integer]
    """[K]."""


def pictures_of(outputs: Mapping[str, NDArray[np.generic]]) -> list[Found]:
    """Split `boxes` [N, D, 4], `scores` [N, D] and `labels` [N, D] by picture. Scores below 0 are padding.

    A graph for one picture may leave out N, as torchvision's own does.
    """
    import numpy as np

    arrays = [outputs[name] for name in ("boxes", "scores", "labels")]
    if arrays[0].ndim == 2:
        arrays = [array[None] for array in arrays]
    found = []
    for boxes, scores, labels in zip(*arrays, strict=True):
        order = np.argsort(-scores, kind="stable")
        order = order[~(scores[order] < 0)]  # keeps NaN, which is no padding
        found.append(Found(boxes[order], scores[order], labels[order]))
    return found


def iou(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union of [A, 4] and [B, 4] boxes: [A, B]. Boxes that are equal but for rounding overlap by 1, without area too."""
    import numpy as np

    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = np.clip(high - low, 0, None).prod(axis=2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    other_area = (others[:, 2:] - others[:, :2]).prod(axis=1)
    union = area[:, None] + other_area[None] - intersection
    same = np.all(np.abs(boxes[:, None] - others[None]) <= SAME_PIXELS, axis=2)
    return np.where(same, 1.0, intersection / np.maximum(union, np.finfo(np.float32).tiny))


def match_detections(
    expected: Found, found: Found, tolerance: Tolerance, alone: DetectionMatch | None = None
) -> DetectionMatch:
    """Match greedily, best score first, each detection once.

    A detection without a partner counts against the match unless its score lies within the tolerance of the lowest one
    kept: there the cut between kept and dropped is decided by rounding. Two of them at most, and one in ten, so that a
    side which lost what little there was does not pass. NaN never passes.

    `alone` is how the reference's own detections match those that it has in float64: where rounding alone gains and loses
    some, as many more may be lost, up to one in ten; where that are more, nothing is judged.
    """
    import numpy as np

    broken = not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all())
    if broken:
        found = Found(found.boxes[:0], found.scores[:0], found.labels[:0])
    overlaps = iou(expected.boxes, found.boxes)
    overlaps[expected.labels[:, None] != found.labels[None]] = 0
    free = np.ones(len(found.scores), dtype=bool)
    worst_iou, worst_score, matched = 1.0, 0.0, 0
    lonely = []
    for index in range(len(expected.scores)):
        candidates = np.where(free, overlaps[index], 0)
        partner = int(candidates.argmax()) if len(candidates) else -1
        if partner < 0 or candidates[partner] < tolerance.iou:
            lonely.append(float(expected.scores[index]))
            continue
        free[partner] = False
        matched += 1
        worst_iou = min(worst_iou, float(candidates[partner]))
        worst_score = max(worst_score, abs(float(expected.scores[index]) - float(found.scores[partner])))
    lonely += [float(score) for score in found.scores[free]]
    lowest = min([*map(float, expected.scores[-1:]), *map(float, found.scores[-1:])], default=0.0)
    few = len(lonely) <= min(2, len(expected.scores) // 10)
    excused = few and all(score <= lowest + tolerance.score for score in lonely)
    rounding = None if alone is None else alone.lonely
    scores = tolerance.score
    if alone is not None:
        excused = excused or len(lonely) <= min(JUMPS * alone.lonely, LOST * len(expected.scores))
        scores = max(scores, MARGIN * alone.worst_score_difference)
    ill_posed = alone is not None and alone.lonely > LOST * len(expected.scores)
    return DetectionMatch(
        expected=len(expected.scores),
        found=len(found.scores),
        matched=matched,
        worst_iou=worst_iou,
        worst_score_difference=worst_score,
        passed=not broken and (ill_posed or ((not lonely or excused) and worst_score <= scores)),
        rounding=rounding,
        ill_posed=ill_posed,
    )


def merge(matches: list[DetectionMatch]) -> DetectionMatch:
    """The matches of a batch of pictures as one."""
    return DetectionMatch(
        expected=sum(match.expected for match in matches),
        found=sum(match.found for match in matches),
        matched=sum(match.matched for match in matches),
        worst_iou=min(match.worst_iou for match in matches),
        worst_score_difference=max(match.worst_score_difference for match in matches),
        passed=all(match.passed for match in matches),
        rounding=None if matches[0].rounding is None else sum(match.rounding or 0 for match in matches),
        ill_posed=all(match.ill_posed for match in matches),
    )


def match_classes(expected: Floats, found: Floats, tolerance: Tolerance, allowed: Floats | None = None) -> ClassMatch:
    """Agreement of the best class, and of the five best as sets, over the rows of [N, classes].

    A row whose two best classes are closer than the tolerance is no disagreement: rounding decides it. `allowed` is what is
    known to be of each element, where rounding does more.
    """
    import numpy as np

    rows = np.arange(len(expected))
    best, best_found = expected.argmax(axis=1), found.argmax(axis=1)
    margin = expected[rows, best] - expected[rows, best_found]
    apart = Apart.of(expected, found, tolerance.step)
    least = np.broadcast_to(apart.allowed(tolerance.scale, tolerance.relative), expected.shape)
    near = margin <= (least if allowed is None else np.maximum(least, allowed))[rows, best]
    top1 = float(np.mean((best == best_found) | near))
    k = min(5, expected.shape[1])
    five = np.argsort(-expected, axis=1)[:, :k]
    five_found = np.argsort(-found, axis=1)[:, :k]
    top5 = float(np.mean([len(set(a) & set(b)) / k for a, b in zip(five, five_found, strict=True)]))
    return ClassMatch(top1=top1, top5=top5, passed=top1 >= tolerance.top1)


def drawable(found: Found, most: int = 20) -> Detections:
    """The best detections, for the report."""
    return Detections(
        boxes=[[round(float(x), 2) for x in box] for box in found.boxes[:most]],
        scores=[round(float(score), 4) for score in found.scores[:most]],
        labels=[int(label) for label in found.labels[:most]],
    )
