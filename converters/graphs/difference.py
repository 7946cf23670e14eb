"""How far one sample's outputs are from the expected ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.records import Histogram, OutputDifference, SampleComparison
from enginesmith.converters.core.samples import Feed, Sample
from enginesmith.converters.graphs.matching import drawable, match_classes, match_detections, merge, pictures_of
from enginesmith.converters.graphs.tolerances import Apart, Tolerance

if TYPE_CHECKING:
    from polygraphy.comparator import IterationResult

DECADES = [10.0**exponent for exponent in range(-9, 4)]
"""Edges of the histograms of absolute differences; smaller and larger ones count in the first and the last decade."""
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
) -> SampleComparison:
    """Hold one sample's outputs against the expected ones, as the task wants it. Another dtype is another interface: who
    reads the engine's memory as what the graph says would get other numbers, so that equal values don't pass then.
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
        record.detections = merge([match_detections(b, a, tolerance) for b, a in zip(before, after, strict=True)])
        record.passed = record.detections.passed and not record.retyped
        if sample.picture:
            record.drawn, record.drawn_expected = drawable(after[0]), drawable(before[0])
        return record
    record.outputs = _differences(expected, found, tolerance)
    if task == "classification":
        logits = [(expected[name], found[name]) for name in expected if expected[name].ndim == 2]
        if logits:
            record.classes = match_classes(*logits[0], tolerance)
    record.passed = (
        not record.retyped
        and all(output.passed for output in record.outputs)
        and (record.classes is None or record.classes.passed)
    )
    return record


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
        return {"detections": match.expected + match.found - 2 * match.matched}
    return {name: float(Apart.of(wide[name], side[name]).each.max(initial=0.0)) for name in wide}


def _check_names(expected: IterationResult, found: IterationResult) -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        raise ConversionError(f"the outputs {', '.join(missing)} are gone; there are {', '.join(found)}")


def _differences(expected: IterationResult, found: IterationResult, tolerance: Tolerance) -> list[OutputDifference]:
    """Of every output; integers must be equal. Raises ConversionError for other shapes."""
    import numpy as np

    differences = []
    for name in expected:
        before, after = expected[name], found[name]
        if before.shape != after.shape:
            raise ConversionError(
                f"output {name} has shape {list(after.shape)} where {list(before.shape)} is expected",
                "the exporter has fixed a size that depends on the input",
            )
        apart = Apart.of(before, after)
        scale, relative = (0.0, 0.0) if apart.exact else (tolerance.scale, tolerance.relative)
        lost = ~np.isfinite(apart.each)
        finite = apart.each[~lost]
        shares = finite / np.fmax(apart.magnitudes[~lost], np.finfo(np.float32).tiny)
        differences.append(
            OutputDifference(
                name=name,
                max_abs=float(finite.max(initial=0.0)) if not lost.any() else float(np.finfo(np.float32).max),
                mean_abs=float(finite.mean()) if finite.size else 0.0,
                max_rel=float(shares.max(initial=0.0)),
                tolerance_abs=scale * apart.scale,
                tolerance_rel=relative,
                passed=apart.excess(scale, relative) <= 1,
                histogram=_histogram(finite),
            )
        )
    return differences


def _histogram(difference: Any) -> Histogram:
    import numpy as np

    clipped = np.clip(difference[difference > 0], DECADES[0], DECADES[-1])
    counts, _ = np.histogram(clipped, DECADES)
    return Histogram(edges=DECADES, counts=[int(count) for count in counts])
