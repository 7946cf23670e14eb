"""The stage behind `enginesmith sensitivity`: the loss of each layer alone in a lower precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.facts import Facts
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.hashing import code_version
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.records import SensitivityRecord
from enginesmith.converters.core.stage import MODEL, Context, Stage
from enginesmith.converters.core.user_files import files_read
from enginesmith.converters.data.options import DataOptions, MetricOptions, described
from enginesmith.converters.precision.int8.options import Int8Options

FILE = "sensitivity.json"
"""Of the artifact: a `SensitivityRecord`."""
PRECISIONS = ("int8", "fp16")
MOST = 32
"""Examples, where time allows: they are held in memory."""


class SensitivityOptions(Options):
    """`seconds` to spend, after which the layers that save least are left out."""

    precision: Literal["int8", "fp16"]
    data: DataOptions
    metric: MetricOptions
    target: str
    seconds: float
    int8: Int8Options
    code: str
    """Version of the code: what was evaluated by another one is not remembered."""


class MeasureSensitivity(Stage[SensitivityOptions]):
    """The artifact is the record. Ctrl-C takes the layers measured so far."""

    name = "sensitivity"
    options = SensitivityOptions
    packages = ("onnx", "onnx-ir", "onnxscript", "onnxruntime", "onnxruntime-gpu", "ml-dtypes", "pillow")
    interruptible = True

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        if recipe.precision not in PRECISIONS:
            raise UserError(f"precision = {recipe.precision!r}: layers are lowered to one of {', '.join(PRECISIONS)}")
        options = SensitivityOptions(
            precision=recipe.precision,  # type: ignore[arg-type]
            data=DataOptions.evaluation(recipe),
            metric=MetricOptions.asked(recipe),
            target=so_far.estimated,
            seconds=recipe.time,
            int8=Int8Options.asked(recipe),
            code=code_version(__name__),
        )
        needs = so_far.needs("model", "samples", "calibration")
        yield PlannedStage(self.name, self.name, options, needs=needs, after=(so_far.roles["expected"],))

    def run(self, inputs: Mapping[str, Path], options: SensitivityOptions, context: Context) -> Facts:
        import time

        from enginesmith.converters.precision.cost import with_shapes
        from enginesmith.converters.precision.judges import timely_judge
        from enginesmith.converters.precision.layer_losses import layers_of, measure
        from enginesmith.converters.precision.trial import Ground, Trials

        until = time.monotonic() + options.seconds
        samples = described(inputs["samples"])
        shapes = {spec.name: spec.opt for spec in samples.specs}
        dataset = options.data.open(inputs["samples"])
        metric = options.metric.load(samples.task, dataset.labelled, inputs["model"] / MODEL)
        ground = Ground.load(inputs["calibration"])
        layers = layers_of(ground.model, with_shapes(ground.model, shapes), options.target)
        barred = {layer.name: layer.barred for layer in layers if layer.barred and options.precision == "int8"}
        if len(barred) == len(layers):
            why = f": {next(iter(barred.values()))}" if barred else ""
            raise UserError(f"the graph has no layer for {options.precision}{why}")
        runs = len(layers) - len(barred)
        judge = timely_judge(inputs["model"] / MODEL, dataset, metric, MOST, runs, options.seconds)
        trials = Trials(
            plain=ground,
            equalized=None,
            target=options.target,
            identity=_identity(inputs, options),
            scratch=context.scratch,
            cache=context.cache,
            shapes=shapes,
        )
        found = measure(
            trials,
            judge,
            layers,
            options.precision,
            options.int8,
            lambda: context.stopped() or time.monotonic() > until,
            context.progress,
        )
        if not found.losses:
            raise ConversionError(f"none of {runs} layers was measured in {options.seconds:.0f} s", "give more --time")
        record = SensitivityRecord(
            precision=options.precision,
            metric=metric.name,
            data=dataset.name,
            examples=judge.examples,
            weak=not (dataset.labelled and metric.takes_targets),
            baseline=judge.baseline,
            target=options.target,
            layers=found.losses,
            left=found.left,
            barred=barred,
        )
        (context.out / FILE).write_text(record.model_dump_json(indent=1))
        worst = found.losses[0]
        note = f"{len(found.losses)} layers on {judge.examples} examples; worst {worst.node}: {worst.loss:+.4f}"
        return Facts(warnings=list(dataset.warnings), source_files=files_read(), note=note)


def _identity(inputs: Mapping[str, Path], options: SensitivityOptions) -> str:
    """Whatever a loss depends on, but for the mix."""
    files = [inputs[role] / MODEL for role in ("model", "calibration")]
    given = (options.data.model_dump_json(), options.metric.model_dump_json(), options.code)
    return " ".join([*map(hash_file, files), *given])
