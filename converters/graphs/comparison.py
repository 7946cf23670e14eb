"""A graph or an engine on all samples, and what it gives held against what was expected."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.comparisons import Comparison, OutputDifference, SampleComparison
from enginesmith.converters.core.errors import ConversionError, UserError, first_line
from enginesmith.converters.core.recipe import FP32
from enginesmith.converters.core.samples import (
    EXACT,
    MOVED,
    SHAKEN,
    WITNESS,
    Array,
    Feed,
    SampleSet,
    load_beside,
    load_results,
)
from enginesmith.converters.core.stage import Context
from enginesmith.converters.graphs import interface, onnxruntime
from enginesmith.converters.graphs.difference import LOST, compare_outputs, note_vacuous
from enginesmith.converters.graphs.matching import merge
from enginesmith.converters.graphs.rounding import Alone, judge
from enginesmith.converters.graphs.tolerances import TOLERANCES, Apart, Tolerance, nearer, tolerance_of

if TYPE_CHECKING:
    import onnx
    from polygraphy.backend.base import BaseRunner
    from polygraphy.comparator import IterationResult

ONNXRUNTIME = "onnxruntime"
UNKNOWN = 4.0
"""What is far from ordinary is far from ordinary rounding: the tolerance of probes in units of that of ordinary samples, where it
isn't known what rounding does. Measured between PyTorch and ONNX Runtime on MobileNetV3's seeded weights: 1.05.
"""
UNSTEADY = "answers the same input differently: it keeps state or draws random numbers"
LEAST = 1e-30
"""Stands for what is allowed where nothing is."""


def compare_graph(
    onnx: Path, samples: Path, expected: Path, label: str, precision: str, context: Context, fixed: bool = False
) -> Comparison:
    """Run a repaired graph in ONNX Runtime on all samples, and hold its outputs against the `expected` artifact's; on those of the
    optimum where its sizes were `fixed` at that.

    Raises ConversionError when it can't be run.
    """
    from polygraphy.comparator import IterationResult

    sample_set, feeds = SampleSet.load(samples)
    chosen = [index for index in sample_set.held(precision) if sample_set.samples[index].optimum or not fixed]
    named = [(sample_set.samples[index].name, feeds[index]) for index in chosen]
    found = [
        IterationResult(outputs=outputs, runtime=0.0, runner_name="repaired")
        for outputs in run_samples(onnxruntime.runner(onnx), ONNXRUNTIME, named, context, interface.of(onnx))
    ]
    results = load_results(expected)[0][1]
    before = [results[index] for index in chosen]
    alone = rounding_alone(samples, sample_set, feeds)
    tolerance = tolerance_of(precision, sample_set.own)
    compared = compare_samples(sample_set, chosen, feeds, before, found, tolerance, alone)
    own, other = (dict(zip(chosen, results, strict=True)) for results in (before, found))
    witnesses = dict(enumerate(load_beside(samples, WITNESS)))
    records = dict(zip(chosen, compared, strict=True))
    settle_probes(sample_set, records, own, other, witnesses, tolerance)
    tell_lost_nan(sample_set, records, feeds, own, other, tolerance)
    return conclude(compared, label, "the repaired graph in ONNX Runtime", excuse(sample_set, precision))


def run_samples(
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
            f"{runner_label(backend)} {doing}: {first_line(error)}",
            "if other samples run, the exporter has fixed a size that depends on the input" if found else "",
        ) from None
    return found


def compare_samples(
    samples: SampleSet,
    chosen: Sequence[int],
    feeds: Sequence[Feed],
    expected: Sequence[IterationResult],
    found: Sequence[IterationResult],
    tolerance: Tolerance,
    alone: Mapping[int, Alone] | None = None,
) -> list[SampleComparison]:
    """The samples `chosen`, whose results are `expected` and `found`. `alone` has what rounding does, by a sample's index."""
    compared = []
    for index, before, after in zip(chosen, expected, found, strict=True):
        sample, rounding = samples.samples[index], (alone or {}).get(index)
        allowed = tolerance.times(UNKNOWN) if sample.probe and rounding is None else tolerance
        compared.append(compare_outputs(samples.task, sample, feeds[index], before, after, allowed, rounding))
    constants = constant_outputs([feeds[index] for index in chosen], expected)
    for record in compared:
        note_vacuous(record, constants)
    return compared


def rounding_alone(folder: Path, samples: SampleSet, feeds: Sequence[Feed]) -> dict[int, Alone]:
    """Of the `samples` in a folder, by index, as far as the stage that made them found it out: those made up for two given
    graphs have no reference. Nothing of a reference that answers the same input differently: what it draws at random is no
    rounding, and excuses nothing.
    """
    beside = {file: load_beside(folder, file) for file in (MOVED, EXACT)}
    reference = load_results(folder)[0][1] if any(beside.values()) else []
    if not reference or not repeats(samples, feeds, reference):
        return {}
    shaken = dict(enumerate(load_beside(folder, SHAKEN)))
    return {
        index: Alone(reference[index], outputs, file == EXACT, shaken.get(index) if file == EXACT else None)
        for file, results in beside.items()
        for index, outputs in enumerate(results)
        if len(outputs)
    }


