"""How far one sample's outputs are from the expected ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.comparisons import DetectionMatch, Histogram, OutputDifference, SampleComparison
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.samples import Array, Feed, Sample
from enginesmith.converters.graphs.matching import drawable, match_classes, match_detections, merge, pictures_of
from enginesmith.converters.graphs.rounding import Alone, Judgement, judge
from enginesmith.converters.graphs.rows import ties_explain
from enginesmith.converters.graphs.tolerances import Apart, Tolerance

if TYPE_CHECKING:
    from polygraphy.comparator import IterationResult

DECADES = [10.0**exponent for exponent in range(-9, 4)]
"""Edges of the histograms of absolute differences; smaller and larger ones count in the first and the last decade."""
LOST = 3.4028234663852886e38
"""Stands for a difference without bound, of NaN or infinity on one side alone: float32's largest number, which JSON can hold."""
MOST_ILL_POSED = 0.5
"""Share of an output's elements that rounding may decide; more, and the others prove nothing either."""
CLOSE = 1.5
"""An engine of a lower precision rounds elsewhere than the stand-in does. Both are as far from the results in float32 then, up to
the chance in which largest differences of a few samples lie."""


def compare_outputs(
    task: str,
    sample: Sample,
    feed: Feed,
    expected: IterationResult,
    found: IterationResult,
    tolerance: Tolerance,
    alone: Alone | None = None,
) -> SampleComparison:
    """Hold one sample's outputs against the expected ones, as the task wants it. Another dtype is another interface: who
    reads the engine's memory as what the graph says would get other numbers, so that equal values don't pass then.
    `alone` tells what rounding alone does to them; None where that isn't known.
    """
    _check_names(expected, found)
    record = SampleComparison(
        sample=sample.name,
        picture=sample.picture,
        shapes={name: list(array.shape) for name, array in feed.items()},
        passed=True,
        retyped=[
            f"{name} is {found[name].dtype} where {expected[name].dtype} is expected"
            for name in expected
            if found[name].dtype != expected[name].dtype
        ],
    )
    if task == "detection":
        before, after = pictures_of(dict(expected.items())), pictures_of(dict(found.items()))
        rounding = [None] * len(before) if alone is None else _rounding_of_pictures(alone, tolerance)
        matches = zip(before, after, rounding, strict=True)
        record.detections = merge([match_detections(b, a, tolerance, each) for b, a, each in matches])
        record.passed = record.detections.passed and not record.retyped
        note_vacuous(record)
        if sample.picture:
            record.drawn, record.drawn_expected = drawable(after[0]), drawable(before[0])
        return record
    record.outputs, judged = _differences(expected, found, tolerance, alone)
    note_vacuous(record)
    if task == "classification":
        logits = next((name for name in expected if expected[name].ndim == 2), None)
        if logits is not None:
            allowed = judged[logits].allowed if logits in judged else None
            record.classes = match_classes(expected[logits], found[logits], tolerance, allowed)
    record.passed = (
        not record.retyped
        and all(output.passed for output in record.outputs)
        and (record.classes is None or record.classes.passed)
    )
    return record


def _rounding_of_pictures(alone: Alone, tolerance: Tolerance) -> list[DetectionMatch | None]:
    reference, exact = (pictures_of(dict(side.items())) for side in (alone.reference, alone.exact))
    return [match_detections(before, after, tolerance) for before, after in zip(reference, exact, strict=True)]


def as_close(
    task: str, expected: IterationResult, found: IterationResult, wide: IterationResult, tolerance: Tolerance
) -> bool:
    """Whether `found` is about as far from the results in float32, `wide`, as `expected` is."""
    before, after = (_distances(task, wide, side, tolerance) for side in (expected, found))
    return all(after[name] <= CLOSE * before[name] for name in before)


def _distances(task: str, wide: IterationResult, side: IterationResult, tolerance: Tolerance) -> dict[str, float]:
    """The largest difference of each output, or the number of detections that only one side has."""

    if task == "detection":
        pictures = zip(pictures_of(dict(wide.items())), pictures_of(dict(side.items())), strict=True)
        match = merge([match_detections(b, a, tolerance) for b, a in pictures])
        return {"detections": match.lonely}
    return {key: value for name in wide for key, value in _by_level(name, wide[name], side[name]).items()}


def _by_level(name: str, wide: Array, side: Array) -> dict[str, float]:
    """The largest difference of each level of an output's magnitudes: sentinels stand apart."""
    import numpy as np

    apart = Apart.of(wide, side)
    return {
        f"{name} {scale}": float(np.max(apart.each, where=apart.scales == scale, initial=0.0))
        for scale in np.unique(apart.scales)
    }


def _check_names(expected: IterationResult, found: IterationResult) -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        raise ConversionError(f"the outputs {', '.join(missing)} are gone; there are {', '.join(found)}")


