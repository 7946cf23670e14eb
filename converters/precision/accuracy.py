"""What the lower precision costs: a metric of the graph before and after, on the same examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.precision.calibrate import DataOptions
from enginesmith.converters.precision.mix import STAND_IN
from enginesmith.converters.samples import SAMPLES, SampleSet
from enginesmith.converters.stage import MODEL, Context, Facts, Options, Stage

if TYPE_CHECKING:
    from enginesmith.converters.precision.evaluate import Evaluator

TELLING = 0.01
"""Loss from which a build without a budget warns."""


class AccuracyOptions(Options):
    """`metric` as the user gives it, empty for the task's own; `budget` is the largest loss allowed, None for any."""

    data: DataOptions
    metric: str
    budget: float | None


class MeasureAccuracy(Stage[AccuracyOptions]):
    """Both graphs run in ONNX Runtime without optimizations, the lower one as its stand-in."""

    name = "evaluate"
    options = AccuracyOptions
    packages = ("onnxruntime", "onnxruntime-gpu", "pillow")

    def run(self, inputs: Mapping[str, Path], options: AccuracyOptions, context: Context) -> Facts:
        evaluator = open_evaluator(options.data, options.metric, inputs, context)
        score = evaluator.score(stand_in_of(inputs["candidate"]))
        accuracy = evaluator.record(score).model_copy(update={"budget": options.budget})
        warnings = list(evaluator.dataset.warnings)
        if options.budget is None and accuracy.loss > TELLING:
            warnings.append(
                f"the lower precision loses {accuracy.loss:.3f} of {accuracy.metric} ({accuracy.data}); "
                "PRECISION=auto BUDGET=0.5% finds a mix that loses less"
            )
        for warning in warnings:
            context.warn(warning)
        return Facts(accuracy=accuracy, warnings=warnings, note=accuracy.verdict)


def open_evaluator(data: DataOptions, metric: str, inputs: Mapping[str, Path], context: Context) -> Evaluator:
    """What scores graphs against the float32 graph, as it was before any fine-tuning. Raises UserError for data or a
    metric that don't fit the model.
    """
    from enginesmith.converters.metrics import load_metric
    from enginesmith.converters.precision.evaluate import Evaluator

    dataset = data.open(inputs["samples"])
    task = SampleSet.model_validate_json((inputs["samples"] / SAMPLES).read_bytes()).task
    judge = load_metric(metric, task, dataset.labelled)
    return Evaluator(inputs.get("original", inputs["model"]) / MODEL, dataset, judge, context.progress)


def stand_in_of(artifact: Path) -> Path:
    """What ONNX Runtime runs of a lowered graph."""
    stand_in = artifact / STAND_IN
    return stand_in if stand_in.exists() else artifact / MODEL
