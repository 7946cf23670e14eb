"""The stages of a lower precision: files, facts, and what they refuse."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from graphs import model, normal
from lowered_nets import IMAGE, NET, NET_WEIGHTS

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Sample, SampleSet
from enginesmith.converters.core.stage import MODEL, Context
from enginesmith.converters.data.options import DataOptions, MetricOptions
from enginesmith.converters.precision.int8.calibration import Calibration
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.mix import STAND_IN
from enginesmith.converters.stages.calibrate import Calibrate, CalibrateOptions
from enginesmith.converters.stages.evaluate import AccuracyOptions, MeasureAccuracy
from enginesmith.converters.stages.precision import Lower, PrecisionOptions
from enginesmith.converters.stages.search import SearchMix, SearchOptions


class Road:
    """The stages in this process, each in a folder of its own."""

    def __init__(self, folder, given, feed, *, random_weights=False):
        self.folder = folder
        self.source = folder / "source"
        self.source.mkdir()
        ir.save(given, self.source / MODEL)
        specs = tuple(InputSpec.static(name, array.shape) for name, array in feed.items())
        samples = SampleSet(task="tensor", specs=specs, samples=[Sample(name="one")], random_weights=random_weights)
        samples.save(self.source, [OrderedDict(feed)])

    def context(self, name):
        out, scratch = self.folder / name, self.folder / f"{name}-scratch"
        out.mkdir()
        scratch.mkdir()
        return Context(out=out, scratch=scratch, cache=scratch)

    def data(self, role, examples=8, spec=""):
        return DataOptions(spec=spec, sources={}, role=role, examples=examples, seed=0)

    def lower(self, precision, *, equalize=False, spec="", **options):
        inputs = {"model": self.source, "samples": self.source}
        if precision != "bf16":
            context = self.context("calibrated")
            asked = CalibrateOptions(
                precision=precision,
                rest=options.get("rest", "fp16"),
                data=self.data("calibration", spec=spec),
                equalize=equalize,
            )
            Calibrate().run(inputs, asked, context)
            inputs["calibration"] = context.out
        context = self.context("lowered")
        return Lower().run(inputs, PrecisionOptions(precision=precision, **options), context), context.out

    def accuracy(self, budget=None):
        inputs = {"model": self.source, "samples": self.source, "candidate": self.folder / "lowered"}
        asked = AccuracyOptions(
            data=self.data("evaluation"), metric=MetricOptions(spec="cosine", sources={}), budget=budget
        )
        return MeasureAccuracy().run(inputs, asked, self.context("accuracy"))


@pytest.fixture
def road(tmp_path):
    return Road(tmp_path, model(NET, **NET_WEIGHTS), IMAGE)


@pytest.mark.parametrize(("precision", "name"), [("fp16", "float16"), ("bf16", "bfloat16")])
def test_graph_and_stand_in_are_written(road, precision, name):
    facts, out = road.lower(precision)
    assert facts.note.startswith(f"3 products: 3 {name}; 2 casts")
    assert facts.lowering.nodes_by_dtype == {name: 8, "float32": 1}
    assert facts.ops["Conv"] == 2
    weights = onnx.load(out / MODEL).graph.initializer
    assert {onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in weights} == {name.upper()}
    onnx.checker.check_model(str(out / STAND_IN), full_check=True)
    assert sorted(path.name for path in out.iterdir()) == [MODEL, STAND_IN]


@pytest.mark.parametrize("rest", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("equalize", [False, True])
def test_integers_beside_each_rest(road, rest, equalize):
    facts, out = road.lower("int8", rest=rest, equalize=equalize)
    assert facts.lowering.products_by_dtype == {"int8": 3}
    lowest = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[rest]
    assert facts.lowering.nodes_by_dtype[lowest] >= 8
    assert facts.lowering.weights_after < 0.4 * facts.lowering.weights_before
    assert (out / STAND_IN).exists() == (rest != "fp32"), "integers run in ONNX Runtime as they are"
    found = road.accuracy()
    assert found.accuracy.before == 1
    assert found.accuracy.after > 0.98
    assert found.accuracy.weak


def test_weights_alone(road):
    facts, out = road.lower("int8", rest="fp16", int8=Int8Options(weight_only=True))
    assert facts.lowering.products_by_dtype == {"int8 weights": 3}
    assert facts.ops.get("QuantizeLinear", 0) == 0
    assert onnxruntime.InferenceSession(str(out / STAND_IN), providers=["CPUExecutionProvider"])


def test_what_is_kept_has_its_reason(road):
    facts, _ = road.lower("int8", int8=Int8Options(keep=("last",)))
    assert facts.lowering.products_by_dtype == {"int8": 2, "float16": 1}
    assert [(kept.op, kept.reason) for kept in facts.lowering.kept] == [("Gemm", "kept: last")]


def test_what_is_kept_stays_in_float32(road):
    facts, _ = road.lower("fp16", keep=("first", "Gemm"))
    assert facts.lowering.products_by_dtype == {"float16": 1, "float32": 2}


def test_a_calibration_knows_its_graph_and_every_range(road):
    road.lower("int8")
    calibration = Calibration.load(road.folder / "calibrated")
    names = {value.name for node in ir.load(road.folder / "calibrated" / MODEL).graph for value in node.outputs}
    assert names <= set(calibration.peaks)
    assert calibration.samples == 8
    assert all(counts.sum() > 0 for counts in calibration.histograms.values())


def test_a_loss_beyond_the_budget_is_no_pass(road):
    road.lower("int8")
    accuracy = road.accuracy(budget=0.0).accuracy
    assert accuracy.loss > 0
    assert not accuracy.passed


def test_random_weights_prove_nothing_and_fail_nothing(tmp_path):
    """They are lowered all the same, and nothing is measured or searched for, whatever the budget."""
    road = Road(tmp_path, model(NET, **NET_WEIGHTS), IMAGE, random_weights=True)
    facts, out = road.lower("int8")
    assert facts.lowering.products_by_dtype == {"int8": 3}
    assert (facts.doubt.verified, facts.doubt.reason.split(":")[0]) == ("proves nothing", "random weights")
    judged = road.accuracy(budget=0.0)
    assert (judged.accuracy, judged.shortcoming, judged.warnings, judged.doubt) == (None, None, [], facts.doubt)
    inputs = {"model": road.source, "samples": road.source, "calibration": road.folder / "calibrated"}
    asked = SearchOptions(
        data=road.data("evaluation"),
        metric=MetricOptions(spec="", sources={}),
        budget=0.0,
        target="sm_89",
        rest="fp16",
        seconds=60,
        int8=Int8Options(),
        code="",
    )
    context = road.context("searched")
    found = SearchMix().run(inputs, asked, context)
    assert (found.search, found.accuracy, found.shortcoming, found.doubt) == (None, None, None, facts.doubt)
    assert found.lowering == facts.lowering
    assert (context.out / MODEL).read_bytes() == (out / MODEL).read_bytes()


def test_nothing_to_lower(tmp_path):
    given = model("net (float[1,4] x) => (float[1,4] y) { a = Relu (x)  y = Exp (a) }")
    with pytest.raises(UserError, match="asked fp16, and the graph has nothing to lower"):
        Road(tmp_path, given, {"x": normal(1, 4)}).lower("fp16")


def test_nothing_to_quantize(tmp_path):
    """A product of two activations has no weights to save."""
    given = model("net (float[4,4] x) => (float[4,4] y) { t = Transpose (x)  y = MatMul (x, t) }")
    with pytest.raises(UserError, match="asked int8, and the graph has nothing to quantize: of 1 products, 1 can't be"):
        Road(tmp_path, given, {"x": normal(4, 4)}).lower("int8")


def test_nothing_that_could_be_lowered(tmp_path):
    given = model("net (float[1,4] x) => (float[1,4] y) { y = MatMul (x, w) }", w=np.full((4, 4), 1e6, np.float32))
    with pytest.raises(ConversionError, match="asked fp16, 0 of 1 products are float16: 16 of 16 elements of w exceed"):
        Road(tmp_path, given, {"x": normal(1, 4)}).lower("fp16")
