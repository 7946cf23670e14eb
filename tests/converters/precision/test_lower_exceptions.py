"""What the fp16 and bf16 rewrite leaves in float32: numbers that overflow or vanish, and operators without the type."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from graphs import dtypes, lowered, model, normal, run, run_stand_in

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
