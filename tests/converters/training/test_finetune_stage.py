"""The stage, and what the stages after it make of its weights: the export, the simplifier, int8."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import stages
import torch
from stripes import Net, stripes, unbalanced

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.data.options import DataOptions
from enginesmith.converters.data.samples import make_samples
from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.graphs.sparsity import sparsity
from enginesmith.converters.precision.int8.calibration import Calibration, calibrate
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.int8.placement import observed
from enginesmith.converters.precision.int8.quantize import quantize
from enginesmith.converters.precision.lower import prepare
from enginesmith.converters.stages.export import Export, ExportOptions
from enginesmith.converters.stages.finetune import Finetune, FinetuneOptions
from enginesmith.converters.torch_models.prepare import WEIGHTS
from enginesmith.converters.training.ranges import trained_ranges
from enginesmith.converters.training.record import FineTuning
from enginesmith.pipeline.job.shapes import parse_shapes

MODEL_OPTIONS = {
    "kind": "factory-file",
    "weights": "auto",
    "weights_sha256": "",
    "trust": False,
    "seed": 0,
}
JOB = """
import json
from pathlib import Path

import torch
from stripes import Net, accuracy, train

def factory():
    model = Net()
    model.load_state_dict(torch.load(Path(__file__).parent / "weights.pt"))
    return model, torch.zeros(8, 1, 10, 10)

def longer(model):
    yield from train(model)
    (Path(__file__).parent / "accuracy.json").write_text(json.dumps(accuracy(model)))

def shorter(model):
    return train(model, 3)

def nothing(model):
    pass

def bare():
    return torch.nn.Sequential(torch.nn.ReLU())

def detector():
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large
    return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)

def narrow():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 6, 1), torch.nn.Conv2d(6, 6, 1, groups=6))
"""


@pytest.fixture
def job(tmp_path: Path, trained: Net) -> Path:
    """A file with the model, int8's worst case of it, and functions that train it."""
    torch.save(unbalanced(trained, 128.0).state_dict(), tmp_path / "weights.pt")
    path = tmp_path / f"job_{tmp_path.name}.py"
    path.write_text(JOB)
    return path


Made = tuple[Path, FineTuning, list[str]]
Tune = Callable[..., Made]


@pytest.fixture
def tune(job: Path, tmp_path: Path) -> Tune:
    numbers = count()

    def run(function: str, factory: str = "factory", **asked: Any) -> Made:
        folder = tmp_path / f"finetuned{next(numbers)}"
        options = MODEL_OPTIONS | {
            "ref": factory,
            "path": job,
            "sha256": hash_file(job),
            "function": function,
            "function_path": job if function else None,
            "function_sha256": hash_file(job) if function else "",
            "data": None,
            "qat": False,
            "sparse": False,
        }
        facts = Finetune().run(
            {"samples": tmp_path / "samples"}, FinetuneOptions.model_validate(options | asked), stages.context(folder)
        )
        assert str(job) in facts.source_files
        return folder, FineTuning.load(folder), facts.warnings

    return run


def export(job: Path, exporter: str, finetuned: Path | None = None) -> Path:
    """The folder of the graph, with the weights of a fine-tuning or without."""
    folder = job.parent / ("original" if finetuned is None else f"{finetuned.name}-graph")
    options = MODEL_OPTIONS | {
        "ref": "factory",
        "path": job,
        "sha256": hash_file(job),
        "stock": False,
        "proposals": None,
        "exporter": exporter,
        "opset": 18,
        "inputs": (),
        "samples": 1,
        "task": "auto",
    }
    inputs = {} if finetuned is None else {"finetuned": finetuned}
    facts = Export().run(inputs, ExportOptions.model_validate(options), stages.context(folder))
    assert facts.weights is not None
    if finetuned is not None:
        assert (facts.weights.origin, facts.weights.sha256) == ("file", hash_file(finetuned / WEIGHTS))
        assert facts.weights.detail.startswith("fine-tuned from model weights")
    return folder


