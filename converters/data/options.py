"""What stages are given by the user: samples, examples to calibrate and to measure on, and a metric."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.recipe import SAMPLES as SAMPLE_COUNT
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.core.samples import SAMPLES, Feed, Pixels, SampleSet
from enginesmith.converters.core.stage import MODEL, Context
from enginesmith.converters.core.stamps import unchanged
from enginesmith.converters.data.datasets import data_code, data_sources
from enginesmith.converters.data.metrics import metric_sources

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from enginesmith.converters.data.datasets import Dataset
    from enginesmith.converters.data.evaluation import Evaluator
    from enginesmith.converters.data.metrics import Metric


class DataOptions(Options):
    """Where examples come from: `spec` as the user gives it (empty: the pictures shipped with the package), at most
    `examples` of them. `sources` are the files that it reads with their SHA-256, and only make a key.
    """

    spec: str
    sources: dict[str, str]
    code: str = ""
    """Makes a key too: of data that a module of ours draws."""
    role: Literal["calibration", "evaluation"]
    examples: int
    seed: int

    @classmethod
    def calibration(cls, recipe: Recipe, examples: int | None = None) -> DataOptions:
        """What a recipe calibrates on; at most so many `examples`, its own number where left out."""
        sources = data_sources(recipe.calib, "calibration")
        most = recipe.examples if examples is None else examples
        code = data_code(recipe.calib)
        return cls(spec=recipe.calib, sources=sources, code=code, role="calibration", examples=most, seed=recipe.seed)

    @classmethod
    def evaluation(cls, recipe: Recipe) -> DataOptions:
        """What a recipe measures the accuracy on."""
        return cls(
            spec=recipe.eval,
            sources=data_sources(recipe.eval, "evaluation"),
            code=data_code(recipe.eval),
            role="evaluation",
            examples=recipe.evaluated or (500 if recipe.eval else 32),
            seed=recipe.seed,
        )

    def open(self, samples: Path) -> Dataset:
        """The `Dataset`, for the inputs that the artifact `samples` describes. Raises UserError."""
        from enginesmith.converters.data.datasets import open_dataset

        with unchanged(self.sources):  # it is all read now, and held against that whenever it is read again
            known, pattern = _pattern(samples) if not self.spec else (described(samples), None)
            return open_dataset(self.spec, known, role=self.role, limit=self.examples, seed=self.seed, pattern=pattern)


class OwnOptions(Options):
    """Samples that the user gives: `spec` names them, empty for none. `sources` and `code` only make a key."""

    spec: str = ""
    sources: dict[str, str] = Field(default_factory=dict)
    code: str = ""

    @classmethod
    def asked(cls, recipe: Recipe) -> OwnOptions:
        """Raises UserError for a place where there are none."""
        spec = recipe.samples
        if isinstance(spec, int):
            return cls()
        return cls(spec=spec, sources=data_sources(spec, "samples"), code=data_code(spec))

    def read(self, specs: Sequence[InputSpec], task: str, pixels: Pixels) -> list[tuple[str, Feed]]:
        """Each with what it is called. Raises UserError for what doesn't fit the model."""
        from enginesmith.converters.data.datasets.given import read_samples

        if not self.spec:
            return []
        with unchanged(self.sources):
            return read_samples(self.spec, SampleSet(task=task, pixels=pixels, specs=tuple(specs), samples=[]))


def sample_count(recipe: Recipe) -> int:
    """How many inputs a comparison runs on, at least."""
    return recipe.samples if isinstance(recipe.samples, int) else SAMPLE_COUNT


class MetricOptions(Options):
    """A metric as the user gives it, empty for the task's own. `sources` is the user's file with its SHA-256, and only
    makes a key.
    """

    spec: str
    sources: dict[str, str]

    @classmethod
    def asked(cls, recipe: Recipe) -> MetricOptions:
        """What a recipe is judged by."""
        return cls(spec=recipe.metric, sources=metric_sources(recipe.metric))

    def load(self, task: str, labelled: bool, graph: Path) -> Metric:
        """For what a graph gives out. Raises UserError for one that can't be had on such data."""
        import onnx

        from enginesmith.converters.data.metrics import load_metric

        outputs = onnx.load(graph, load_external_data=False).graph.output
        kinds = [onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).kind for value in outputs]
        with unchanged(self.sources):
            return load_metric(self.spec, task, labelled, whole=all(kind in "iu" for kind in kinds))


def described(samples: Path) -> SampleSet:
    """What the artifact `samples` says of the model's inputs and its task."""
    return SampleSet.model_validate_json((samples / SAMPLES).read_bytes())


def _pattern(samples: Path) -> tuple[SampleSet, Feed | None]:
    """And an input of the user's, at the optimum shape, if there is any."""
    known, feeds = SampleSet.load(samples)
    own = (feed for sample, feed in zip(known.samples, feeds, strict=True) if sample.own and sample.optimum)
    return known, next(own, None)


def open_evaluator(data: DataOptions, metric: MetricOptions, inputs: Mapping[str, Path], context: Context) -> Evaluator:
    """What scores graphs against the float32 graph, as it was before any fine-tuning. Raises UserError for data or a
    metric that don't fit the model.
    """
    from enginesmith.converters.data.evaluation import Evaluator

    dataset, graph = data.open(inputs["samples"]), inputs.get("original", inputs["model"]) / MODEL
    judge = metric.load(described(inputs["samples"]).task, dataset.labelled, graph)
    return Evaluator(graph, dataset, judge, context.progress)
