"""What the lower precision costs: a metric of the graph before and after, on the same examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from enginesmith.converters.core.stage import MODEL, Context, Facts, Options, Stage
from enginesmith.converters.core.user_code import own_sources
from enginesmith.converters.data.options import DataOptions, MetricOptions, open_evaluator
from enginesmith.converters.precision.mix import STAND_IN

TELLING = 0.01
"""Loss from which a build without a budget warns."""


class AccuracyOptions(Options):
    """`budget` is the largest loss allowed, None for any."""

    data: DataOptions
    metric: MetricOptions
    budget: float | None


class MeasureAccuracy(Stage[AccuracyOptions]):
    """Both graphs run in ONNX Runtime without optimizations, the lower one as its stand-in."""

    name = "evaluate"
    options = AccuracyOptions
    packages = ("onnxruntime", "onnxruntime-gpu", "pillow")

    def run(self, inputs: Mapping[str, Path], options: AccuracyOptions, context: Context) -> Facts:
        evaluator = open_evaluator(options.data, options.metric, inputs, context)
        score = evaluator.score(stand_in_of(inputs["candidate"]))
        accuracy = evaluator.record(score, options.budget)
        warnings = list(evaluator.warnings)
        if options.budget is None and accuracy.loss > TELLING:
            warnings.append(
                f"the graph loses {accuracy.loss:.3f} of {accuracy.metric} ({accuracy.data}); "
                "PRECISION=auto BUDGET=0.5% finds a mix that loses less"
            )
        for warning in warnings:
            context.warn(warning)
        return Facts(accuracy=accuracy, warnings=warnings, source_files=own_sources(), note=accuracy.verdict)


def stand_in_of(artifact: Path) -> Path:
    """What ONNX Runtime runs of a lowered graph."""
    stand_in = artifact / STAND_IN
    return stand_in if stand_in.exists() else artifact / MODEL
