"""The fp16 and bf16 rewrite: what is lowered, with how many casts, and that the results hold."""

from __future__ import annotations

import time

import numpy as np
import onnx_ir as ir
import pytest
from graphs import casts, dtypes, lowered, model, normal, run, run_stand_in
from lowered_nets import BRANCHES, IMAGE, NET, NET_WEIGHTS

from enginesmith.compat import interface
from enginesmith.converters.precision.lower import lower, prepare
from enginesmith.converters.precision.ranges import measure_ranges


@pytest.fixture
def net():
    return model(NET, **NET_WEIGHTS)


@pytest.mark.parametrize(("precision", "name", "close"), [("fp16", "float16", 2e-3), ("bf16", "bfloat16", 2e-2)])
def test_a_network_is_lowered_whole(net, tmp_path, precision, name, close):
    made, report = lowered(net, IMAGE, tmp_path, precision)
    assert set(dtypes(made).values()) == {name}
    assert [(node.inputs[0].dtype.name, node.outputs[0].dtype.name) for node in casts(made)] == [
        ("FLOAT", name.upper()),
        (name.upper(), "FLOAT"),
    ], "one on the way in, one on the way out"
    assert report.weights_after * 2 == report.weights_before
    assert (report.products_by_dtype, report.kept) == ({name: 3}, [])
    (before,), (after,) = run(net, IMAGE), run_stand_in(made, IMAGE, precision)
    assert after.dtype == np.float32
    assert 0 < np.abs(after - before).max() < close * np.abs(before).max()


def test_names_and_types_of_inputs_and_outputs_are_kept(net, tmp_path):
    made, _ = lowered(net, IMAGE, tmp_path)
    assert [(value.name, value.dtype.name) for value in (*made.graph.inputs, *made.graph.outputs)] == [
        ("x", "FLOAT"),
        ("y", "FLOAT"),
    ]


def test_inputs_and_outputs_are_lowered_on_request(net, tmp_path):
    made, _ = lowered(net, IMAGE, tmp_path, keep_io=False)
    assert [value.dtype.name for value in (*made.graph.inputs, *made.graph.outputs)] == ["FLOAT16", "FLOAT16"]
    assert list(casts(made)) == []
    (out,) = run_stand_in(made, IMAGE)
    assert out.dtype == np.float32, "the stand-in takes and gives what the model did"
    assert np.allclose(out, run(net, IMAGE)[0], atol=0.05)
    assert np.array_equal(out, out.astype(np.float16).astype(np.float32)), "rounded all the same"


def test_engines_of_lowered_inputs_and_outputs_take_what_the_model_did(net, tmp_path):
    made, _ = lowered(net, IMAGE, tmp_path, keep_io=False)
    proto = ir.to_proto(made)
    fed = interface.fed(proto, IMAGE)
    assert fed["x"].dtype == np.float16
    outputs = interface.fetched(proto, {"y": np.ones((1, 4), np.float16)})
    assert outputs["y"].dtype == np.float32


def test_a_value_is_cast_once_however_many_read_it(tmp_path):
    given = model(
        """
        net (float[2,4] x) => (float[2,4] y)
        { n = LayerNormalization (x, g)  a = MatMul (n, w)  b = MatMul (n, v)  s = Add (a, b)  y = MatMul (s, w) }
        """,
        g=np.ones(4, np.float32),
        w=normal(4, 4),
        v=normal(4, 4, seed=1),
    )
    made, _ = lowered(given, {"x": normal(2, 4)}, tmp_path)
    assert sum(1 for _ in casts(made)) == 2


def test_casts_that_were_there_are_joined_with_ours(tmp_path):
    given = model("net (uint8[1,4] x) => (float[1,4] y) { f = Cast <to = 1> (x)  y = MatMul (f, w) }", w=normal(4, 4))
    made, _ = lowered(given, {"x": np.array([[1, 2, 3, 4]], np.uint8)}, tmp_path)
    assert [(node.inputs[0].dtype.name, node.outputs[0].dtype.name) for node in casts(made)] == [
        ("UINT8", "FLOAT16"),
        ("FLOAT16", "FLOAT"),
    ]


def test_branches_are_lowered_and_pass_16_bits_on(tmp_path):
    given = model(BRANCHES, w=normal(4, 4, scale=0.3), v=normal(4, 4, scale=0.3, seed=1))
    feeds = [{"x": normal(1, 4), "flag": np.array(flag)} for flag in (True, False)]
    made = prepare(ir.from_proto(ir.to_proto(given)), "fp16")
    report = lower(made, "fp16", measure_ranges(made, feeds, tmp_path))
    kinds = dtypes(made)
    assert (kinds["i"], kinds["e"]) == ("float16", "float32")
    assert report.products_by_dtype == {"float16": 5}
    for feed in feeds:
        assert np.allclose(run_stand_in(made, feed)[0], run(given, feed)[0], atol=1e-2)
        assert np.allclose(run(made, feed)[0], run(given, feed)[0], atol=1e-2), "the graph itself is valid"


def test_a_branch_that_no_sample_reached_stays_in_float32(tmp_path):
    given = model(BRANCHES, w=normal(4, 4), v=normal(4, 4, seed=1))
    feed = {"x": normal(1, 4), "flag": np.array(True)}
    made, report = lowered(given, feed, tmp_path)
    assert report.products_by_dtype == {"float16": 3, "float32": 2}
    assert any("no sample reached it" in kept.reason for kept in report.kept)
    other = {**feed, "flag": np.array(False)}
    assert np.allclose(run_stand_in(made, other)[0], run(given, other)[0], rtol=2e-2, atol=0.05)


