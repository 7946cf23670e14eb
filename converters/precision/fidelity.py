"""How far outputs are from what they should be, as one number: 0 for the same, about 1 for nothing in common.

A metric on a few examples hardly moves when one layer is lowered; this does, so that layers can be ranked by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from enginesmith.converters.graphs.matching import Found, iou, pictures_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Outputs = Mapping[str, NDArray[np.generic]]

DETECTION = ("boxes", "scores", "labels")


def outputs_error(expected: Outputs, found: Outputs) -> float:
    """Mean over the outputs that are no integers: the length of the difference by the length of what is expected.

    Detections come in another order when two scores are close, so that they are matched first.
    """
    import numpy as np

    if all(name in expected for name in DETECTION):
        pairs = zip(pictures_of(expected), pictures_of(found), strict=True)
        return float(np.mean([detections_error(before, after) for before, after in pairs]))
    errors = [_relative(expected[name], found[name]) for name in expected if expected[name].dtype.kind == "f"]
    if not errors:  # indices or labels alone: the share of them that differ
        errors = [float(np.mean(expected[name] != found[name])) for name in expected]
    return float(np.mean(errors)) if errors else 0.0


def detections_error(expected: Found, found: Found) -> float:
    """1 less the agreement of two pictures' detections, each weighing as much as its score.

    A detection agrees by its overlap with the best partner of the same label, times the ratio of their scores. What was
    found and has no such partner counts like what was lost.
    """
    weight = float(expected.scores.sum()) + float(found.scores.sum())
    if not weight:
        return 0.0
    overlaps = iou(expected.boxes, found.boxes) * (expected.labels[:, None] == found.labels[None])
    agreeing = _agreeing(expected, found, overlaps) + _agreeing(found, expected, overlaps.T)
    error = 1 - agreeing / weight
    return error if error == error else 1.0  # NaN agrees with nothing


def _agreeing(one: Found, other: Found, overlaps: Any) -> float:
    """The weight of `one`'s detections that `other` has; `overlaps` is [one, other]."""
    import numpy as np

    if not overlaps.size:
        return 0.0
    low = np.minimum(one.scores[:, None], other.scores[None])
    return float((overlaps * low).max(axis=1).sum())


def _relative(expected: Any, found: Any) -> float:
    import numpy as np

    if expected.shape != found.shape or not np.isfinite(found).all():
        return 1.0
    known = np.where(np.isfinite(expected), expected, 0).astype(np.float64)
    difference = np.where(np.isfinite(expected), known - found, 0)
    length = float(np.linalg.norm(known))
    return min(float(np.linalg.norm(difference)) / length, 1.0) if length else float(np.any(difference != 0))
