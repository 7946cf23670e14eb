"""What is fused, which layouts are kept, and where a region ends; each against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
RNG = np.random.default_rng(0)


def conv(outputs: int, inputs: int, size: int = 1) -> Any:
    return RNG.standard_normal((outputs, inputs, size, size)) / np.sqrt(inputs * size * size)


def test_squeeze_and_excite_keeps_its_layout(agrees: Any) -> None:
    """The gate is read per channel; its own product can't be fused into the convolution that it depends on."""
    told = agrees(
        "(float[2, 3, 16, 16] x) => (float[2, 12, 16, 16] y) {"
        " a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1) s = Sigmoid (a) b = Mul (a, s)"
        " p = GlobalAveragePool (b) q = Conv (p, w2) r = Relu (q) e = Conv (r, w3) g = HardSigmoid (e)"
        " m = Mul (g, b) y = Conv (m, w4) }",
        {"w1": conv(24, 3, 3), "b1": RNG.standard_normal(24), "w2": conv(6, 24), "w3": conv(24, 6), "w4": conv(12, 24)},
    )
    assert told == {
        "kernels": {"convolution": 4, "mean": 1, "elementwise": 1, "pack": 1, "unpack": 1},
        "left": [],
    }


def test_dense_block(agrees: Any) -> None:
    """Normalizations that no convolution absorbs become one scale and one shift of the concatenation before them."""
    normal = {
        f"{part}{i}": RNG.uniform(0.5, 1.5, 16 + 8 * i) for i in (0, 1) for part in ("gain", "shift", "mean", "var")
    }
    told = agrees(
        "(float[1, 16, 10, 10] x) => (float[1, 8, 4, 4] y) {"
        " c = Conv <pads = [1, 1, 1, 1]> (x, w0) n0 = BatchNormalization (c, gain0, shift0, mean0, var0) r0 = Relu (n0)"
        " d = Conv <pads = [1, 1, 1, 1]> (r0, w1) k = Concat <axis = 1> (c, d)"
        " n1 = BatchNormalization (k, gain1, shift1, mean1, var1) r1 = Relu (n1)"
        " e = Conv <pads = [1, 1, 1, 1]> (r1, w2) y = AveragePool <kernel_shape = [3, 3], strides = [2, 2]> (e) }",
        {"w0": conv(16, 16, 3), "w1": conv(8, 16, 3), "w2": conv(8, 24, 3), **normal},
    )
    assert not told["left"]
    assert told["kernels"]["concat"] == 1
    assert told["kernels"]["elementwise"] == 1


def test_values_that_are_used_twice(agrees: Any) -> None:
    """A result that is also an output, two convolutions that are added, a sum of a value with itself."""
    told = agrees(
        "(float[1, 8, 7, 9] x) => (float[1, 16, 7, 9] a, float[1, 16, 7, 9] y) {"
        " c = Conv <pads = [1, 1, 1, 1]> (x, w1) a = Relu (c) b = Conv (a, w2) d = Conv (x, w3) s = Add (b, d)"
        " t = Add (s, s) u = Relu (t) v = Mul (u, a) y = Sub (v, c) }",
        {"w1": conv(16, 8, 3), "w2": conv(16, 16), "w3": conv(16, 8)},
    )
    assert not told["left"]
    assert told["kernels"]["convolution"] == 3


def test_regions_end_where_there_is_no_kernel(agrees: Any) -> None:
    """A softmax between convolutions, a transposed result, and the frontend's own lowering of Clip, which follows it."""
    told = agrees(
        "(float[1, 3, 8, 8] x) => (float[1, 8, 8, 10] y) {"
        " a = Conv <pads = [1, 1, 1, 1]> (x, w1) b = Clip (a, zero, six) s = Softmax <axis = 1> (b)"
        " c = Conv <pads = [1, 1, 1, 1]> (s, w2) t = Transpose <perm = [0, 2, 3, 1]> (c) y = Clip (t, zero, six) }",
        {"w1": 3 * conv(12, 3, 3), "w2": 9 * conv(10, 12, 3), "zero": 0.0, "six": 1.5},
    )
    assert [text.split(":")[0] for text in told["left"]] == ["relax.nn.softmax"]
    assert told["kernels"]["convolution"] == 2