def accuracy(graph: Path) -> float:
    """In ONNX Runtime, on what `stripes.accuracy` measures."""
    pictures, labels = stripes(2048, 2)
    session = onnxruntime.session(graph, optimize=False)
    name = session.get_inputs()[0].name
    answers = [session.run(None, {name: pictures[at : at + 8].numpy()})[0] for at in range(0, 2048, 8)]
    return float((np.concatenate(answers).argmax(1) == labels.numpy()).mean())


def to_int8(graph: Path, folder: Path, record: FineTuning | None) -> float:
    """Accuracy after quantization by the trained ranges, or by calibration where there is no record."""
    model = prepare(ir.load(graph / MODEL), "int8")
    pictures, _ = stripes(256, 3)
    name = model.graph.inputs[0].name
    calibration = calibrate(
        model, lambda: ({name: pictures[at : at + 8].numpy()} for at in range(0, 256, 8)), folder, observed(model)
    )
    if record is not None:
        calibration.fixed, lost = trained_ranges(model, record)
        assert lost == []
        assert len(calibration.fixed) == 4
        calibration.save(folder)
        calibration = Calibration.load(folder)
    assert len(quantize(model, None, calibration, Int8Options(equalize=False)).nodes) == 4
    ir.save(model, folder / "int8.onnx")
    return accuracy(folder / "int8.onnx")


def test_int8_is_as_good_as_the_training_was(job: Path, tune: Tune, tmp_path: Path) -> None:
    graph = export(job, "torchscript")
    before, lost = accuracy(graph / MODEL), to_int8(graph, tmp_path, None)
    assert lost < before - 0.1, "there is nothing to recover"
    folder, record, warnings = tune("longer", qat=True)
    assert (record.steps, len(record.losses), warnings) == (100, 100, [])
    recovered = to_int8(export(job, "torchscript", folder), tmp_path, record)
    assert recovered > lost + 0.5 * (before - lost)
    told = float((job.parent / "accuracy.json").read_text())
    assert recovered == pytest.approx(told, abs=0.002)


def test_zeros_outlive_the_export_the_simplifier_and_int8(job: Path, tune: Tune, tmp_path: Path) -> None:
    folder, record, _ = tune("shorter", qat=True, sparse=True)
    simple = tmp_path / "simple"
    stages.simplify(simple, export(job, "dynamo", folder), "input:8x1x10x10")
    assert len(sparsity(simple / MODEL).sparse) == len(record.pruned) == 3
    to_int8(simple, tmp_path, record)
    assert len(sparsity(tmp_path / "int8.onnx").sparse) == 3


def test_without_a_function_it_learns_from_itself(tmp_path: Path, tune: Tune) -> None:
    samples, feeds = make_samples(parse_shapes("input:8x1x10x10"), "tensor", 1, 0)
    (tmp_path / "samples").mkdir()
    samples.save(tmp_path / "samples", feeds)
    np.save(tmp_path / "data.npy", stripes(64, 3)[0].numpy())
    data = DataOptions(spec=str(tmp_path / "data.npy"), sources={}, role="calibration", examples=64, seed=0)
    _, record, _ = tune("", sparse=True, data=data)
    assert record.function == "distillation on data.npy"
    assert record.steps == 150
    assert sum(record.losses[-15:]) < 0.7 * sum(record.losses[:15])


def test_a_detector_cant_learn_from_itself(tune: Tune) -> None:
    data = DataOptions(spec="", sources={}, role="calibration", examples=64, seed=0)
    with pytest.raises(UserError, match="a detector learns from labelled boxes"):
        tune("", factory="detector", sparse=True, data=data)


def test_what_did_nothing_is_said(tune: Tune) -> None:
    assert tune("nothing", qat=True)[2][0].endswith(":nothing has changed no weight")
    _, record, warnings = tune("", sparse=True)
    assert warnings == ["pruned and not trained since (--finetune none): expect the accuracy to fall"]
    assert (record.function, record.pruned) == ("", ["3", "6", "11"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"function": "shortest", "qat": True}, "has no function 'shortest'; it has shorter"),
        ({"function": "shorter", "factory": "bare", "qat": True}, "no convolution and no linear layer"),
        ({"function": "shorter", "factory": "narrow", "sparse": True}, r"no layer can be 2:4 sparse \(0: 3 input"),
    ],
)
def test_a_request_that_cant_be_met(tune: Tune, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tune(**asked)
