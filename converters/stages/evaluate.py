"""What the lower precision costs: a metric of the graph before and after, on the same examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from enginesmith.converters.core.facts import JudgedFacts
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import AUTO, FP32, Recipe
from enginesmith.converters.core.stage import MODEL, Context, Stage
from enginesmith.converters.core.user_files import files_read
from enginesmith.converters.data.options import DataOptions, MetricOptions, open_evaluator
from enginesmith.converters.precision.facts import doubt_of
from enginesmith.converters.precision.mix import STAND_IN

TELLING = 0.01
"""Loss from which a build without a budget warns."""


JUDGE = "accuracy"
"""Id of the stage in a plan."""


class AccuracyOptions(Options):
    """`budget` is the largest loss allowed, None for any."""

    data: DataOptions
    metric: MetricOptions
    budget: float | None


class MeasureAccuracy(Stage[AccuracyOptions]):
    """Both graphs run in ONNX Runtime without optimizations, the lower one as its stand-in."""

    name = "evaluate"
    options = AccuracyOptions
    facts = JudgedFacts
    packages = ("onnxruntime", "onnxruntime-gpu", "pillow")

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        """After a lower precision, and after a fine-tuning alone. What is lost, is lost of the model before both."""
        if recipe.precision == AUTO or (recipe.precision == FP32 and "original" not in so_far.roles):
            return
        options = AccuracyOptions(
            data=DataOptions.evaluation(recipe), metric=MetricOptions.asked(recipe), budget=recipe.budget
        )
        wide = so_far.roles.get("wide", so_far.roles["model"])
        needs = {"model": wide, "candidate": so_far.roles["model"], **so_far.needs("samples", "original")}
        so_far.gate, after = so_far.id(JUDGE), so_far.after
        yield PlannedStage(so_far.gate, self.name, options, needs=needs, after=after)

    def run(self, inputs: Mapping[str, Path], options: AccuracyOptions, context: Context) -> JudgedFacts:
        if doubt := doubt_of(inputs["samples"]):
            return JudgedFacts(note="not measured: random weights", doubt=doubt)
        evaluator = open_evaluator(options.data, options.metric, inputs, context)
        score = evaluator.score(stand_in_of(inputs["candidate"]))
        accuracy = evaluator.record(score, options.budget)
        warnings = list(evaluator.warnings)
        if options.budget is None and accuracy.loss > TELLING:
            lowered = inputs["candidate"] != inputs["model"]
            remedy = (
                "PRECISION=auto BUDGET=0.5% finds a mix that loses less" if lowered else "cut less, or train it longer"
            )
            warnings.append(f"the graph loses {accuracy.loss:.3f} of {accuracy.metric} ({accuracy.data}); {remedy}")
        for warning in warnings:
            context.warn(warning)
        return JudgedFacts(accuracy=accuracy, warnings=warnings, source_files=files_read(), note=accuracy.verdict)


def stand_in_of(artifact: Path) -> Path:
    """What ONNX Runtime runs of a lowered graph."""
    stand_in = artifact / STAND_IN
    return stand_in if stand_in.exists() else artifact / MODEL
