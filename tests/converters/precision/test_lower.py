"""The fp16 and bf16 rewrite: what is lowered, what stays, and that the results hold."""

from __future__ import annotations

import time

import numpy as np
import onnx_ir as ir
import pytest
from graphs import casts, dtypes, lowered, model, normal, run, run_stand_in

from enginesmith.compat import interface
from enginesmith.converters.precision.lower import lower, prepare
from enginesmith.converters.precision.ranges import measure_ranges

NET = """
net (float[1,3,8,8] x) => (float[1,4] y)
{
    c1 = Conv <pads = [1, 1, 1, 1]> (x, w1)
    r1 = Relu (c1)
    c2 = Conv <pads = [1, 1, 1, 1]> (r1, w2)
    s = Add (c2, r1)
    m = GlobalAveragePool (s)
    f = Flatten (m)
    y = Gemm (f, w3, b3)
}
"""
NET_WEIGHTS = {"w1": normal(4, 3, 3, 3), "w2": normal(4, 4, 3, 3, seed=1), "w3": normal(4, 4, seed=2), "b3": normal(4)}
IMAGE = {"x": normal(1, 3, 8, 8, seed=3)}


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


LARGE = """
net (float[1,4] x) => (float[1,4] y)
{ a = MatMul (x, w)  b = Mul (a, k)  c = Sqrt (b)  y = MatMul (c, w) }
"""
LARGE_WEIGHTS = {"w": np.eye(4, dtype=np.float32), "k": np.array([3e4], np.float32)}
FOURS = {"x": np.full((1, 4), 4.0, np.float32)}


def test_what_overflows_stays_in_float32(tmp_path):
    made, report = lowered(model(LARGE, **LARGE_WEIGHTS), FOURS, tmp_path)
    assert dtypes(made) == {"a": "float16", "b": "float32", "c": "float32", "y": "float16"}
    assert [kept.op for kept in report.kept] == ["Mul"]
    assert "b reaches 1.2e+05, and float16 ends at 6.55e+04" in report.kept[0].reason
    assert np.allclose(run_stand_in(made, FOURS)[0], np.sqrt(1.2e5), rtol=1e-3)


def test_the_stand_in_shows_an_overflow_that_onnx_runtime_hides(tmp_path):
    """Without ranges nothing warns of it. ONNX Runtime leaves the rounding between two nodes out."""
    made, _ = lowered(model(LARGE, **LARGE_WEIGHTS), None, tmp_path)
    assert dtypes(made)["b"] == "float16"
    assert not np.isfinite(run_stand_in(made, FOURS)[0]).any()
    assert np.isfinite(run(made, FOURS)[0]).all(), "if this fails, the graph itself can serve as its stand-in"


def test_bfloat16_does_not_overflow(tmp_path):
    made, report = lowered(model(LARGE, **LARGE_WEIGHTS), FOURS, tmp_path, "bf16")
    assert report.kept == []
    assert np.allclose(run_stand_in(made, FOURS, "bf16")[0], np.sqrt(1.2e5), rtol=2e-2)


def test_what_would_vanish_stays_in_float32(tmp_path):
    given = model(
        "net (float[1,4] x) => (float[1,4] y) { a = MatMul (x, w)  b = Mul (a, k)  c = Div (b, k)  y = MatMul (c, w) }",
        w=np.eye(4, dtype=np.float32),
        k=np.array([1e-7], np.float32),
    )
    made, report = lowered(given, FOURS, tmp_path)
    assert dtypes(made) == {"a": "float16", "b": "float32", "c": "float32", "y": "float16"}
    assert "no element of k reaches" in report.kept[0].reason
    assert np.allclose(run_stand_in(made, FOURS)[0], 4.0, rtol=1e-3)


def test_weights_that_the_format_cannot_hold_are_told(tmp_path):
    weights = normal(4, 4)
    weights[0, 0] = 1e6
    small = normal(4, 4) * np.float32(1e-4)
    given = model(
        "net (float[1,4] x) => (float[1,4] y) { a = MatMul (x, w)  b = MatMul (a, v)  y = MatMul (b, u) }",
        w=weights,
        v=small,
        u=normal(4, 4),
    )
    feed = {"x": np.full((1, 4), 1e-2, np.float32)}
    made, report = lowered(given, feed, tmp_path)
    assert dtypes(made)["a"] == "float32"
    assert report.kept[0].reason == "1 of 16 elements of w exceed 6.55e+04"
    (finding,) = report.findings
    assert "elements of v lie below 6.1e-05" in finding.message


def test_a_mask_of_minus_infinity_stays_beside_its_softmax(tmp_path):
    given = model(
        """
        net (float[1,4,8] q, bool[1,4,4] m) => (float[1,4,8] y)
        {
            t = Transpose <perm = [0, 2, 1]> (q)
            p = MatMul (q, t)
            s = Where (m, p, low)
            a = Softmax (s)
            y = MatMul (a, q)
        }
        """,
        low=np.array(np.finfo(np.float32).min, np.float32),
    )
    feed = {"q": normal(1, 4, 8), "m": np.tri(4, dtype=bool)[None]}
    made, _report = lowered(given, feed, tmp_path)
    assert dtypes(made) == {"t": "float32", "p": "float16", "s": "float32", "a": "float32", "y": "float16"}
    assert np.allclose(run_stand_in(made, feed)[0], run(given, feed)[0], atol=1e-2)


