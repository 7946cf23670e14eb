"""Equalization: the same function, with channels that fill the range."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graphs import normal, run
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_graphs import MINMAX, calibrated, copy, prepared

from enginesmith.converters.precision.int8.equalize import equalize
from enginesmith.converters.precision.int8.quantize import quantize

DEPTHWISE = "Conv <pads = [1, 1, 1, 1], group = 8>"
SPREAD = np.geomspace(0.05, 1, 8, dtype=np.float32)


def block(activation, ends="float[1,8,8,8] y", tail="y = Conv (e, v)"):
    text = f"""
    net (float[1,4,8,8] x) => ({ends})
    {{ a = Conv (x, w, b)  r = {activation}  d = {DEPTHWISE} (r, u, b)  e = Relu (d)  {tail} }}
    """
    return prepared(text, w=normal(8, 4, 1, 1) * SPREAD.reshape(8, 1, 1, 1), b=normal(8, scale=0.1) * SPREAD,
                    u=normal(8, 1, 3, 3, seed=1), v=normal(8, 8, 1, 1, seed=2), zero=np.float32(0), six=np.float32(1))  # fmt: skip


FEEDS = [{"x": normal(1, 4, 8, 8, seed=seed)} for seed in range(4)]


def balance(model, name, feeds=FEEDS):
    """Smallest over largest peak of a tensor's channels."""
    tapped = copy(model)
    tapped.graph.outputs.append(next(v for node in tapped.graph for v in node.outputs if v.name == name))
    peaks = np.max([np.abs(run(tapped, feed)[-1]).max(axis=(0, 2, 3)) for feed in feeds], axis=0)
    return peaks.min() / peaks.max()


@pytest.mark.parametrize(
    "activation", ["Relu (a)", "LeakyRelu (a)", "Clip (a, zero, six)", "MaxPool <kernel_shape = [1, 1]> (a)"]
)
def test_the_function_is_the_same_and_channels_fill_the_range(activation, tmp_path):
    model = block(activation)
    made = copy(model)
    (pair,) = equalize(made, FEEDS, tmp_path)
    assert (pair.first.name, pair.second.name) == ("a", "d")
    onnx.checker.check_model(ir.to_proto(made), full_check=True)
    for feed in [*FEEDS, {"x": normal(1, 4, 8, 8, scale=20, seed=9)}]:  # far more than was measured, too
        assert np.allclose(run(made, feed)[0], run(model, feed)[0], rtol=1e-4, atol=1e-4)
    read = made.graph.node("d").inputs[0].name
    assert balance(made, read) > 2 * balance(model, "r")
    assert made.graph.node("a").inputs[1].const_value.numpy().dtype == np.float32


def test_int8_needs_no_bound_for_each_channel(tmp_path):
    """The scale of the balanced channels clips at the bound or below it: no operator is left over."""
    model = block("Clip (a, zero, six)")
    equalized = copy(model)
    equalize(equalized, FEEDS, tmp_path)
    assert [node.op_type for node in equalized.graph][:3] == ["Conv", "Clip", "Min"]
    calibration = calibrated(equalized, FEEDS)
    assert calibration.peaks["r/bounded"] <= 1
    made = copy(equalized)
    quantize(made, None, calibration, MINMAX)
    assert [node.op_type for node in made.graph if not node.op_type.endswith("Linear")] == [
        "Conv",
        "Clip",
        "Conv",
        "Relu",
        "Conv",
    ]
    with_min = copy(equalized)
    chosen = [node.name for node in equalized.graph if node.op_type == "Conv"]
    for value in calibration.peaks:
        calibration.fixed[value] = calibration.peaks[value] * 1.5  # beyond the bounds
    quantize(with_min, chosen, calibration, MINMAX)
    assert any(node.op_type == "Min" for node in with_min.graph)
    (before,), (after,) = run(model, FEEDS[0]), run(made, FEEDS[0])
    assert np.abs(after - before).max() < 0.05 * np.abs(before).max()


@pytest.mark.parametrize(
    "model",
    [
        block("Sigmoid (a)"),
        block("Relu (a)", ends="float[1,8,8,8] y, float[1,8,8,8] r"),
        block("Relu (a)", tail="s = Add (r, e) y = Conv (s, v)"),
        block("Clip (a, six, )"),
        prepared("net (float[1,4,8,8] x) => (float[1,8,8,8] y) { a = Conv (x, w) y = Conv (a, v) }",
                 w=normal(8, 4, 1, 1), v=normal(8, 8, 1, 1)),
    ],
    ids=["no ReLU", "an output", "read twice", "a lower bound that isn't 0", "not depthwise"],
)  # fmt: skip
def test_what_would_not_be_the_same_or_cost_something_is_left(model, tmp_path):
    before = ir.to_proto(model).SerializeToString()
    assert equalize(model, FEEDS, tmp_path) == []
    assert ir.to_proto(model).SerializeToString() == before


def test_weights_that_others_read_are_left_to_them(tmp_path):
    text = f"""
    net (float[1,8,8,8] x) => (float[1,8,8,8] y)
    {{ a = Conv (x, w)  b = {DEPTHWISE} (a, u)  c = Conv (b, w)  y = {DEPTHWISE} (c, u) }}
    """
    model = prepared(text, w=normal(8, 8, 1, 1, scale=0.4) * SPREAD.reshape(8, 1, 1, 1), u=normal(8, 1, 3, 3))
    made = copy(model)
    feeds = [{"x": normal(1, 8, 8, 8)}]
    assert len(equalize(made, feeds, tmp_path)) == 2
    assert np.allclose(run(made, feeds[0])[0], run(model, feeds[0])[0], rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["", "Relu", "Clip"]), min_size=1, max_size=4), st.integers(0, 2**16))
def test_any_chain_of_depthwise_convolutions(tmp_path_factory, activations, seed):
    lines, value = [], "x"
    for index, activation in enumerate(activations):
        lines.append(f"c{index} = {DEPTHWISE} ({value}, w{index}, b{index})")
        value = f"c{index}"
        if activation:
            lines.append(f"r{index} = {activation} ({value}{', zero, six' if activation == 'Clip' else ''})")
            value = f"r{index}"
    lines.append(f"y = {DEPTHWISE} ({value}, w0)")
    rng = np.random.default_rng(seed)
    weights = {
        f"w{i}": (normal(8, 1, 3, 3, seed=seed + i) * rng.permutation(SPREAD).reshape(8, 1, 1, 1)) for i in range(4)
    }
    biases = {f"b{i}": normal(8, seed=seed + i) for i in range(4)}
    bounds = {"zero": np.float32(0), "six": np.float32(0.5)}
    model = prepared(
        f"net (float[1,8,6,6] x) => (float[1,8,6,6] y) {{ {' '.join(lines)} }}", **weights, **biases, **bounds
    )
    made = copy(model)
    feed = {"x": normal(1, 8, 6, 6, seed=seed)}
    assert len(equalize(made, [feed], tmp_path_factory.mktemp("chain"))) == len(activations)
    onnx.checker.check_model(ir.to_proto(made), full_check=True)
    for other in (feed, {"x": normal(1, 8, 6, 6, scale=5, seed=seed + 1)}):
        assert np.allclose(run(made, other)[0], run(model, other)[0], rtol=1e-3, atol=1e-4)
