"""Run a stage's product on the samples, and hold its outputs against those of the stage before."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.converters.backends import get_backend
from enginesmith.converters.core.errors import ConversionError, UserError, first_line
from enginesmith.converters.core.records import Comparison, Histogram, OutputDifference, SampleComparison
from enginesmith.converters.core.stage import MODEL, Context, Facts, Options, Stage
from enginesmith.converters.data.samples import Array, Feed, Sample, SampleSet, load_results, save_results
from enginesmith.converters.graphs import interface
from enginesmith.converters.graphs import runner as onnxruntime
from enginesmith.converters.graphs.matching import drawable, match_classes, match_detections, merge, pictures_of
from enginesmith.converters.graphs.tolerances import TOLERANCES, Tolerance
from enginesmith.converters.precision.mix import STAND_IN
from enginesmith.converters.stages.precision import STAND_IN_LABEL

if TYPE_CHECKING:
    import onnx
    from polygraphy.backend.base import BaseRunner
    from polygraphy.comparator import IterationResult

ONNXRUNTIME = "onnxruntime"

DECADES = [10.0**exponent for exponent in range(-9, 4)]
"""Edges of the histograms of absolute differences; smaller and larger ones count in the first and the last decade."""
CLOSE = 1.5
"""An engine of a lower precision rounds elsewhere than the stand-in does. Both are as far from the results in float32 then, up to
the chance in which largest differences of a few samples lie."""


class CompareOptions(Options):
    """`backend` is `onnxruntime` or a backend's name; `expected` is what the other side is called. With `judged_by`
    differences are told and no verdict: a metric judges them, which that stage measures.
    """

    backend: str
    precision: str
    expected: str
    judged_by: str = ""


class Compare(Stage[CompareOptions]):
    """The outputs are kept, for the next stage's comparison.

    With the results in float32 as `wide`, a difference that is only one of roundings is told, and doesn't fail.
    """

    name = "compare"
    options = CompareOptions
    without_torch = True

    def packages_of(self, options: CompareOptions) -> tuple[str, ...]:
        runner = ("onnxruntime", "onnxruntime-gpu")
        return ("polygraphy", *(runner if options.backend == ONNXRUNTIME else get_backend(options.backend).packages))

    def run(self, inputs: Mapping[str, Path], options: CompareOptions, context: Context) -> Facts:
        samples, feeds = SampleSet.load(inputs["samples"])
        expected = load_results(inputs["expected"])
        chosen = list(range(len(feeds)))
        if options.backend != ONNXRUNTIME and not get_backend(options.backend).dynamic_shapes:
            chosen = [i for i, sample in enumerate(samples.samples) if sample.optimum or sample.listed]
        named = [(samples.samples[index].name, feeds[index]) for index in chosen]
        runner = _runner(options.backend, inputs["candidate"])
        found = _run(runner, options.backend, named, context, interface.load(inputs["candidate"]))
        save_results(context.out, _label(options.backend), found)
        results = load_results(context.out)[0][1]
        before = [expected[0][1][index] for index in chosen]
        compared = _compared(samples, chosen, feeds, before, results, TOLERANCES[options.precision])
        label = STAND_IN_LABEL if (inputs["candidate"] / STAND_IN).exists() else _label(options.backend)
        comparison = _comparison(compared, options.expected, label, options.judged_by)
        if comparison.verdict == "fail" and "wide" in inputs:
            exact = load_results(inputs["wide"])[0][1]
            rows = zip(compared, before, results, (exact[index] for index in chosen), strict=True)
            tolerance = TOLERANCES[options.precision]
            if all(
                sample.passed or (not sample.retyped and as_close(samples.task, stand_in, engine, wide, tolerance))
                for sample, stand_in, engine, wide in rows
            ):
                comparison.verdict = "differs"
                comparison.reason += f"; it is as close to the results in float32 as {options.expected}"
        return Facts(comparison=comparison, note=_note(compared))


def compare_graph(
    onnx: Path, samples: Path, expected: Path, label: str, precision: str, context: Context
) -> Comparison:
    """Run a repaired graph in ONNX Runtime on all samples, and hold its outputs against the `expected` artifact's.

    Raises ConversionError when it can't be run.
    """
    from polygraphy.comparator import IterationResult

    sample_set, feeds = SampleSet.load(samples)
    named = [(sample.name, feed) for sample, feed in zip(sample_set.samples, feeds, strict=True)]
    found = [
        IterationResult(outputs=outputs, runtime=0.0, runner_name="repaired")
        for outputs in _run(onnxruntime.runner(onnx), ONNXRUNTIME, named, context, interface.of(onnx))
    ]
    before = load_results(expected)[0][1]
    compared = _compared(sample_set, range(len(feeds)), feeds, before, found, TOLERANCES[precision])
    return _comparison(compared, label, "the repaired graph in ONNX Runtime")


def _compared(
    samples: SampleSet,
    chosen: Sequence[int],
    feeds: Sequence[Feed],
    expected: Sequence[IterationResult],
    found: Sequence[IterationResult],
    tolerance: Tolerance,
) -> list[SampleComparison]:
    """The samples `chosen`, whose results are `expected` and `found`."""
    return [
        compare_outputs(samples.task, samples.samples[index], feeds[index], before, after, tolerance)
        for index, before, after in zip(chosen, expected, found, strict=True)
    ]


def _comparison(compared: list[SampleComparison], expected: str, found: str, judged_by: str = "") -> Comparison:
    failed = [sample for sample in compared if not sample.passed]
    if failed and judged_by and not any(sample.retyped for sample in failed):
        why = f"{reason(failed)}; {judged_by} judges it"
        return Comparison(expected=expected, found=found, verdict="differs", reason=why, samples=compared)
    return Comparison(
        expected=expected,
        found=found,
        verdict="fail" if failed else "pass",
        reason=reason(failed),
        samples=compared,
    )


def _runner(backend: str, candidate: Path) -> BaseRunner:
    if backend == ONNXRUNTIME:
        if (candidate / STAND_IN).exists():
            return onnxruntime.runner(candidate / STAND_IN, optimize=False)  # optimized, it might not round
        return onnxruntime.runner(candidate / MODEL)
    engine = get_backend(backend)
    return engine.runner(candidate / engine.engine_file)


def _run(
    runner: BaseRunner,
    backend: str,
    named: Sequence[tuple[str, Feed]],
    context: Context,
    changed: onnx.ModelProto | None = None,
) -> list[dict[str, Array]]:
    """The outputs for every sample, in the form that they had before repairs `changed` it.

    Raises ConversionError for a graph or an engine that can't be run on one.
    """
    what = "graph" if backend == ONNXRUNTIME else "engine"
    doing = f"can't load the {what}"
    found: list[dict[str, Array]] = []
    try:
        with runner:
            for number, (name, feed) in enumerate(named):
                context.progress(f"sample {number + 1} of {len(named)}", number / len(named))
                doing = f"can't run the {what} on the sample {name!r}"
                # copied, since a runner may use its buffers again
                outputs = runner.infer(interface.fed(changed, feed))
                found.append({name: array.copy() for name, array in interface.fetched(changed, outputs).items()})
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - a runtime raises whatever it likes
        traceback.print_exc()
        raise ConversionError(
            f"{_label(backend)} {doing}: {first_line(error)}",
            "if other samples run, the exporter has fixed a size that depends on the input" if found else "",
        ) from None
    return found


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
    import numpy as np

    if task == "detection":
        pictures = zip(pictures_of(dict(wide.items())), pictures_of(dict(side.items())), strict=True)
        match = merge([match_detections(b, a, tolerance) for b, a in pictures])
        return {"detections": match.expected + match.found - 2 * match.matched}
    distances = {}
    for name in wide:
        difference = np.abs(side[name].astype(np.float64) - wide[name].astype(np.float64))
        distances[name] = float(np.where(np.isnan(difference), np.inf, difference).max(initial=0.0))
    return distances


def _check_names(expected: IterationResult, found: IterationResult) -> None:
    missing = [name for name in expected if name not in found]
    if missing:
        raise ConversionError(f"the outputs {', '.join(missing)} are gone; there are {', '.join(found)}")


def _differences(expected: IterationResult, found: IterationResult, tolerance: Tolerance) -> list[OutputDifference]:
    """Every output by Polygraphy's element-wise comparison, and its figures. NaN is equal to NaN and to nothing else;
    integers must be equal."""
    import numpy as np
    from polygraphy.comparator import CompareFunc
    from polygraphy.logger import G_LOGGER

    pairs = {}
    for name in expected:
        before, after = expected[name], found[name]
        if before.shape != after.shape:
            raise ConversionError(
                f"output {name} has shape {list(after.shape)} where {list(before.shape)} is expected",
                "the exporter has fixed a size that depends on the input",
            )
        pairs[name] = (before.astype(np.float64), after.astype(np.float64))
    floating = {name: expected[name].dtype.kind == "f" for name in pairs}
    atol = {name: tolerance.scale * _scale(a) if floating[name] else 0.0 for name, (a, _) in pairs.items()}
    rtol = {name: tolerance.relative if floating[name] else 0.0 for name in pairs}
    # quiet, since a difference is logged with its values, histograms and all
    with G_LOGGER.verbosity(G_LOGGER.ERROR):
        compare = CompareFunc.simple(check_shapes=True, atol=atol, rtol=rtol, infinities_compare_equal=True)
        verdicts = compare(_without_common_nan(pairs, 1), _without_common_nan(pairs, 0))
    differences = []
    for name, (a, b) in pairs.items():
        with np.errstate(invalid="ignore"):
            difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        lost = ~np.isfinite(difference)
        finite = difference[~lost]
        relative = finite / np.fmax(np.abs(a[~lost]), np.finfo(np.float32).tiny)
        differences.append(
            OutputDifference(
                name=name,
                max_abs=float(finite.max(initial=0.0)) if not lost.any() else float(np.finfo(np.float32).max),
                mean_abs=float(finite.mean()) if finite.size else 0.0,
                max_rel=float(relative.max(initial=0.0)),
                tolerance_abs=atol[name],
                tolerance_rel=rtol[name],
                passed=bool(verdicts[name]) and not lost.any(),
                histogram=_histogram(finite),
            )
        )
    return differences


def _without_common_nan(pairs: Mapping[str, tuple[Any, Any]], side: int) -> IterationResult:
    """One side of the pairs, with zeros where both sides have NaN: Polygraphy takes no NaN for equal."""
    import numpy as np
    from polygraphy.comparator import IterationResult

    outputs = {name: np.where(np.isnan(a) & np.isnan(b), 0.0, (a, b)[side]) for name, (a, b) in pairs.items()}
    return IterationResult(outputs=outputs, runtime=0.0, runner_name=("expected", "found")[side])


def _scale(array: Any) -> float:
    import numpy as np

    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


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


def reason(failed: Sequence[SampleComparison]) -> str:
    """Why the first of the samples that failed did, in one line; empty when none failed."""
    if not failed:
        return ""
    first = failed[0]
    if first.retyped:
        detail = f"output {', '.join(first.retyped)}"
    elif first.detections:
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