def repeats(samples: SampleSet, feeds: Sequence[Feed], results: Sequence[Mapping[str, Array]]) -> bool:
    """Whether the last ordinary sample, which is the first one again, gives the same outputs. The results of ordinary samples
    come first.
    """
    ordinary = samples.ordinary()
    if not ordinary:
        return True
    one, other = ordinary[0], ordinary[-1]
    if any(array.tobytes() != feeds[other][name].tobytes() for name, array in feeds[one].items()):
        return True
    return all(_agrees(results[one][name], results[other][name], TOLERANCES[FP32]) for name in results[one])


def constant_outputs(feeds: Sequence[Feed], expected: Sequence[IterationResult]) -> list[str]:
    """The outputs that no input has changed: a constant in their place would have passed."""
    distinct = {
        tuple((name, array.shape, array.tobytes()) for name, array in feed.items()): result
        for feed, result in zip(feeds, expected, strict=True)
    }
    results = list(distinct.values())
    return [name for name in results[0] if _same([result[name] for result in results])] if results else []


def _same(arrays: Sequence[Array]) -> bool:
    """Whether arrays of equal shapes are equal; where each has a shape of its own, whether all hold one single value."""
    shapes: dict[tuple[int, ...], list[bytes]] = {}
    for array in arrays:
        shapes.setdefault(array.shape, []).append(array.tobytes())
    if len(shapes) < len(arrays):
        return all(len(set(contents)) == 1 for contents in shapes.values())
    values = {value.tobytes() for array in arrays for value in array.ravel()[:1]}
    one = len(values) == 1 and all(
        not array.size or array.tobytes() == array.ravel()[:1].tobytes() * array.size for array in arrays
    )
    return one and max(array.size for array in arrays) > 1


def excuse(samples: SampleSet, precision: str, model: bool = False) -> str:
    """Why a difference says nothing against a graph in this precision, empty where it does. `model`: what is expected are the
    model's own outputs, which the graph doesn't have where the export has baked in what one run did.
    """
    if model and samples.baked:
        return samples.baked
    return "random weights drown in rounding" if samples.random_weights and precision != FP32 else ""


def conclude(compared: list[SampleComparison], expected: str, found: str, excuse: str = "") -> Comparison:
    """With an `excuse` values that differ by more than the tolerance are told, and don't fail; types do."""
    failed = [sample for sample in compared if not sample.passed]
    if failed and excuse and not any(sample.retyped for sample in failed):
        why = f"{reason(failed)}; {excuse}"
        return Comparison(expected=expected, found=found, verdict="differs", reason=why, samples=compared)
    if compared and not failed and all(sample.vacuous for sample in compared):
        why = f"on all samples: {compared[0].vacuous}"
        return Comparison(expected=expected, found=found, verdict="proves nothing", reason=why, samples=compared)
    return Comparison(
        expected=expected, found=found, verdict="fail" if failed else "pass", reason=reason(failed), samples=compared
    )


def settle_probes(
    samples: SampleSet,
    compared: Mapping[int, SampleComparison],
    expected: Mapping[int, IterationResult],
    found: Mapping[int, IterationResult],
    contrary: Mapping[int, IterationResult],
    tolerance: Tolerance,
) -> None:
    """A probe on which two witnesses disagree is passed by whoever agrees with one of them in each element. By index of a sample:
    `contrary` has the second witness's outputs where it contradicts the reference, whose are `expected`.
    """
    for index, record in compared.items():
        other = contrary.get(index, {})
        failed = [output for output in record.outputs if not output.passed]
        if record.passed or record.retyped or not failed or not samples.samples[index].probe:
            continue
        for output in failed:
            if output.name in other:
                mine = found[index][output.name]
                either = nearer(expected[index][output.name], other[output.name], mine)
                output.passed = _agrees(either, mine, tolerance)
                if output.passed:
                    output.max_abs = output.worst_abs = float(Apart.of(either, mine).each.max(initial=0.0))
        record.passed = all(output.passed for output in failed) and (record.classes is None or record.classes.passed)


def tell_lost_nan(
    samples: SampleSet,
    compared: Mapping[int, SampleComparison],
    feeds: Sequence[Feed],
    expected: Mapping[int, IterationResult],
    found: dict[int, IterationResult],
    tolerance: Tolerance,
) -> list[str]:
    """A probe with NaN among its inputs is passed where nothing differs but NaN that the other side has lost: kernels take the
    larger of NaN and 0 to be either. Returns these outputs in words, since a user may count on NaN. It is put back in `found`: an
    engine that keeps it is not to be held against one that doesn't.
    """
    import numpy as np
    from polygraphy.comparator import IterationResult

    told: dict[str, None] = {}
    for index, record in compared.items():
        sample = samples.samples[index]
        failed = [output.name for output in record.outputs if not output.passed]
        if not failed or not sample.probe or not any(_has_nan(array) for array in feeds[index].values()):
            continue
        before, after = expected[index], found[index]
        kept = {
            name: np.where(np.isnan(before[name]), before[name], array).astype(array.dtype)
            if name in failed and _has_nan(before[name]) and before[name].shape == array.shape
            else array
            for name, array in after.items()
        }
        result = IterationResult(outputs=kept, runtime=0.0, runner_name="")
        if compare_outputs(samples.task, sample, feeds[index], before, result, tolerance).passed:
            record.passed = True
            found[index] = result
            told |= dict.fromkeys(f"NaN among the inputs doesn't reach output {name}" for name in failed)
    return list(told)


