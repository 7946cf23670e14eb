"""Where Q/DQ nodes lie."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import normal
from int8_graphs import MINMAX, calibrated, copy, prepared, quantized, scale_of, sources

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.int8.placement import candidates, observed
from enginesmith.converters.precision.int8.quantize import quantize
from enginesmith.converters.precision.keep import first_and_last

IMAGE = [{"x": normal(1, 4, 8, 8, seed=9)}]
W = normal(4, 4, 3, 3, scale=0.2)
SAME = "<pads = [1, 1, 1, 1]>"


def net(body, ends="float[1,4,8,8] x", out="float[1,4,8,8] y", **weights):
    return prepared(f"net ({ends}) => ({out}) {{ {body} }}", **weights)


def reasons(model):
    return {node.name: reason for node, reason in candidates(model).items()}


def test_nothing_lies_between_a_convolution_and_its_activation():
    given = net(f"c = Conv {SAME} (x, w, b) r = Relu (c) d = Conv {SAME} (r, w2) y = Clip (d, lo, hi)",
                w=W, w2=normal(4, 4, 3, 3, seed=1), b=normal(4), lo=np.float32(0), hi=np.float32(6))  # fmt: skip
    made, result = quantized(given, IMAGE)
    assert sources(made) == {
        "c": ["q:x", "q:w", "b"],
        "r": ["c"],
        "d": ["q:r", "q:w2"],
        "y": ["d", "lo", "hi"],
    }
    assert (result.nodes, result.kept) == (["c", "d"], [])


def test_a_sigmoid_and_its_product_follow_the_convolution():
    given = net(f"c = Conv {SAME} (x, w) s = Sigmoid (c) m = Mul (c, s) y = Conv {SAME} (m, w)", w=W)
    made, _ = quantized(given, IMAGE)
    assert sources(made) == {"c": ["q:x", "q:w"], "s": ["c"], "m": ["c", "s"], "y": ["q:m", "q:w"]}


def test_a_sum_is_quantized_on_the_branch_that_skips():
    given = net(f"c = Conv {SAME} (x, w) s = Add (x, c) r = Relu (s) d = Conv {SAME} (r, v) t = Add (d, r) y = Conv {SAME} (t, w)",
                w=W, v=normal(4, 4, 3, 3, seed=1))  # fmt: skip
    made, _ = quantized(given, IMAGE)
    assert sources(made) == {
        "c": ["q:x", "q:w"],
        "s": ["q:x", "c"],
        "r": ["s"],
        "d": ["q:r", "q:v"],
        "t": ["d", "q:r"],
        "y": ["q:t", "q:w"],
    }


def test_of_two_convolutions_that_are_added_one_is_fused():
    given = net(
        f"c = Conv {SAME} (x, w) d = Conv {SAME} (x, v) s = Add (c, d) y = MatMul (s, a)",
        a=normal(8, 8),
        w=W,
        v=normal(4, 4, 3, 3, seed=1),
    )
    assert set(observed(given)) == {"x", "c", "d", "s"}
    made, _ = quantized(given, IMAGE)
    assert sources(made)["s"] == ["q:c", "d"]
    made, result = quantized(given, IMAGE, chosen=["c"])
    assert sources(made) == {"c": ["q:x", "q:w"], "d": ["x", "v"], "s": ["c", "q:d"], "y": ["s", "a"]}
    assert [(kept.node, kept.reason) for kept in result.kept] == [
        ("d", "not chosen for int8"),
        ("y", "not chosen for int8"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        f"c = Conv {SAME} (x, w) r = Relu (c) s = Add (r, x)",  # the activation is fused, the sum is not
        f"c = Conv {SAME} (x, w) s = Add (c, k)",  # a bias
        f"c = Conv {SAME} (x, w) n = Neg (c) t = Add (c, x) s = Mul (t, n)",  # the convolution's output is needed
        "m = MatMul (x, a) s = Add (m, x)",
        f"c = Conv {SAME} (x, w) t = Add (c, x) g = Greater (t, k) s = Cast <to = 1> (g)",  # it chooses
    ],
)
def test_other_sums_stay_as_they_are(body):
    given = net(f"{body} y = MatMul (s, a)", w=W, k=normal(1, 4, 1, 1), a=normal(8, 8))
    made, _ = quantized(given, IMAGE)
    assert not any(source.startswith("q:") for name in ("s", "t") for source in sources(made).get(name, ()))


def test_a_sum_that_is_a_result_stays_as_it_is():
    """A picture and its correction: 8 bits of the picture would be lost."""
    made, _ = quantized(net(f"c = Conv {SAME} (x, w) y = Add (c, x)", w=W), IMAGE)
    assert sources(made)["y"] == ["c", "x"]


def test_what_is_concatenated_shares_a_scale():
    given = net(
        f"""c = Conv {SAME} (x, w) r = Relu (c) p = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)
        j = Concat <axis = 1> (r, p) d = Conv (j, v) e = Conv {SAME} (r, w) y = Add (d, e)""",
        w=W,
        v=normal(4, 8, 1, 1),
    )
    made, _ = quantized(given, IMAGE)
    scales = {name: float(scale_of(made, name)) for name in ("x", "r", "j")}
    assert len(set(scales.values())) == 1, scales
    assert max(scales.values()) == pytest.approx(max(calibrated(given, IMAGE).peaks[name] for name in scales) / 127)


@pytest.mark.parametrize(
    ("mover", "shared"),
    [
        ("Transpose <perm = [0, 1, 3, 2]> (r)", True),
        ("Reshape (r, shape)", True),
        ("Pad (r, pads)", True),
        ("Pad (r, pads, one)", False),
        ('Resize <mode = "nearest"> (r, , twice)', True),
        ('Resize <mode = "linear"> (r, , twice)', False),
        ("Relu (r)", False),
        ("AveragePool <kernel_shape = [1, 1]> (r)", False),
    ],
)
def test_what_only_moves_elements_keeps_the_scale(mover, shared):
    given = net(
        f"r = Conv {SAME} (x, w) m = {mover} a = Conv {SAME} (r, w) b = Conv {SAME} (m, w) "
        "c = ReduceMax <keepdims = 0> (b) y = Add (a, c)",
        w=W,
        shape=np.array([1, 4, 4, 16], np.int64),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        one=np.float32(100),
        twice=np.array([1, 1, 2, 2], np.float32),
    )
    calibration = calibrated(given, IMAGE)
    calibration.fixed["m"] = calibration.peaks["r"] * 2  # so that they would differ
    made = copy(given)
    quantize(made, None, calibration, MINMAX)
    assert (scale_of(made, "r") == scale_of(made, "m")) == shared


@pytest.mark.parametrize(
    ("body", "w", "axis", "channels"),
    [
        (f"y = Conv {SAME} (x, w)", normal(6, 4, 3, 3), 0, 6),
        ("y = Conv <pads = [1, 1, 1, 1], group = 4> (x, w)", normal(4, 1, 3, 3), 0, 4),
        ("y = ConvTranspose (x, w)", normal(4, 6, 3, 3), 1, 6),
        ("y = ConvTranspose <group = 2> (x, w)", normal(4, 3, 3, 3), 1, 3),
        ("y = ConvTranspose <group = 4> (x, w)", normal(4, 1, 3, 3), 0, 4),
        ("y = MatMul (x, w)", normal(8, 5), 1, 5),
        ("y = MatMul (w, x)", normal(5, 8), 0, 5),
        ("y = MatMul (x, w)", normal(4, 8, 5), 2, 5),
        ("f = Flatten <axis = 3> (x) y = Gemm (f, w)", normal(8, 5), 1, 5),
        ("f = Flatten <axis = 3> (x) y = Gemm <transB = 1> (f, w)", normal(5, 8), 0, 5),
        ("f = Flatten <axis = 3> (x) y = Gemm <transA = 1> (w, f)", normal(32, 5), 1, 5),
    ],
)
def test_weights_have_a_scale_for_each_output_channel(body, w, axis, channels):
    given = net(body, out="float[a,b] y" if "Gemm" in body else "float[a,b,c,d] y", w=w)
    made, _ = quantized(given, IMAGE)
    (node,) = [node for node in made.graph if node.op_type == "DequantizeLinear" and node.inputs[0].producer() is None]
    scale = scale_of(made, "w")
    assert node.attributes["axis"].as_int() == axis
    assert scale.shape == (channels,)
    assert np.allclose(scale, np.abs(np.moveaxis(w, axis, 0)).reshape(channels, -1).max(axis=1) / 127)


def test_shared_weights_are_stored_once():
    given = net(f"c = Conv {SAME} (x, w, b) y = Conv {SAME} (c, w, b)", w=W, b=normal(4))
    made, _ = quantized(given, IMAGE)
    assert sorted(made.graph.initializers) == sorted(
        ["b", "c/scale", "int8/zero", "w/axis0/int8", "w/axis0/scale", "w/axis0/zero", "x/scale"]
    )
    made, _ = quantized(given, IMAGE, MINMAX.model_copy(update={"correct_bias": True}))
    assert sources(made)["c"][2] != sources(made)["y"][2], "each has a bias of its own then"


def test_products_of_activations_say_why_they_stay():
    given = net(
        "t = Transpose <perm = [0, 1, 3, 2]> (x) m = MatMul (x, t) s = Softmax (m) y = MatMul (s, w)", w=normal(8, 8)
    )
    assert reasons(given)["m"].startswith("both its factors are activations")
    made, result = quantized(given, IMAGE)
    assert result.nodes == ["y"]
    assert sources(made)["m"] == ["x", "t"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("m = MatMul (x, v) y = Add (m, m)", "a product with a vector"),
        (f"k = Relu (w) y = Conv {SAME} (x, k)", "its weights are computed"),
        ("k = Relu (a) f = Flatten <axis = 3> (x) y = Gemm (f, k)", "both its factors are activations"),
        ('y = Einsum <equation = "abij,jk->abik"> (x, a)', "TensorRT has no Einsum in int8"),
    ],
)
def test_what_has_no_constant_weights_says_so(body, reason):
    out = "float[1,4,8] y" if "v)" in body else "float[32,8] y" if "Gemm" in body else "float[1,4,8,8] y"
    given = net(body, out=out, v=normal(8), w=W, a=normal(8, 8))
    (found,) = candidates(given).values()
    assert found.startswith(reason)


def test_bodies_are_left_as_they_are():
    given = net(
        """
        c = Conv <pads = [1, 1, 1, 1]> (x, w)
        y = If (t) <
            then_branch = yes () => (float[1,4,8,8] a) { a = Conv <pads = [1, 1, 1, 1]> (c, w) },
            else_branch = no () => (float[1,4,8,8] b) { b = Relu (c) }
        >
        """,
        ends="float[1,4,8,8] x, bool t",
        w=W,
    )
    assert reasons(given) == {"c": "", "a": "it is in the body of an If, a Loop or a Scan"}
    made, result = quantized(given, [{**IMAGE[0], "t": np.array(True)}])
    assert result.nodes == ["c"]
    assert sources(made)["a"] == ["c", "w"]


def test_what_no_sample_reached_and_what_is_always_zero_has_no_scale():
    given = net(f"z = Mul (x, k) c = Conv {SAME} (z, w) y = Conv {SAME} (c, w)", w=W, k=np.float32(0))
    _, result = quantized(given, IMAGE)
    assert [(kept.node, kept.reason) for kept in result.kept] == [
        ("c", "z was 0 in every sample: it has no scale"),
        ("y", "c was 0 in every sample: it has no scale"),
    ]
    calibration = calibrated(given, IMAGE)
    del calibration.peaks["z"]
    result = quantize(copy(given), ["c"], calibration, MINMAX)
    assert result.kept[0].reason == "the range of z is not known: no sample reached it"


HEADS = f"""
    c = Conv {SAME} (x, w) d = Conv {SAME} (c, w) score = Conv (d, h) box = Conv (d, k)
    flat = Flatten (score) best, at = TopK (flat, one) crop = Mul (c, best)
    e = Conv {SAME} (crop, w) y = Conv (e, k)