def test_half_precision_runs_on_kernels_of_float32(agrees: Any) -> None:
    """The rounding between operators is left out, and no Cast is left over."""
    told = agrees(
        "(float[1, 8, 9, 9] x) => (float[1, 8, 9, 9] y) { h = Cast <to = 10> (x) v = Cast <to = 10> (w1)"
        " a = Conv <pads = [1, 1, 1, 1]> (h, v) r = Relu (a) f = Cast <to = 1> (r) y = Conv (f, w2) }",
        {"w1": conv(8, 8, 3), "w2": conv(8, 8)},
        tolerance=2e-3,
    )
    assert told["kernels"]["convolution"] == 2
    assert not told["left"]


def test_products_with_their_tails(agrees: Any) -> None:
    @QUICK
    @given(
        lead=st.lists(st.integers(1, 3), max_size=2), rows=st.integers(1, 15), inner=st.integers(1, 40),
        columns=st.integers(4, 70), seed=st.integers(0, 99),
    )  # fmt: skip
    def property_holds(lead: list[int], rows: int, inner: int, columns: int, seed: int) -> None:
        """Bias, GELU and a residual, for columns that fill no tile, and a second product behind them."""
        rng = np.random.default_rng(seed)
        before, after = [*lead, rows, inner], [*lead, rows, columns]
        told = agrees(
            f"(float{before} x, float{after} r) => (float{[*lead, rows, 5]} y) {{ m = MatMul (x, w) a = Add (m, bias)"
            " g = Div (a, root) e = Erf (g) f = Add (e, one) h = Mul (a, f) b = Mul (h, half) s = Add (r, b)"
            " y = MatMul (s, last) }",
            {
                "w": rng.standard_normal((inner, columns)) / np.sqrt(inner),
                "bias": rng.standard_normal(columns),
                "last": rng.standard_normal((columns, 5)),
                "root": 2**0.5,
                "one": 1.0,
                "half": 0.5,
            },
            seed=seed,
        )
        assert told == {"kernels": {"product": 2}, "left": []}

    property_holds()


@st.composite
def pools(draw: st.DrawFn) -> tuple[str, str]:
    """A pooling operator, and its attributes."""
    op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    kernel = [draw(st.integers(1, 4)), draw(st.integers(1, 4))]
    pads = [draw(st.integers(0, size - 1)) for size in (*kernel, *kernel)]
    strides = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    text = f"kernel_shape = {kernel}, pads = {pads}, strides = {strides}, ceil_mode = {draw(st.integers(0, 1))}"
    return op, text + (f", count_include_pad = {draw(st.integers(0, 1))}" if op == "AveragePool" else "")


def test_pools(agrees: Any) -> None:
    @QUICK
    @given(pool=pools(), channels=st.integers(1, 19), size=st.tuples(st.integers(4, 12), st.integers(4, 12)))
    def property_holds(pool: tuple[str, str], channels: int, size: tuple[int, int]) -> None:
        """Of numbers of both signs, since nothing is known about the sign; the pads are not zeros."""
        op, attributes = pool
        told = agrees(
            f"(float[2, {channels}, {size[0]}, {size[1]}] x) => (float[2, {channels}, n, m] y) {{"
            f" a = Conv (x, w, bias) y = {op} <{attributes}> (a) }}",
            {"w": conv(channels, channels), "bias": np.full(channels, -3.0)},
        )
        assert all("window" in text or "pads" in text for text in told["left"])

    property_holds()


def test_attention(agrees: Any) -> None:
    """Products of activations with broadcast leading axes, softmax and normalization over rows that fill no vector."""
    told = agrees(
        "(float[2, 3, 11, 19] q, float[3, 19, 21] k, float[2, 1, 21, 12] v) => (float[2, 3, 11, 12] y) {"
        " m = MatMul (q, k) n = Mul (m, half) s = Softmax <axis = -1> (n) o = MatMul (s, v)"
        " l = LayerNormalization <axis = -1> (o, gain, shift) y = Relu (l) }",
        {"half": 0.5, "gain": RNG.standard_normal(12), "shift": RNG.standard_normal(12)},
    )
    assert told == {"kernels": {"attention": 1, "layer norm": 1}, "left": []}


def test_feature_pyramid(agrees: Any) -> None:
    """A coarse map is repeated and added to a finer one."""
    told = agrees(
        "(float[1, 16, 6, 8] x) => (float[1, 8, 6, 8] y) {"
        " a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w1) b = Conv (x, w2)"
        ' c = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">'
        " (a, , scales) d = Add (b, c) y = Conv <pads = [1, 1, 1, 1]> (d, w3) }",
        {"w1": conv(12, 16, 3), "w2": conv(12, 16), "w3": conv(8, 12, 3), "scales": [1.0, 1.0, 2.0, 2.0]},
    )
    assert not told["left"]
    assert told["kernels"]["upsample"] == 1