def test_a_loop_keeps_its_state_in_float32_and_its_largest_value_counts(tmp_path):
    given = model(
        """
        net (float[1,4] x, int64 n) => (float[1,4] y)
        {
            a = MatMul (x, w)
            go = Constant <value = bool {1}> ()
            end = Loop (n, go, a) <
                body = step (int64 i, bool c, float[1,4] state) => (bool c2, float[1,4] next)
                { c2 = Identity (c)  p = MatMul (state, w)  q = Mul (p, k)  z = MatMul (a, w)  next = Add (q, z) }
            >
            y = MatMul (end, w)
        }
        """,
        w=np.eye(4, dtype=np.float32),
        k=np.array([40.0], np.float32),
    )
    feed = {"x": np.ones((1, 4), np.float32), "n": np.array(3)}
    made, _ = lowered(given, feed, tmp_path)
    kinds = dtypes(made)
    assert (kinds["p"], kinds["z"], kinds["a"]) == ("float16", "float16", "float16")
    assert kinds["q"] == "float32", "40 x 40 x 40 exceeds a quarter of 65504 in the third turn alone"
    assert np.allclose(run_stand_in(made, feed)[0], run(given, feed)[0], rtol=2e-3)
    assert np.allclose(run(made, feed)[0], run(given, feed)[0], rtol=2e-3)


def test_two_thousand_nodes_take_less_than_five_seconds(tmp_path):
    steps = [f"a{i} = Conv <pads = [1, 1, 1, 1]> (r{i}, w)  r{i + 1} = Relu (a{i})" for i in range(1000)]
    text = "net (float[1,4,8,8] r0) => (float[1,4,8,8] y) {" + "\n".join(steps) + " y = Conv (r1000, v) }"
    given = model(text, w=normal(4, 4, 3, 3, scale=0.1), v=normal(4, 4, 1, 1))
    started = time.process_time()
    made, report = lowered(given, None, tmp_path)
    assert time.process_time() - started < 5
    assert report.products_by_dtype == {"float16": 1001}
    assert sum(1 for _ in casts(made)) == 2


QDQ = """
    g (float[1,8,16,16] x) => (float[1,8,16,16] y) <float sx = {0.02}, float sh = {0.1}, int8 zero = {0}> {
        xq = QuantizeLinear(x, sx, zero)
        xd = DequantizeLinear(xq, sx, zero)
        wd = DequantizeLinear<axis = 0>(w, sw, zeros)
        h = Conv<kernel_shape = [1, 1]>(xd, wd)
        r = Relu(h)
        rq = QuantizeLinear(r, sh, zero)
        rd = DequantizeLinear(rq, sh, zero)
        m = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(rd)
        mq = QuantizeLinear(m, sh, zero)
        md = DequantizeLinear(mq, sh, zero)
        vd = DequantizeLinear<axis = 0>(v, sv, zeros)
        y = Conv<kernel_shape = [1, 1]>(md, vd)
    }
"""


def quantized(opset):
    rng = np.random.default_rng(3)
    made = model(
        QDQ,
        w=rng.integers(-127, 128, (8, 8, 1, 1)).astype(np.int8),
        v=rng.integers(-127, 128, (8, 8, 1, 1)).astype(np.int8),
        sw=rng.uniform(1e-3, 2e-3, 8).astype(np.float32),
        sv=rng.uniform(1e-3, 2e-3, 8).astype(np.float32),
        zeros=np.zeros(8, np.int8),
    )
    made.graph.opset_imports[""] = opset
    return made


def test_what_lies_around_integers_is_lowered_without_casts(tmp_path):
    feed = {"x": np.random.default_rng(0).uniform(-2, 2, (1, 8, 16, 16)).astype(np.float32)}
    given = quantized(19)
    made, report = lowered(given, feed, tmp_path)
    assert report.products_by_dtype == {"int8": 2}
    assert [node.op_type for node in made.graph].count("Cast") == 1, "at the output alone"
    pool = next(node for node in made.graph if node.op_type == "MaxPool")
    assert pool.outputs[0].dtype == ir.DataType.FLOAT16
    (expected,), (found,) = run(given, feed), run_stand_in(made, feed)
    # a rounding may fall on the other side of an integer step
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_scales_were_float32_before_opset_19(tmp_path):
    feed = {"x": np.ones((1, 8, 16, 16), np.float32)}
    made, report = lowered(quantized(18), feed, tmp_path)
    assert report.products_by_dtype == {"float16": 2}, "a Cast stands between integers and product"
    assert all(
        node.inputs[1].dtype == ir.DataType.FLOAT
        for node in made.graph
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    )


def test_nodes_named_stay_wide(tmp_path):
    feed = {"x": np.ones((1, 8, 16, 16), np.float32)}
    made = prepare(quantized(19), "fp16")
    last = next(node.name for node in made.graph if node.op_type == "Conv" and node.outputs[0].name == "y")
    report = lower(made, "fp16", measure_ranges(made, [feed], tmp_path), wide=[last])
    assert [(kept.node, kept.reason) for kept in report.kept] == [(last, "it is to stay in float32")]
    (conv,) = (node for node in made.graph if node.name == last)
    assert conv.outputs[0].dtype == ir.DataType.FLOAT
