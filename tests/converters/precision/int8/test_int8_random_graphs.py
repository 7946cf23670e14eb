"""Whatever the graph: the result is valid, each product that is asked for reads integers, and the error is what 8 bits cost."""

from __future__ import annotations

import numpy as np
from graphs import normal, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from int8_graphs import MINMAX, calibrated, prepared, quantized, sources

from enginesmith.converters.precision.int8.options import METHODS
from enginesmith.converters.precision.int8.weights import rounded, scales

WEIGHTS = {
    "w": normal(4, 4, 3, 3, scale=0.2),
    "p": normal(4, 4, 1, 1, scale=0.5, seed=1),
    "u": normal(4, 1, 3, 3, scale=0.4, seed=2),
    "t": normal(4, 4, 1, 1, scale=0.5, seed=3),
    "m": normal(6, 6, scale=0.4, seed=4),
    "b": normal(4, seed=5),
    "q": normal(4, 8, 1, 1, scale=0.4, seed=6),
}
SAME = "pads = [1, 1, 1, 1]"
PRODUCTS = (
    f"Conv <{SAME}> ({{0}}, w, b)",
    "Conv ({0}, p)",
    f"Conv <{SAME}, group = 4> ({{0}}, u)",
    "ConvTranspose ({0}, t, b)",
    "MatMul ({0}, m)",
    "MatMul (m, {0})",
)
OTHERS = (
    "Relu ({0})",
    "Sigmoid ({0})",
    "Transpose <perm = [0, 1, 3, 2]> ({0})",
    f"MaxPool <kernel_shape = [3, 3], {SAME}> ({{0}})",
    "Add ({0}, {1})",
    "MatMul ({0}, {1})",
)


@st.composite
def texts(draw):
    """Up to ten nodes over [1,4,6,6] tensors; each reads any values before it."""
    lines, values = [], ["x"]
    for index in range(draw(st.integers(1, 10))):
        op = draw(st.sampled_from(PRODUCTS + OTHERS))
        name = f"v{index}"
        lines.append(f"{name} = {op.format(draw(st.sampled_from(values)), draw(st.sampled_from(values)))}")
        if op.startswith(("MatMul ({0}, {1})", "Add")):  # products of products grow without end
            lines.append(f"{name}t = Tanh ({name})")
            name += "t"
        values.append(name)
    joined = f"j = Concat <axis = 1> ({values[-1]}, {draw(st.sampled_from(values))}) y = Conv (j, q, b)"
    return f"net (float[1,4,6,6] x) => (float[1,4,6,6] y) {{ {' '.join(lines)} {joined} }}"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts(), st.sampled_from(METHODS), st.booleans(), st.integers(0, 2**16))
def test_any_graph(text, method, corrected, seed):
    source = prepared(text, **WEIGHTS)
    feeds = [{"x": normal(1, 4, 6, 6, seed=seed + index)} for index in range(2)]
    options = MINMAX.model_copy(update={"method": method, "correct_bias": corrected})
    made, result = quantized(source, feeds, options)
    read = sources(made)
    assert "y" in result.nodes
    for name in result.nodes:
        assert all(value.startswith("q:") for value in read[name][:2])
    for kept in result.kept:
        assert not any(value.startswith("q:") for value in read[kept.node])
    for feed in feeds:
        (before,), (after,) = run(source, feed), run(made, feed)
        assert after.shape == before.shape
        assert np.isfinite(after).all()
        if method == "minmax":  # the others clip
            assert np.abs(after - before).max() <= 0.15 * np.abs(before).max() + 0.05


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(PRODUCTS[:4]), st.integers(0, 2**16), st.floats(1e-3, 1e3))
def test_one_product_is_off_by_half_a_step_of_each_factor(product, seed, scale):
    """The largest error that rounding both factors can make, over all their signs."""
    source = prepared(f"net (float[1,4,6,6] x) => (float[1,4,6,6] y) {{ y = {product.format('x')} }}", **WEIGHTS)
    feed = {"x": normal(1, 4, 6, 6, scale=scale, seed=seed)}
    made, _ = quantized(source, [feed])
    used = product.split(", ")[-2 if product.endswith("b)") else -1].strip("() ")
    weights = WEIGHTS[used]
    axis = 1 if product.startswith("ConvTranspose") else 0
    steps = scales(weights, axis).max() / 2
    half = calibrated(source, [feed]).peaks["x"] / 127 / 2
    sizes = np.abs(np.moveaxis(weights, axis, 0)).reshape(4, -1)
    bound = half * sizes.sum(axis=1).max() + steps * (np.abs(feed["x"]).max() + half) * sizes.shape[1]
    (before,), (after,) = run(source, feed), run(made, feed)
    assert np.abs(after - before).max() <= bound * (1 + 1e-4)


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([0, 1]), st.integers(0, 2**16))
def test_weights_are_rounded_to_the_nearest(rows, columns, axis, seed):
    array = normal(rows, columns, seed=seed)
    array[0] *= 0 if seed % 5 == 0 else 1e-30 if seed % 5 == 1 else 1
    scale = scales(array, axis)
    found = rounded(array, scale, axis)
    assert found.dtype == np.int8
    assert found.min(initial=0) >= -127
    shaped = scale.reshape(-1, 1) if axis == 0 else scale
    back = found * shaped
    assert (np.abs(back - array) <= np.where(array == 0, 0, shaped * 0.5001)).all()
    assert (scale > 0).all()