def test_decoding_and_suppression_of_boxes_stay_in_float32(tmp_path):
    """Widths, areas and overlaps decide what is suppressed; a product of masks is logic."""
    given = model(
        """
        net (float[1,3,8,8] x) => (float[64,2] corners, bool[64,64] over)
        {
            c = Conv <pads = [1, 1, 1, 1]> (x, w)
            shape = Constant <value = int64[2] {64, 4}> ()
            d = Reshape (c, shape)
            deltas, sizes = Split <axis = 1, num_outputs = 2> (d)
            half = Mul (sizes, k)
            corners = Add (deltas, half)
            axes = Constant <value = int64[1] {1}> ()
            area = ReduceProd <keepdims = 1> (sizes, axes)
            turned = Transpose (area)
            ratio = Div (area, turned)
            limit = Constant <value = float {0.5}> ()
            over0 = Greater (ratio, limit)
            mask = Cast <to = 1> (over0)
            again = MatMul (mask, mask)
            one = Constant <value = float {1.5}> ()
            over = Greater (again, one)
        }
        """,
        w=normal(4, 3, 3, 3),
        k=np.array([0.5], np.float32),
    )
    feed = {"x": normal(1, 3, 8, 8)}
    made, report = lowered(given, feed, tmp_path)
    kinds = dtypes(made)
    assert kinds.pop("c") == "float16"
    assert set(kinds.values()) == {"float32", "bool"}
    reasons = {kept.op: kept.reason for kept in report.kept}
    assert reasons["MatMul"] == "its factors are masks"
    assert report.products_by_dtype == {"float16": 1}


def test_long_sums_stay_by_what_they_may_reach(tmp_path):
    text = "net (float[1,1,64,64] x) => (float[1,1,1,1] y) {{ c = Conv (x, w)  m = {op} (c)  y = Conv (m, w) }}"
    weights = {"w": np.ones((1, 1, 1, 1), np.float32)}
    for scale, expected in ((1.0, "float16"), (100.0, "float32")):
        given = model(text.format(op="GlobalAveragePool"), **weights)
        made, _ = lowered(given, {"x": np.full((1, 1, 64, 64), scale, np.float32)}, tmp_path)
        assert dtypes(made)["m"] == expected, scale


def test_the_sizes_of_a_resize_stay_in_float32(tmp_path):
    given = model(
        """
        net (float[1,3,4,4] x) => (float[1,3,8,8] y)
        { c = Conv (x, w)  r = Resize <mode = "linear"> (c, , scales)  y = Conv (r, w) }
        """,
        w=normal(3, 3, 1, 1),
        scales=np.array([1, 1, 2, 2], np.float32),
    )
    made, _ = lowered(given, {"x": normal(1, 3, 4, 4)}, tmp_path)
    assert dtypes(made)["r"] == "float16"
    assert made.graph.initializers["scales"].dtype == ir.DataType.FLOAT


BRANCHES = """
net (float[1,4] x, bool flag) => (float[1,4] y)
{
    a = MatMul (x, w)
    i = If (flag) <
        then_branch = yes () => (float[1,4] out) { out = MatMul (a, v) },
        else_branch = no () => (float[1,4] out) { t = MatMul (a, w)  e = Exp (t)  out = MatMul (e, v) }
    >
    y = MatMul (i, w)
}
"""


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


def test_an_operator_without_the_type_stays(tmp_path):
    """Celu is defined for float32 alone."""
    given = model(
        """
        net (float[1,1,4,4] x) => (float[1,1,4,4] y)
        {
            c = Conv (x, w)
            u = Celu (c)
            y = Conv (u, w)
        }
        """,
        w=np.ones((1, 1, 1, 1), np.float32),
    )
    made, _ = lowered(given, None, tmp_path)
    assert dtypes(made) == {"c": "float16", "u": "float32", "y": "float16"}


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


def test_a_table_of_anchors_stays_and_one_of_embeddings_is_lowered(tmp_path):
    """The one is added to what is decoded into boxes and then chosen from; the other is multiplied."""
    given = model(
        """
        net (float[1,4] x, int64[3] at) => (float[2,4] y, float[3,4] z) <int64[1] k = {2}>
        {
            d = MatMul (x, w)
            anchors = Gather (table, at)
            boxes = Add (d, anchors)
            score = ReduceMax <keepdims = 0> (boxes, axes)
            best, which = TopK (score, k)
            y = Gather (boxes, which)
            words = Gather (embeddings, at)
            z = MatMul (words, w)
        }
        """,
        w=normal(4, 4),
        table=normal(5, 4, seed=1),
        embeddings=normal(5, 4, seed=2),
        axes=np.array([1], np.int64),
    )
    feed = {"x": normal(1, 4, seed=3), "at": np.array([0, 2, 4])}
    made, report = lowered(given, feed, tmp_path)
    stored = {value.name: value.dtype for value in made.graph.initializers.values()}
    assert stored["table"] == ir.DataType.FLOAT
    assert "embeddings" not in stored
    assert report.products_by_dtype == {"float16": 3, "float32": 1}, "the table that was lowered is still counted"