"""


def test_first_and_last_are_the_ends_of_the_paths():
    given = net(HEADS, out="float[1,4,8,8] y, float[1,4,8,8] box", w=W, h=normal(4, 4, 1, 1), k=normal(4, 4, 1, 1, seed=3),
                one=np.array([1], np.int64))  # fmt: skip
    first, last = first_and_last(given, [node for node, reason in candidates(given).items() if not reason])
    assert {node.name for node in first} == {"c"}
    assert {node.name for node in last} == {"score", "box", "y"}
    _, result = quantized(given, IMAGE, MINMAX.model_copy(update={"keep": ("first", "last", "[e]")}))
    assert result.nodes == ["d"]
    assert {kept.node: kept.reason for kept in result.kept} == {
        "c": "kept: first", "e": "kept: [e]", **dict.fromkeys(("score", "box", "y"), "kept: last"),
    }  # fmt: skip


def test_a_pattern_that_names_nothing_is_a_bad_request():
    given = net(f"y = Conv {SAME} (x, w)", w=W)
    with pytest.raises(UserError, match=r"--keep 'head\*' matches no product; the first one's name is 'y'"):
        quantize(given, None, calibrated(given, IMAGE), Int8Options(keep=("head*",)))


def test_weights_alone_need_no_calibration():
    given = net(f"c = Conv {SAME} (x, w, b) y = MatMul (c, m)", w=W, b=normal(4), m=normal(8, 8))
    made, result = quantized(given, None, Int8Options(weight_only=True))
    assert sources(made) == {"c": ["x", "q:w", "b"], "y": ["c", "q:m"]}
    assert result.nodes == ["c", "y"]
    with pytest.raises(ValueError, match="need a calibration"):
        quantize(given, None, None, Int8Options())
