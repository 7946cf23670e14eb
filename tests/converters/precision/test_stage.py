"""The stage: files, facts, and what it refuses."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graphs import model, normal
from test_lower import IMAGE, NET, NET_WEIGHTS

from enginesmith.converters.errors import ConversionError
from enginesmith.converters.inputs import InputSpec
from enginesmith.converters.precision.stage import STAND_IN, Lower, PrecisionOptions
from enginesmith.converters.samples import Sample, SampleSet
from enginesmith.converters.stage import MODEL, Context


@pytest.fixture
def run(tmp_path):
    """Runs the stage on a model with the feed given; returns its facts and its folder."""

    def run(given, feed, precision="fp16"):
        source, out, scratch = (tmp_path / name for name in ("source", "out", "scratch"))
        for folder in (source, out, scratch):
            folder.mkdir()
        ir.save(given, source / MODEL)
        specs = tuple(InputSpec.static(n, a.shape) for n, a in feed.items())
        SampleSet(task="tensor", specs=specs, samples=[Sample(name="one")]).save(source, [OrderedDict(feed)])
        context = Context(out=out, scratch=scratch, cache=scratch)
        facts = Lower().run({"model": source, "samples": source}, PrecisionOptions(precision=precision), context)
        return facts, out

    return run


@pytest.mark.parametrize(("precision", "name"), [("fp16", "float16"), ("bf16", "bfloat16")])
def test_graph_and_stand_in_are_written(run, precision, name):
    facts, out = run(model(NET, **NET_WEIGHTS), IMAGE, precision)
    assert facts.note.startswith(f"3 of 3 products in {name}, 2 casts")
    assert facts.lowering.nodes_by_dtype == {name: 8, "float32": 1}
    assert facts.ops["Conv"] == 2
    weights = onnx.load(out / MODEL).graph.initializer
    assert {onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in weights} == {name.upper()}
    onnx.checker.check_model(str(out / STAND_IN), full_check=True)
    assert sorted(path.name for path in out.iterdir()) == [MODEL, STAND_IN]


def test_nothing_to_lower(run):
    given = model("net (float[1,4] x) => (float[1,4] y) { a = Relu (x)  y = Exp (a) }")
    with pytest.raises(ConversionError, match="nothing to lower"):
        run(given, {"x": normal(1, 4)})


def test_nothing_that_could_be_lowered(run):
    given = model("net (float[1,4] x) => (float[1,4] y) { y = MatMul (x, w) }", w=np.full((4, 4), 1e6, np.float32))
    with pytest.raises(ConversionError, match="asked fp16, 0 of 1 products are float16: 16 of 16 elements of w exceed"):
        run(given, {"x": normal(1, 4)})
