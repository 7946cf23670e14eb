"""Trials, judges and the sensitivity of layers, on a small network that really runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from graphs import model, normal

from enginesmith.converters.data.datasets import Example
from enginesmith.converters.data.evaluation import Evaluator
from enginesmith.converters.data.metrics import Metric, load_metric
from enginesmith.converters.precision.int8.calibration import calibrate
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.int8.placement import observed
from enginesmith.converters.precision.judges import FEWEST, Few, Judge, Watched, quick_judge
from enginesmith.converters.precision.layer_losses import alone, layers_of, measure
from enginesmith.converters.precision.lower import prepare
from enginesmith.converters.precision.mix import Mix
from enginesmith.converters.precision.mix_search import search
from enginesmith.converters.precision.trial import Ground, Trials

TEXT = """g (float[1,4,8,8] x) => (float[1,5] y) {
    a = Conv<pads=[1,1,1,1]>(x, wa)
    b = Relu(a)
    c = Conv<pads=[1,1,1,1]>(b, wc)
    d = GlobalAveragePool(c)
    e = Flatten(d)
    y = Gemm(e, wy)
}"""


class Data:
    """Random inputs; a dataset as far as an evaluator needs one."""

    name, weak, made_up, labelled, rows = "random", True, True, False, 24
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Example]:
        for seed in range(self.rows):
            yield Example({"x": normal(1, 4, 8, 8, seed=seed)}, None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def prepared() -> ir.Model:
    """Its second convolution has weights whose small ones int8 loses: in one channel both sizes occur."""
    uneven = normal(6, 6, 3, 3, scale=0.1, seed=2)
    uneven[:, 0] *= 2000
    weights = {"wa": normal(6, 4, 3, 3, seed=1), "wc": uneven, "wy": normal(6, 5, seed=3)}
    quiet = normal(6, 4, 3, 3, seed=1)
    quiet[0] *= 1e-4
    return prepare(model(TEXT, **weights | {"wa": quiet}), "auto")


@pytest.fixture(scope="module")
def reference(prepared: ir.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "model.onnx"
    ir.save(prepared, path)
    return path


@pytest.fixture(scope="module")
def evaluator(reference: Path) -> Evaluator:
    return Evaluator(reference, Data(), load_metric("", "tensor", False), threads=1)  # type: ignore[arg-type]


@pytest.fixture
def trials(prepared: ir.Model, tmp_path: Path) -> Trials:
    (tmp_path / "calibration").mkdir()
    feeds = lambda: (example.feed for example in Data())  # noqa: E731
    calibration = calibrate(prepared, feeds, tmp_path / "calibration", observed(prepared))
    return Trials(Ground(prepared, calibration), None, "sm_89", "a model", tmp_path / "scratch", tmp_path / "cache")


def test_the_layer_with_uneven_weights_is_the_most_sensitive_one(
    trials: Trials, prepared: ir.Model, evaluator: Evaluator, reference: Path
) -> None:
    layers = layers_of(prepared, prepared, "sm_89")
    assert [layer.op for layer in layers] == ["Conv", "Conv", "Gemm"]
    assert all(not layer.barred and layer.saved("int8", "fp32") > 0 for layer in layers)
    quick = quick_judge(reference, evaluator, 3, None)
    found = measure(trials, quick, layers, "int8", Int8Options(), lambda: False, lambda text, fraction: None)
    assert found.left == []
    assert found.losses[0].node == layers[1].name
    assert found.losses[0].error > 3 * found.losses[1].error > 0
    halves = measure(trials, quick, layers, "fp16", Int8Options(), lambda: False, lambda text, fraction: None)
    assert {loss.node for loss in halves.losses} == {layer.name for layer in layers}
    assert max(loss.error for loss in halves.losses) < found.losses[0].error / 10


def test_when_stopped_the_most_expensive_layers_were_measured(
    trials: Trials, prepared: ir.Model, evaluator: Evaluator, reference: Path
) -> None:
    layers = layers_of(prepared, prepared, "sm_89")
    quick = quick_judge(reference, evaluator, 3, None)
    found = measure(trials, quick, layers, "int8", Int8Options(), lambda: trials.made == 2, lambda text, fraction: None)
    dear = sorted(layers, key=lambda layer: -layer.saved("int8", "fp32"))
    assert {loss.node for loss in found.losses} == {layer.name for layer in dear[:2]}
    assert found.left == [dear[2].name]


def test_a_trial_is_remembered_and_a_damaged_memory_is_made_anew(trials: Trials, evaluator: Evaluator) -> None:
    judge, mix = Judge(evaluator), Mix(rest="fp16")
    first = trials.run(judge, mix, Int8Options())
    assert trials.run(judge, mix, Int8Options(method="entropy")) == first, "without int8 its options mean nothing"
    assert trials.made == 1
    [file] = trials.cache.iterdir()
    file.write_text("{")
    assert trials.run(judge, mix, Int8Options()) == first
    assert trials.made == 2
    trials.identity = "another model"
    trials.run(judge, mix, Int8Options())
    assert trials.made == 3
    assert list(trials.scratch.iterdir()) == []


def test_a_graph_that_is_refused_is_an_outcome(trials: Trials, evaluator: Evaluator, monkeypatch: Any) -> None:
    from enginesmith.converters.core.errors import ConversionError
    from enginesmith.converters.precision import mix

    def refuse(*_: object) -> None:
        raise ConversionError("the lowered graph is refused: because")

    monkeypatch.setattr(mix, "write", refuse)
    outcome = trials.run(Judge(evaluator), Mix(rest="fp16"), Int8Options())
    assert outcome.failed == "the lowered graph is refused: because"
    assert list(trials.scratch.iterdir()) == []


def test_the_lowest_mix_is_smaller_faster_and_worse(trials: Trials, prepared: ir.Model, evaluator: Evaluator) -> None:
    names = [layer.name for layer in layers_of(prepared, prepared, "sm_89")]
    wide, half = trials.wide(), trials.run(Judge(evaluator), Mix(rest="fp16"), Int8Options())
    low = trials.run(Judge(evaluator), Mix(rest="fp16", int8=tuple(names)), Int8Options())
    assert wide.size > half.size > low.size > 0
    assert wide.milliseconds > half.milliseconds > low.milliseconds > 0
    assert evaluator.baseline >= half.accuracy > low.accuracy
    assert low.products == {"int8": 3}


def test_search_raises_the_sensitive_layer_alone(
    trials: Trials, prepared: ir.Model, evaluator: Evaluator, reference: Path
) -> None:
    layers = layers_of(prepared, prepared, "sm_89")
    quick = quick_judge(reference, evaluator, 3, None)
    judge = Judge(evaluator)
    lowest = trials.run(judge, Mix(rest="fp16", int8=tuple(layer.name for layer in layers)), Int8Options())
    budget = (evaluator.baseline - lowest.accuracy) / 4
    mix, _, record = search(trials, judge, quick, layers, budget)
    assert set(mix.int8) == {layers[0].name, layers[2].name}
    assert list(record.reasons) == [layers[1].name]
    made = trials.made
    again = search(trials, judge, quick, layers, budget)
    assert again[0] == mix
    assert again[2] == record
    assert trials.made == made, "a second search evaluates nothing"


def test_alone_lowers_one_product() -> None:
    assert alone("b", "int8", "abc") == Mix(rest="fp32", int8=("b",))
    assert alone("b", "fp16", "abc") == Mix(rest="fp16", wide=("a", "c"))


# Judges


def test_few_examples_are_spread_over_all() -> None:
    few = Few(Data(), 5)
    everything = [example.feed["x"] for example in Data()]
    assert len(few) == 5
    for example, index in zip(few, (0, 4, 9, 14, 19), strict=True):
        assert np.array_equal(example.feed["x"], everything[index])
    assert len(list(few)) == 5, "it can be iterated again"
    assert len(Few(Data(), 100)) == Data.rows


def test_a_watched_metric_counts_the_errors_of_the_latest_run_alone(prepared: ir.Model) -> None:
    inner = load_metric("cosine", "tensor", False)
    watched = Watched(inner)
    assert isinstance(watched, Metric)
    assert (watched.name, watched.takes_targets) == (inner.name, inner.takes_targets)
    for size in (1.0, 0.5):
        run = watched.fresh()
        run.add({"y": normal(4) * np.float32(1 + size)}, {"y": normal(4)}, None)
        assert run.value() == pytest.approx(1.0)
        assert watched.errors == pytest.approx([size])


def test_a_judge_tells_the_error_of_the_graph_that_it_scored_last(evaluator: Evaluator, reference: Path) -> None:
    quick = quick_judge(reference, evaluator, 3, None)
    assert quick.score(reference) == pytest.approx(quick.baseline)
    assert quick.error == 0


def test_little_time_takes_few_examples(evaluator: Evaluator, reference: Path) -> None:
    assert quick_judge(reference, evaluator, 1000, 0.001).examples == FEWEST
    assert quick_judge(reference, evaluator, 1, 3600.0).examples == 16
