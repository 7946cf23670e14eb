"""Run a stage's product on the samples, and hold its outputs against those of the stage before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.converters.backends import get_backend, onnxruntime
from enginesmith.converters.errors import ConversionError
from enginesmith.converters.matching import drawable, match_classes, match_detections, merge, pictures_of
from enginesmith.converters.records import Comparison, Histogram, OutputDifference, SampleComparison
from enginesmith.converters.samples import RESULTS, Feed, Sample, SampleSet, load_results
from enginesmith.converters.stage import MODEL, Context, Facts, Options, Stage
from enginesmith.converters.tolerances import TOLERANCES, Tolerance

if TYPE_CHECKING:
    from polygraphy.backend.base import BaseRunner
    from polygraphy.comparator import IterationResult

ONNXRUNTIME = "onnxruntime"

DECADES = [10.0**exponent for exponent in range(-9, 4)]
"""Edges of the histograms of absolute differences; smaller and larger ones count in the first and the last decade."""


class CompareOptions(Options):
    """`backend` is `onnxruntime` or a backend's name; `expected` is what the other side is called."""

    backend: str
    precision: str
    expected: str


class Compare(Stage[CompareOptions]):
    """The outputs are kept, for the next stage's comparison."""

    name = "compare"
    options = CompareOptions
    without_torch = True

    def packages_of(self, options: CompareOptions) -> tuple[str, ...]:
        runner = ("onnxruntime", "onnxruntime-gpu")
        return ("polygraphy", *(runner if options.backend == ONNXRUNTIME else get_backend(options.backend).packages))

    def run(self, inputs: Mapping[str, Path], options: CompareOptions, context: Context) -> Facts:
        from polygraphy.comparator import Comparator

        samples, feeds = SampleSet.load(inputs["samples"])
        expected = load_results(inputs["expected"])
        chosen = list(range(len(feeds)))
        if options.backend != ONNXRUNTIME and not get_backend(options.backend).dynamic_shapes:
            chosen = [index for index in chosen if samples.samples[index].optimum]
        runner = _runner(options.backend, inputs["candidate"])
        results = Comparator.run([runner], data_loader=_Feeds([feeds[i] for i in chosen], context), warm_up=0)
        results.save(str(context.out / RESULTS))
        ((_, found),) = results
        tolerance = TOLERANCES[options.precision]
        compared = [
            compare_outputs(
                samples.task, samples.samples[index], feeds[index], expected[0][1][index], outputs, tolerance
            )
            for index, outputs in zip(chosen, found, strict=True)
        ]
        failed = [sample for sample in compared if not sample.passed]
        comparison = Comparison(
            expected=options.expected,
            found=_label(options.backend),
            verdict="fail" if failed else "pass",
            reason=_reason(failed),
            samples=compared,
        )
        return Facts(comparison=comparison, note=_note(compared))


class _Feeds(Sequence["Feed"]):
    """The inputs, telling the terminal how far they are."""

    def __init__(self, feeds: Sequence[Feed], context: Context) -> None:
        self._feeds = feeds
        self._context = context

    def __len__(self) -> int:
        return len(self._feeds)

    def __getitem__(self, index: Any) -> Any:
        feed = self._feeds[index]
        self._context.progress(f"sample {index + 1} of {len(self)}", index / len(self))
        return feed


def _runner(backend: str, candidate: Path) -> BaseRunner:
    if backend == ONNXRUNTIME:
        return onnxruntime.runner(candidate / MODEL)
    engine = get_backend(backend)
    return engine.runner(candidate / engine.engine_file)


def compare_outputs(
    task: str,
    sample: Sample,
    feed: Feed,
    expected: IterationResult,
    found: IterationResult,
    tolerance: Tolerance,
) -> SampleComparison:
    """Hold one sample's outputs against the expected ones, as the task wants it."""
    _check_names(expected, found)
    record = SampleComparison(
        sample=sample.name,
        picture=sample.picture,
        shapes={name: list(array.shape) for name, array in feed.items()},
        passed=True,
    )
    if task == "detection":
        before, after = pictures_of(dict(expected.items())), pictures_of(dict(found.items()))
        record.detections = merge([match_detections(b, a, tolerance) for b, a in zip(before, after, strict=True)])
        record.passed = record.detections.passed
        if sample.picture:
            record.drawn, record.drawn_expected = drawable(after[0]), drawable(before[0])
        return record
    record.outputs = _differences(expected, found, tolerance)
    if task == "classification":
        logits = [(expected[name], found[name]) for name in expected if expected[name].ndim == 2]
        if logits:
            record.classes = match_classes(*logits[0], tolerance)
    record.passed = all(output.passed for output in record.outputs) and (
        record.classes is None or record.classes.passed
    )
    return record


