"""A graph or an engine on all samples, and what it gives held against what was expected."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.errors import ConversionError, UserError, first_line
from enginesmith.converters.core.records import Comparison, SampleComparison
from enginesmith.converters.core.samples import Array, Feed, SampleSet, load_results
from enginesmith.converters.core.stage import Context
from enginesmith.converters.graphs import interface, onnxruntime
from enginesmith.converters.graphs.difference import compare_outputs
from enginesmith.converters.graphs.matching import merge
from enginesmith.converters.graphs.tolerances import TOLERANCES, Tolerance

if TYPE_CHECKING:
    import onnx
    from polygraphy.backend.base import BaseRunner
    from polygraphy.comparator import IterationResult

ONNXRUNTIME = "onnxruntime"


def compare_graph(
    onnx: Path, samples: Path, expected: Path, label: str, precision: str, context: Context
) -> Comparison:
    """Run a repaired graph in ONNX Runtime on all samples, and hold its outputs against the `expected` artifact's.

    Raises ConversionError when it can't be run.
    """
    from polygraphy.comparator import IterationResult

    sample_set, feeds = SampleSet.load(samples)
    chosen = sample_set.held(precision)
    named = [(sample_set.samples[index].name, feeds[index]) for index in chosen]
    found = [
        IterationResult(outputs=outputs, runtime=0.0, runner_name="repaired")
        for outputs in run_samples(onnxruntime.runner(onnx), ONNXRUNTIME, named, context, interface.of(onnx))
    ]
    results = load_results(expected)[0][1]
    before = [results[index] for index in chosen]
    compared = compare_samples(sample_set, chosen, feeds, before, found, TOLERANCES[precision])
    return conclude(compared, label, "the repaired graph in ONNX Runtime")


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
) -> list[SampleComparison]:
    """The samples `chosen`, whose results are `expected` and `found`."""
    return [
        compare_outputs(samples.task, samples.samples[index], feeds[index], before, after, tolerance)
        for index, before, after in zip(chosen, expected, found, strict=True)
    ]


def conclude(compared: list[SampleComparison], expected: str, found: str, judged_by: str = "") -> Comparison:
    failed = [sample for sample in compared if not sample.passed]
    if failed and judged_by and not any(sample.retyped for sample in failed):
        why = f"{reason(failed)}; {judged_by} judges it"
        return Comparison(expected=expected, found=found, verdict="differs", reason=why, samples=compared)
    if compared and all(sample.vacuous for sample in compared):
        why = f"on all samples: {compared[0].vacuous}"
        return Comparison(expected=expected, found=found, verdict="proves nothing", reason=why, samples=compared)
    return Comparison(
        expected=expected, found=found, verdict="fail" if failed else "pass", reason=reason(failed), samples=compared
    )


def runner_label(backend: str) -> str:
    return "ONNX Runtime" if backend == ONNXRUNTIME else backend


def worst_figures(samples: Sequence[SampleComparison]) -> str:
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