def _differences(
    expected: IterationResult, found: IterationResult, tolerance: Tolerance, alone: Alone | None
) -> tuple[list[OutputDifference], dict[str, Judgement]]:
    """Of every output; integers must be equal. And the judgement of each that has one shape. Raises ConversionError for other
    shapes.
    """
    differences: dict[str, OutputDifference] = {}
    judged: dict[str, Judgement] = {}
    for name in expected:
        before, after = expected[name], found[name]
        known = alone is not None and name in alone.reference and name in alone.exact
        pair = (alone.reference[name], alone.exact[name]) if alone is not None and known else None
        if pair and pair[0].shape != pair[1].shape and after.ndim == before.ndim:
            differences[name] = _ill_posed(name)
            continue
        if before.shape != after.shape:
            raise ConversionError(
                f"output {name} has shape {list(after.shape)} where {list(before.shape)} is expected",
                "the exporter has fixed a size that depends on the input",
            )
        shaken = alone.shaken[name] if alone is not None and alone.shaken and name in alone.shaken else None
        judged[name] = judge(before, after, tolerance, pair, alone is None or alone.whole, shaken)
        differences[name] = _difference(name, judged[name], tolerance)
    arrays = {name: expected[name] for name in judged}
    for name, each in judged.items():
        if not each.passed and ties_explain(name, judged, arrays, found):
            differences[name].passed = True
    return list(differences.values()), judged


def _ill_posed(name: str) -> OutputDifference:
    """An output whose very number of elements rounding decides."""
    return OutputDifference(
        name=name,
        max_abs=0.0,
        mean_abs=0.0,
        max_rel=0.0,
        tolerance_abs=0.0,
        tolerance_rel=0.0,
        passed=True,
        vacuous="is ill-posed: rounding alone changes its shape",
    )


def _difference(name: str, judged: Judgement, tolerance: Tolerance) -> OutputDifference:
    import numpy as np

    apart = judged.apart
    lost = ~np.isfinite(apart.each)
    finite = apart.each[~lost]
    shares = finite / np.fmax(apart.magnitudes[~lost], np.finfo(np.float32).tiny)
    relative = 0.0 if apart.exact else tolerance.relative
    if judged.rounding is not None and tolerance.floor is not None:
        relative = min(relative, tolerance.floor)
    difference = OutputDifference(
        name=name,
        max_abs=float(finite.max(initial=0.0)) if not lost.any() else LOST,
        mean_abs=float(finite.mean()) if finite.size else 0.0,
        max_rel=float(shares.max(initial=0.0)),
        tolerance_abs=0.0,
        tolerance_rel=relative,
        passed=judged.passed,
        vacuous=_vacuous(judged.expected, judged.ill_posed),
        histogram=_histogram(finite),
    )
    if apart.each.size:
        worst = int(judged.ratio.argmax())
        own = apart.magnitudes.flat[worst]
        difference.worst_abs = _bounded(apart.each.flat[worst])
        difference.allowed_abs = _bounded(judged.allowed.flat[worst])
        difference.tolerance_abs = difference.allowed_abs - relative * (float(own) if np.isfinite(own) else 0.0)
        if judged.rounding is not None:
            difference.rounding_abs = _bounded(judged.rounding.flat[worst])
    return difference


def _bounded(value: Any) -> float:
    """A distance as JSON has it: one that is infinite, or none, is `LOST`."""
    return float(value) if value < LOST else LOST


def _vacuous(expected: Array, ill_posed: float) -> str:
    """Why an output says nothing on this sample, in words that follow its name; empty where it does."""
    import numpy as np

    if not expected.size:
        return "has no elements"
    if expected.dtype.kind in "fc":
        if np.isnan(expected).all():
            return "is NaN"
        if not expected.any():
            return "is zero"
    if ill_posed > MOST_ILL_POSED:
        return f"is ill-posed: rounding alone decides {ill_posed:.0%} of its elements"
    return ""


def note_vacuous(record: SampleComparison, constants: Sequence[str] = ()) -> None:
    """Say why the sample would pass whatever the graph computes, if it would. `constants` are outputs that no sample changes."""
    for output in record.outputs:
        if output.name in constants and not output.vacuous:
            output.vacuous = "is the same whatever the input"
    if record.detections is not None:
        if not record.detections.expected and not record.detections.found:
            record.vacuous = "nothing is detected"
        elif record.detections.ill_posed:
            record.vacuous = f"ill-posed: rounding alone gains or loses {record.detections.rounding} detections"
        elif "boxes" in constants and "scores" in constants:
            record.vacuous = "the detections are the same whatever the input"
    elif all(output.vacuous for output in record.outputs):
        record.vacuous = "; ".join(f"output {output.name} {output.vacuous}" for output in record.outputs)


def _histogram(difference: Any) -> Histogram:
    import numpy as np

    clipped = np.clip(difference[difference > 0], DECADES[0], DECADES[-1])
    counts, _ = np.histogram(clipped, DECADES)
    return Histogram(edges=DECADES, counts=[int(count) for count in counts])