def _check_names(expected: IterationResult, found: IterationResult) -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        raise ConversionError(f"the outputs {', '.join(missing)} are gone; there are {', '.join(found)}")


def _differences(expected: IterationResult, found: IterationResult, tolerance: Tolerance) -> list[OutputDifference]:
    """Every output by Polygraphy's element-wise comparison, and its figures. NaN where none is expected fails."""
    import numpy as np
    from polygraphy.comparator import CompareFunc

    scales = {name: _scale(expected[name]) for name in expected}
    atol = {name: tolerance.scale * scale for name, scale in scales.items()}
    compare = CompareFunc.simple(check_shapes=True, atol=atol, rtol=tolerance.relative, infinities_compare_equal=True)
    verdicts = compare(found, expected)
    differences = []
    for name in expected:
        before, after = expected[name], found[name]
        verdict = bool(verdicts[name])
        if before.shape != after.shape:
            raise ConversionError(
                f"output {name} has shape {list(after.shape)} where {list(before.shape)} is expected",
                "the exporter has fixed a size that depends on the input",
            )
        a, b = before.astype(np.float64), after.astype(np.float64)
        both_nan = np.isnan(a) & np.isnan(b)
        with np.errstate(invalid="ignore"):
            difference = np.where((a == b) | both_nan, 0.0, np.abs(a - b))
        lost = np.isnan(difference)
        difference = np.where(lost, np.inf, difference)
        finite = difference[np.isfinite(difference)]
        relative = finite / np.maximum(np.abs(a[np.isfinite(difference)]), np.finfo(np.float32).tiny)
        differences.append(
            OutputDifference(
                name=name,
                max_abs=float(finite.max(initial=0.0)) if not lost.any() else float(np.finfo(np.float32).max),
                mean_abs=float(finite.mean()) if finite.size else 0.0,
                max_rel=float(relative.max(initial=0.0)),
                tolerance_abs=atol[name],
                tolerance_rel=tolerance.relative,
                passed=verdict and not lost.any(),
                histogram=_histogram(finite),
            )
        )
    return differences


def _scale(array: Any) -> float:
    import numpy as np

    finite = np.abs(array[np.isfinite(array)].astype(np.float64)) if array.dtype.kind == "f" else np.abs(array)
    return float(finite.max(initial=0)) if finite.dtype.kind != "b" else 1.0


def _histogram(difference: Any) -> Histogram:
    import numpy as np

    clipped = np.clip(difference[difference > 0], DECADES[0], DECADES[-1])
    counts, _ = np.histogram(clipped, DECADES)
    return Histogram(edges=DECADES, counts=[int(count) for count in counts])


def _label(backend: str) -> str:
    return "ONNX Runtime" if backend == ONNXRUNTIME else backend


def _note(samples: Sequence[SampleComparison]) -> str:
    """The worst figure of all samples, in a few words."""
    parts = []
    matches = [sample.detections for sample in samples if sample.detections]
    if matches:
        total = merge(matches)
        parts.append(f"{total.matched} of {total.expected} boxes, scores to {total.worst_score_difference:.1e}")
    outputs = [output for sample in samples for output in sample.outputs]
    if outputs:
        parts.append(f"max difference {max(output.max_abs for output in outputs):.1e}")
    classes = [sample.classes for sample in samples if sample.classes]
    if classes:
        parts.append(f"top-1 {min(c.top1 for c in classes):.0%}")
    return ", ".join(parts)


def _reason(failed: Sequence[SampleComparison]) -> str:
    if not failed:
        return ""
    first = failed[0]
    if first.detections:
        match = first.detections
        detail = (
            f"{match.matched} of {match.expected} boxes matched, {match.found} found, "
            f"largest score difference {match.worst_score_difference:.2e}"
        )
    else:
        worst = next((output for output in first.outputs if not output.passed), None)
        detail = (
            f"output {worst.name} differs by {worst.max_abs:.2e}, {worst.tolerance_abs:.2e} allowed"
            if worst
            else "the best classes differ"
        )
    return f"sample {first.sample!r}: {detail}" + (f"; {len(failed)} samples in all" if len(failed) > 1 else "")
