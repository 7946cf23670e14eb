"""Every comparison of the build: how far each output is from the stage before, whether detections and classes agree."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from enginesmith.converters.core.comparisons import (
    ClassMatch,
    Comparison,
    OutputDifference,
    SampleComparison,
    SelfCheck,
    Verdict,
)
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.report import spread, text
from enginesmith.pipeline.report.charts import Chart
from enginesmith.pipeline.report.sides import Sides, compared
from enginesmith.pipeline.report.summary import VERDICT_TONE, Tone

VERDICTS: Mapping[Verdict, str] = {
    "pass": "agrees",
    "fail": "differs",
    "not run": "not run",
    "differs": "differs",
    "proves nothing": "proves nothing",
}
SELF_CHECK_TONE: Mapping[str, Tone] = {"pass": "good", "fail": "bad", "by design": "warn", "not run": "mute"}


@dataclass(frozen=True)
class OutputRow:
    """One output over all samples: the worst of each figure."""

    name: str
    max_abs: str
    mean_abs: str
    max_rel: str
    tolerance: str
    passed: str
    tone: Tone


@dataclass(frozen=True)
class SampleRow:
    sample: str
    picture: str
    shapes: str
    max_abs: str
    detections: str
    classes: str
    tone: Tone


@dataclass(frozen=True)
class DetectionSummary:
    """Detections of all samples matched with those of the stage before."""

    expected: int
    found: int
    matched: int
    worst_iou: str
    worst_score: str
    tone: Tone


@dataclass(frozen=True)
class ClassSummary:
    """Mean and worst agreement over the samples."""

    top1: str
    top5: str
    worst_top1: str
    top1_width: str
    top5_width: str
    samples: int
    tone: Tone


@dataclass(frozen=True)
class ComparisonView:
    anchor: str
    stage: str
    href: str
    expected: str
    found: str
    verdict: str
    reason: str
    tone: Tone
    outputs: list[OutputRow]
    samples: list[SampleRow]
    detections: DetectionSummary | None
    classes: ClassSummary | None
    consistency: list[tuple[SelfCheck, Tone]]
    charts: list[Chart]


def comparisons(manifest: Manifest, hrefs: Mapping[str, str]) -> list[ComparisonView]:
    """In the order of the plan."""
    return [_view(side, hrefs[side.stage.id]) for side in compared(manifest)]


def _view(side: Sides, href: str) -> ComparisonView:
    anchor = f"differences-{href}"
    comparison = side.comparison
    samples = comparison.samples
    return ComparisonView(
        anchor=anchor,
        stage=side.stage.id,
        href=href,
        expected=side.expected,
        found=side.found,
        verdict=VERDICTS[comparison.verdict],
        reason=comparison.reason,
        tone=VERDICT_TONE[comparison.verdict],
        outputs=_outputs(samples),
        samples=[_sample(sample) for sample in samples],
        detections=_detections(samples),
        classes=_classes([sample.classes for sample in samples if sample.classes]),
        consistency=[(check, SELF_CHECK_TONE[check.verdict]) for check in comparison.consistency],
        charts=spread.charts(anchor, comparison),
    )


def largest(comparison: Comparison) -> tuple[str, str]:
    """The largest difference over all samples, and what has it: an output's values, or the overlap of boxes."""
    outputs = [output for sample in comparison.samples for output in sample.outputs]
    if outputs:
        # A NaN is larger than any number.
        worst = max(outputs, key=lambda o: math.inf if math.isnan(o.max_abs) else o.max_abs)
        return text.difference(worst.max_abs), worst.name if worst.max_abs else ""
    boxes = _detections(comparison.samples)
    if boxes is None:
        return "", ""
    every = boxes.matched == boxes.expected and boxes.matched
    return (boxes.worst_iou, "IoU") if every else (f"{boxes.matched} of {boxes.expected}", "matched")


def _worst(values: Iterable[float]) -> float:
    """The maximum, where NaN is the worst of all: `max` alone would lose it."""
    listed = list(values)
    return math.nan if any(math.isnan(value) for value in listed) else max(listed, default=0.0)


def _outputs(samples: list[SampleComparison]) -> list[OutputRow]:
    by_name: dict[str, list[OutputDifference]] = {}
    for sample in samples:
        for output in sample.outputs:
            by_name.setdefault(output.name, []).append(output)
    return [_output(name, differences) for name, differences in by_name.items()]


def _output(name: str, differences: list[OutputDifference]) -> OutputRow:
    passed = sum(output.passed for output in differences)
    return OutputRow(
        name=name,
        max_abs=text.difference(_worst(output.max_abs for output in differences)),
        mean_abs=text.difference(_worst(output.mean_abs for output in differences)),
        max_rel=text.difference(_worst(output.max_rel for output in differences)),
        tolerance=f"{_range(o.tolerance_abs for o in differences)} + {_range(o.tolerance_rel for o in differences)} rel",
        passed=f"{passed} of {len(differences)}",
        tone="good" if passed == len(differences) else "bad",
    )


def _range(values: Iterable[float]) -> str:
    """One figure where all are written the same, else the least and the most."""
    ordered = sorted(values)
    low, high = text.difference(ordered[0]), text.difference(ordered[-1])
    return low if low == high else f"{low} … {high}"


def _sample(sample: SampleComparison) -> SampleRow:
    match, classes = sample.detections, sample.classes
    return SampleRow(
        sample=sample.sample,
        picture=sample.picture,
        shapes=", ".join(f"{name} {text.shape(shape)}" for name, shape in sample.shapes.items()),
        max_abs=text.difference(_worst(o.max_abs for o in sample.outputs)) if sample.outputs else "",
        detections=f"{match.matched} of {match.expected} matched, {match.found} found" if match else "",
        classes=f"top-1 {text.percent(classes.top1)}, top-5 {text.percent(classes.top5)}" if classes else "",
        tone="good" if sample.passed else "bad",
    )


def _detections(samples: list[SampleComparison]) -> DetectionSummary | None:
    matches = [sample.detections for sample in samples if sample.detections]
    if not matches:
        return None
    matched = [match for match in matches if match.matched]
    return DetectionSummary(
        expected=sum(match.expected for match in matches),
        found=sum(match.found for match in matches),
        matched=sum(match.matched for match in matches),
        # Without a match there is no IoU to be worst.
        worst_iou=f"{min(match.worst_iou for match in matched):.4f}" if matched else text.NOTHING,
        worst_score=text.difference(_worst(match.worst_score_difference for match in matched))
        if matched
        else text.NOTHING,
        tone="good" if all(match.passed for match in matches) else "bad",
    )


def _classes(matches: list[ClassMatch]) -> ClassSummary | None:
    if not matches:
        return None
    top1 = sum(match.top1 for match in matches) / len(matches)
    top5 = sum(match.top5 for match in matches) / len(matches)
    return ClassSummary(
        top1=text.percent(top1),
        top5=text.percent(top5),
        worst_top1=text.percent(min(match.top1 for match in matches)),
        top1_width=_width(top1),
        top5_width=_width(top5),
        samples=len(matches),
        tone="good" if all(match.passed for match in matches) else "bad",
    )


def _width(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.1f}" if math.isfinite(share) else "0"
