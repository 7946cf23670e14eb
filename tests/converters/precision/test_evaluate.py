"""A graph's metric beside the float32 graph's."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.samples import SampleSet
from enginesmith.converters.data import evaluation as evaluate
from enginesmith.converters.data.datasets import Dataset, open_dataset
from enginesmith.converters.data.evaluation import Evaluator
from enginesmith.converters.data.metrics import load_metric
from enginesmith.pipeline.job.shapes import parse_shapes

WEIGHTS = np.random.default_rng(0).standard_normal((16, 5)).astype(np.float32)
SAMPLES = SampleSet(task="classification", specs=parse_shapes("x:1x16"), samples=[])


def classifier(path: Path, weights: np.ndarray = WEIGHTS, body: str = "y = MatMul(x, w)") -> Path:
    text = f"""<ir_version: 8, opset_import: ["": 18]> g (float[1,16] x) => (float[1,5] y) {{ {body} }}"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(model, str(path))
    return path


def data(folder: Path, rows: int = 50, labels: bool = True) -> Dataset:
    x = np.random.default_rng(1).standard_normal((rows, 16)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, **({"labels": (x @ WEIGHTS).argmax(axis=1)} if labels else {}))
    return open_dataset(str(folder / "data.npz"), SAMPLES, role="evaluation", limit=rows, seed=0)


def test_scores_with_labels(tmp_path: Path) -> None:
    dataset = data(tmp_path)
    evaluator = Evaluator(classifier(tmp_path / "model.onnx"), dataset, load_metric("top1", "classification", True))
    assert evaluator.baseline == 1
    turned = classifier(tmp_path / "turned.onnx", -WEIGHTS)
    assert evaluator.score(turned) == 0
    assert evaluator.score(classifier(tmp_path / "same.onnx")) == 1, "a score takes nothing over from the one before"
    assert 0 < evaluator.seconds_per_score < 60
    record = evaluator.record(0.9)
    assert (record.metric, record.data, record.examples, record.weak) == ("top-1", "data.npz", 50, False)
    assert record.loss == pytest.approx(0.1)


def test_a_float32_graph_that_is_often_wrong(tmp_path: Path) -> None:
    dataset = data(tmp_path)
    worse = WEIGHTS + 1.5 * np.random.default_rng(2).standard_normal(WEIGHTS.shape).astype(np.float32)
    reference = classifier(tmp_path / "model.onnx", worse)
    by_labels = Evaluator(reference, dataset, load_metric("top1", "classification", True))
    assert 0.2 < by_labels.baseline < 0.9
    assert by_labels.score(classifier(tmp_path / "better.onnx")) == 1
    agreement = Evaluator(reference, data(tmp_path, labels=False), load_metric("top1", "classification", False))
    assert agreement.baseline == 1
    assert agreement.score(tmp_path / "better.onnx") == by_labels.baseline
    assert agreement.record(1).weak


def test_cosine_makes_no_use_of_labels(tmp_path: Path) -> None:
    evaluator = Evaluator(classifier(tmp_path / "model.onnx"), data(tmp_path), load_metric("cosine", "tensor", True))
    assert evaluator.record(1).weak


def test_the_graph_is_run_as_it_is_written(tmp_path: Path) -> None:
    """ONNX Runtime's optimizer takes the pair of Casts out, and the overflow with them."""
    low = "l = Cast<to = 10>(m) h = Cast<to = 1>(l) y = Mul(h, s)"
    evaluator = Evaluator(classifier(tmp_path / "model.onnx"), data(tmp_path), load_metric("cosine", "tensor", True))
    body = f"s = Constant<value = float {{1e-6}}>() b = Constant<value = float {{1e6}}>() n = MatMul(x, w) m = Mul(n, b) {low}"
    assert evaluator.score(classifier(tmp_path / "overflows.onnx", body=body)) == 0
    assert evaluator.score(classifier(tmp_path / "model.onnx")) == pytest.approx(1)


def test_large_outputs_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "IN_MEMORY", 1 << 16)
    kept = evaluate.Kept()
    arrays = [{"a": np.full((100, 1000), n, np.float32), "n": np.array(n)} for n in range(20)]
    gc.collect()
    tracemalloc.start()
    for outputs in arrays:
        kept.append(outputs)
    for _ in range(2):
        for before, after in zip(arrays, kept, strict=True):
            assert all(np.array_equal(before[name], after[name]) for name in ("a", "n"))
            assert [*after] == ["a", "n"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000, "of 8 MB"


def test_graphs_that_cannot_be_run(tmp_path: Path) -> None:
    dataset, metric = data(tmp_path), load_metric("top1", "classification", True)
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(ConversionError, match="ONNX Runtime can't load the float32 graph: "):
        Evaluator(tmp_path / "broken.onnx", dataset, metric)
    evaluator = Evaluator(classifier(tmp_path / "model.onnx"), dataset, metric)
    with pytest.raises(ConversionError, match=r"ONNX Runtime can't load broken\.onnx: "):
        evaluator.score(tmp_path / "broken.onnx")
    outside = "i = Shape(x) g = Gather<axis = 0>(x, i) y = MatMul(g, w)"
    with pytest.raises(ConversionError, match=r"ONNX Runtime can't run outside\.onnx: .*indices"):
        evaluator.score(classifier(tmp_path / "outside.onnx", body=outside))


def test_other_outputs(tmp_path: Path) -> None:
    evaluator = Evaluator(classifier(tmp_path / "model.onnx"), data(tmp_path), load_metric("cosine", "tensor", True))
    model = onnx.load(str(tmp_path / "model.onnx"))
    model.graph.node[0].output[0] = model.graph.output[0].name = "z"
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(ConversionError, match=r"the outputs y are gone; other\.onnx has z"):
        evaluator.score(tmp_path / "other.onnx")


def test_labels_that_are_not_the_models(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((50, 16), np.float32), labels=np.full(50, 5))
    dataset = open_dataset(str(tmp_path / "data.npz"), SAMPLES, role="evaluation", limit=50, seed=0)
    with pytest.raises(UserError, match=r"a target is class \[5\], and the model has 5 classes, numbered from 0"):
        Evaluator(classifier(tmp_path / "model.onnx"), dataset, load_metric("top1", "classification", True))


def test_labels_of_another_model(tmp_path: Path) -> None:
    dataset = data(tmp_path)
    turned = Evaluator(
        classifier(tmp_path / "turned.onnx", -WEIGHTS), dataset, load_metric("top1", "classification", True)
    )
    (warning,) = turned.warnings
    assert "is right on 0 of 50 labels" in warning
    right = Evaluator(classifier(tmp_path / "model.onnx"), dataset, load_metric("top1", "classification", True))
    assert right.warnings == []


def test_progress(tmp_path: Path) -> None:
    said: list[tuple[str, float | None]] = []
    metric = load_metric("top1", "classification", True)
    evaluator = Evaluator(
        classifier(tmp_path / "model.onnx"), data(tmp_path), metric, lambda *event: said.append(event)
    )
    assert said[0] == ("the float32 graph: example 1 of 50", 0)
    evaluator.score(classifier(tmp_path / "other.onnx"))
    assert said[-1] == ("other.onnx: example 50 of 50", 0.98)
