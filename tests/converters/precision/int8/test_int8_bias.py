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
        calibration.trained = {"x": 1000.0, "f": 1000.0}  # activations as they are: their scale is put back below
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