def _has_nan(array: Array) -> bool:
    import numpy as np

    return array.dtype.kind == "f" and bool(np.isnan(array).any())


def _agrees(expected: Array, found: Array, tolerance: Tolerance) -> bool:
    return expected.shape == found.shape and judge(expected, found, tolerance).passed


def doubt_the_reference(
    comparison: Comparison,
    found: Mapping[int, IterationResult],
    contrary: Mapping[int, IterationResult],
    tolerance: Tolerance,
) -> None:
    """A failure is none that is proved where a second witness contradicts the reference on the same outputs, and never
    contradicts what was found. By index of a sample: `contrary` has that witness's outputs where the two disagree.
    """
    disputed = {name for outputs in contrary.values() for name in outputs}
    for sample, (index, results) in zip(comparison.samples, found.items(), strict=True):
        failed = [output.name for output in sample.outputs if not output.passed]
        other = contrary.get(index, {})
        if sample.passed:
            continue
        if sample.retyped or not failed or not disputed.issuperset(failed):
            return
        for name in failed:
            if name in other and not _agrees(other[name], results[name], tolerance):
                return
    comparison.verdict = "proves nothing"
    comparison.reason += "; onnx's reference evaluator contradicts what was expected there, and not what was found"


def runner_label(backend: str) -> str:
    return "ONNX Runtime" if backend == ONNXRUNTIME else backend


def worst_figures(samples: Sequence[SampleComparison]) -> str:
    """The worst figure of all samples, in a few words."""
    parts = []
    matches = [sample.detections for sample in samples if sample.detections]
    if matches:
        total = merge(matches)
        parts.append(f"{total.matched} of {total.expected} boxes, scores to {total.worst_score_difference:.1e}")
    if worst := worst_output(samples):
        allowed = f" of {worst.allowed_abs:.1e} allowed" if worst.worst_abs else ""
        parts.append(f"max difference {worst.worst_abs:.1e}{allowed}")
    classes = [sample.classes for sample in samples if sample.classes]
    if classes:
        parts.append(f"top-1 {min(c.top1 for c in classes):.0%}")
    return ", ".join(parts)


def worst_output(samples: Sequence[SampleComparison]) -> OutputDifference | None:
    """The output that is nearest to what is allowed there, or furthest beyond it: samples differ in magnitude by decades."""
    outputs = [output for sample in samples for output in sample.outputs]
    return max(outputs, key=lambda output: output.worst_abs / (output.allowed_abs or LEAST), default=None)


def reason(failed: Sequence[SampleComparison]) -> str:
    """Why the first of the samples that failed did, in one line; empty when none failed."""
    if not failed:
        return ""
    more = f"; {len(failed)} samples in all" if len(failed) > 1 else ""
    return f"sample {failed[0].sample!r}: {detail(failed[0])}{more}"


def detail(failed: SampleComparison) -> str:
    """In what a sample that failed does differ."""
    if failed.retyped:
        return f"output {', '.join(failed.retyped)}"
    if match := failed.detections:
        return (
            f"{match.matched} of {match.expected} boxes matched, {match.found} found, "
            f"largest score difference {match.worst_score_difference:.2e}"
        )
    worst = next((output for output in failed.outputs if not output.passed), None)
    return describe_output(worst) if worst else "the best classes differ"


def describe_output(output: OutputDifference) -> str:
    """By how much an output differs, and what is allowed."""
    if output.worst_abs >= LOST:
        return f"output {output.name} is NaN or infinite where the other side isn't"
    rounding = "" if output.rounding_abs is None else f", rounding alone does {output.rounding_abs:.2e}"
    return f"output {output.name} differs by {output.worst_abs:.2e}, {output.allowed_abs:.2e} allowed{rounding}"


def silent_outputs(compared: Sequence[SampleComparison]) -> list[str]:
    """The outputs on which no sample says anything, in words; none where that is so of all: the verdict says it then."""
    if all(sample.vacuous for sample in compared):
        return []
    outputs = [output for sample in compared for output in sample.outputs]
    names = dict.fromkeys(output.name for output in outputs)
    speaking = {output.name for output in outputs if not output.vacuous}
    reasons = {output.name: output.vacuous for output in outputs}
    return [
        f"output {name} {reasons[name]} on all samples: nothing is proved of it"
        for name in names
        if name not in speaking
    ]
