"""Bias correction: the mean of the error that rounded weights make is gone."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import normal, run
from int8_graphs import MINMAX, calibrated, copy, prepared, quantized

from enginesmith.converters.precision.int8.bias import mean_output
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.int8.quantize import quantize

CORRECTED = MINMAX.model_copy(update={"correct_bias": True})
FORMS = {
    "Conv": ("y = Conv (x, w, b)", (6, 4, 3, 3)),
    "no bias": ("y = Conv (x, w)", (6, 4, 3, 3)),
    "strides": ("y = Conv <strides = [2, 2]> (x, w, b)", (6, 4, 1, 1)),
    "groups": ("y = Conv <group = 2> (x, w, b)", (6, 2, 3, 3)),
    "depthwise": ("y = Conv <group = 4> (x, w, b)", (4, 1, 3, 3)),
    "ConvTranspose": ("y = ConvTranspose <strides = [2, 2]> (x, w, b)", (4, 6, 2, 2)),
    "ConvTranspose in groups": ("y = ConvTranspose <group = 2, strides = [2, 2]> (x, w, b)", (4, 3, 2, 2)),
    "Gemm": ("f = Flatten (x) y = Gemm (f, w, b)", (400, 6)),
    "Gemm, turned": ("f = Flatten (x) y = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (f, w, b)", (6, 400)),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_mean_error_is_gone(form):
    body, sizes = FORMS[form]
    weights = normal(*sizes, seed=1)
    weights.reshape(-1)[0] = 30  # a coarse scale for one channel
    channels = 4 if form == "depthwise" else 6
    given = prepared(
        f"net (float[1,4,10,10] x) => (float[{'a,b' if 'Gemm' in form else 'a,b,c,d'}] y) {{ {body} }}",
        w=weights, **({} if form == "no bias" else {"b": normal(channels)}),
    )  # fmt: skip
    # of the same mean everywhere, since borders differ from the middle
    still = normal(1, 4, 1, 1, seed=5) + 2
    feeds = [{"x": (still + 0.01 * normal(1, 4, 10, 10, seed=seed)).astype(np.float32)} for seed in range(8)]

    def mean_error(options: Int8Options) -> float:
        calibration = calibrated(given, feeds)
        calibration.fixed = {"x": 1000.0, "f": 1000.0}  # activations as they are: their scale is put back below
        made = copy(given)
        quantize(made, None, calibration, options)
        for node in list(made.graph):  # leave the rounding of weights alone
            if node.op_type == "DequantizeLinear" and node.inputs[0].producer() is not None:
                node.outputs[0].replace_all_uses_with(node.inputs[0].producer().inputs[0])
        differences = [run(made, feed)[0] - run(given, feed)[0] for feed in feeds]
        axes = tuple(axis for axis in range(differences[0].ndim + 1) if axis != 2)
        return float(np.abs(np.mean(differences, axis=axes)).max())

    before, after = mean_error(MINMAX), mean_error(CORRECTED)
    assert after < before / 20, (before, after)


def test_what_activations_lose_is_put_back():
    """Most numbers are too small for the scale that one large number makes: on average that is an offset."""
    given = prepared("net (float[1,4,10,10] x) => (float[1,6,10,10] y) { y = Conv (x, w) }", w=normal(6, 4, 1, 1))
    feeds = []
    for seed in range(4):
        x = np.abs(normal(1, 4, 10, 10, scale=0.1, seed=seed))
        x[0, 0, 0, 0] = 40
        feeds.append({"x": x})
    errors = []
    for options in (MINMAX, CORRECTED):
        made, _ = quantized(given, feeds, options)
        errors.append(
            np.abs(np.mean([run(made, feed)[0] - run(given, feed)[0] for feed in feeds], axis=(0, 1, 3, 4))).max()
        )
    assert errors[1] < errors[0] / 20


def test_where_the_scale_is_anothers_only_the_weights_error_is_taken_out():
    given = prepared(
        "net (float[1,4,8,8] x) => (float[1,4,8,8] y) { a = Conv (x, w) b = Mul (x, k) j = Concat <axis = 1> (x, b) y = Conv (j, v) }"
        .replace("y = Conv (j, v)", "c = Conv (j, v) y = Add (a, c)"),
        w=normal(4, 4, 1, 1), v=normal(4, 8, 1, 1), k=np.float32(10),
    )  # fmt: skip
    feeds = [{"x": normal(1, 4, 8, 8)}]
    calibration = calibrated(given, feeds)
    made = copy(given)
    quantize(made, None, calibration, CORRECTED)
    weights = normal(4, 4, 1, 1)
    scale = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / 127
    lost = (weights - np.round(weights / scale) * scale).reshape(4, 4)
    assert np.allclose(made.graph.node("a").inputs[2].const_value.numpy(), lost @ calibration.means["x"], atol=1e-6)


def test_what_has_no_constant_bias_stays_as_it_is():
    given = prepared(
        "net (float[2,8] x, float[6] b) => (float[2,6] y) { m = MatMul (x, v) y = Gemm (m, w, b) }",
        v=normal(8, 8), w=normal(8, 6),
    )  # fmt: skip
    made, _ = quantized(given, [{"x": normal(2, 8), "b": normal(6)}], CORRECTED)
    assert made.graph.node("y").inputs[2].name == "b"
    assert len(made.graph.node("m").inputs) == 2


def test_the_mean_of_a_product():
    given = prepared("net (float[1,4,6,6] x) => (float[1,3,4,4] y) { y = Conv (x, w) }", w=normal(3, 4, 3, 3))
    means = np.arange(4.0)
    constant = np.broadcast_to(means.reshape(1, 4, 1, 1), (1, 4, 6, 6)).astype(np.float32)
    found = mean_output(given.graph.node("y"), normal(3, 4, 3, 3).astype(np.float64), means)
    assert np.allclose(found, run(given, {"x": constant})[0][0, :, 0, 0], rtol=1e-5)
    assert mean_output(given.graph.node("y"), normal(3, 4, 3, 3).astype(np.float64), np.ones(7)) is None


def test_a_correction_that_is_lost_anyway_adds_no_bias():
    """As a bias of its own it would push the product out of 16 bits."""
    given = prepared("net (float[1,4,8,8] x) => (float[1,4,8,8] y) { y = Conv (x, w) }", w=normal(4, 4, 1, 1))
    x = normal(1, 4, 8, 8)
    feeds = [{"x": sign * x} for sign in (1, -1)]  # of mean 0
    made, _ = quantized(given, feeds, CORRECTED)
    assert len(made.graph.node("y").inputs) == 2
