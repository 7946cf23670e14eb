"""The stages of a lower precision: calibration, rewrite or search, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator

from enginesmith.converters.core.stage import Options
from enginesmith.converters.data.datasets import data_sources
from enginesmith.converters.data.metrics import metric_sources
from enginesmith.converters.data.options import DataOptions, MetricOptions
from enginesmith.converters.precision.mix import Rest
from enginesmith.converters.stages.calibrate import CalibrateOptions
from enginesmith.converters.stages.evaluate import AccuracyOptions
from enginesmith.converters.stages.precision import PrecisionOptions
from enginesmith.converters.stages.registry import stage_module
from enginesmith.converters.stages.search import SearchOptions
from enginesmith.pipeline.job.hashing import code_version
from enginesmith.pipeline.job.planned import AUTO, PlannedStage, comparison
from enginesmith.pipeline.job.recipe import Recipe

JUDGE = "accuracy"
"""Id of the stage that measures it."""
DEFAULT_BUDGET = 0.005
"""Of a search that was given none."""


def lowering(
    recipe: Recipe, rest: Rest, target: str, model: str, samples: str, expected: str, original: dict[str, str]
) -> Iterator[PlannedStage]:
    """Calibration, the lower precision, and what it costs. A search measures that itself, for `target`. `original` is the
    role of the graph before fine-tuning, where there was any: what is lost, is lost of that.
    """
    calibration = DataOptions(
        spec=recipe.calib,
        sources=data_sources(recipe.calib, "calibration"),
        role="calibration",
        examples=recipe.examples,
        seed=recipe.seed,
    )
    needs = {"model": model, "samples": samples}
    integers = recipe.precision in ("int8", AUTO)
    calibrations = {"calibration": "calibrate"}  # none for bf16, which has the range of float32
    if recipe.precision == "bf16":
        calibrations = {}
    elif recipe.precision == AUTO and not recipe.int8.equalize and not recipe.qat:
        calibrations["equalized"] = "calibrate equalized"
    for role, id in calibrations.items():
        equalize = role == "equalized" or (integers and recipe.int8.equalize)
        options = CalibrateOptions(precision=recipe.precision, rest=rest, data=calibration, equalize=equalize)
        trained = {"finetuned": "finetune"} if recipe.qat else {}
        yield PlannedStage(id, "calibrate", options, needs={**needs, **trained}, after=(expected,))
    lower: Options
    if recipe.precision == AUTO:
        lower = SearchOptions(
            data=_evaluation(recipe),
            metric=_metric(recipe),
            budget=DEFAULT_BUDGET if recipe.budget is None else recipe.budget,
            target=target,
            seconds=recipe.time,
            int8=recipe.int8,
            keep_io=not recipe.low_io,
            code=code_version(stage_module("search")),
        )
    else:
        lower = PrecisionOptions(precision=recipe.precision, rest=rest, int8=recipe.int8, keep_io=not recipe.low_io)
    stage = "search" if recipe.precision == AUTO else "precision"
    judged = {**original, **calibrations} if recipe.precision == AUTO else calibrations
    yield PlannedStage("precision", stage, lower, needs={**needs, **judged}, after=(expected,))
    yield comparison(recipe.precision, "compare precision", "precision", samples, expected, judged_by=JUDGE)
    if recipe.precision != AUTO:
        yield accuracy(recipe, {**needs, **original, "candidate": "precision"}, "compare precision")


def accuracy(recipe: Recipe, needs: dict[str, str], gate: str) -> PlannedStage:
    """The stage that measures the metric before and after."""
    options = AccuracyOptions(data=_evaluation(recipe), metric=_metric(recipe), budget=recipe.budget)
    return PlannedStage(JUDGE, "evaluate", options, needs=needs, after=(gate,))


def _evaluation(recipe: Recipe) -> DataOptions:
    return DataOptions(
        spec=recipe.eval,
        sources=data_sources(recipe.eval, "evaluation"),
        role="evaluation",
        examples=recipe.evaluated or (500 if recipe.eval else 32),
        seed=recipe.seed,
    )


def _metric(recipe: Recipe) -> MetricOptions:
    return MetricOptions(spec=recipe.metric, sources=metric_sources(recipe.metric))
