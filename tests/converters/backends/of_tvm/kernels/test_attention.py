"""Attention as graphs write it out, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64"])
def test_attention_of_any_size(agrees: Any, target: str) -> None:
    """Heads that are cut out of one projection, sizes that fill no vector, numbers that make sharp powers."""

    @QUICK
    @given(
        batch=st.integers(1, 2), heads=st.integers(1, 3), rows=st.integers(4, 37), keys=st.integers(1, 41),
        depth=st.integers(4, 20), columns=st.integers(4, 20), seed=st.integers(0, 99),
    )  # fmt: skip
    def property_holds(batch: int, heads: int, rows: int, keys: int, depth: int, columns: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        told = agrees(
            f"(float[{batch}, {rows}, {heads * depth}] x, float[{batch}, {keys}, {heads * depth}] c,"
            f" float[{batch}, {keys}, {heads * columns}] u) => (float[{batch}, {rows}, {heads * columns}] y) {{"
            f" q0 = Reshape (x, deep) q1 = Transpose <perm = [0, 2, 1, 3]> (q0) q = Mul (q1, scale)"
            f" k0 = Reshape (c, deep) k1 = Transpose <perm = [0, 2, 3, 1]> (k0) k = Mul (k1, scale)"
            f" v0 = Reshape (u, wide) v = Transpose <perm = [0, 2, 1, 3]> (v0)"
            " m = MatMul (q, k) n = Add (m, mask) s = Softmax <axis = -1> (n) o = MatMul (s, v)"
            " t = Transpose <perm = [0, 2, 1, 3]> (o) y = Reshape (t, flat) }",
            {
                "deep": np.array([0, 0, heads, depth]),
                "wide": np.array([0, 0, heads, columns]),
                "flat": np.array([0, 0, -1]),
                "scale": 3.0,
                "mask": rng.choice([0.0, -1e9], (batch, 1, 1, keys), p=[0.9, 0.1]),
            },
            seed=seed,
            name=target,
        )
        assert told["kernels"]["attention"] == 1
        assert "softmax" not in told["kernels"]
        assert not told["left"]

    property_holds()


def test_windows_with_bias_and_mask(agrees: Any) -> None:
    """A bias for each head, and a mask for each window that is added under another shape."""
    told = agrees(
        "(float[8, 3, 9, 12] q, float[8, 3, 12, 9] k, float[8, 3, 9, 10] v) => (float[8, 3, 9, 10] y) {"
        " m = MatMul (q, k) h = Div (m, root) a = Add (h, bias) b = Reshape (a, windows) c = Add (b, mask)"
        " d = Reshape (c, heads) s = Softmax <axis = -1> (d) y = MatMul (s, v) }",
        {
            "root": 12**0.5,
            "bias": RNG.standard_normal((1, 3, 9, 9)),
            "mask": RNG.choice([0.0, -100.0], (1, 4, 1, 9, 9)),
            "windows": np.array([2, 4, 3, 9, 9]),
            "heads": np.array([8, 3, 9, 9]),
        },
    )
    assert told == {"kernels": {"attention": 1}, "left": []}


def test_masks_that_are_computed(agrees: Any) -> None:
    """One for every row and column, and a factor of the scores for every row; keys and values for all heads together."""
    told = agrees(
        "(float[2, 3, 18, 8] q, float[2, 1, 7, 8] k, float[7, 16] v, float[2, 1, 18, 7] mask, float[18, 1] factor)"
        " => (float[2, 3, 18, 16] y) { t = Transpose <perm = [0, 1, 3, 2]> (k) m = MatMul (q, t) f = Mul (factor, m)"
        " a = Sub (f, mask) s = Softmax <axis = -1> (a) y = MatMul (s, v) }"
    )
    assert told == {"kernels": {"attention": 1}, "left": []}


def test_attention_over_planes(agrees: Any) -> None:
    """Positions lie side by side, channels in rows: the queries need no transposition, the values a copy."""
    told = agrees(
        "(float[1, 8, 5, 5] x) => (float[1, 24, 25] y) {"
        " a = Conv (x, w) b = Reshape (a, shape) q, k, v = Split <axis = 1, num_outputs = 3> (b)"
        " t = Transpose <perm = [0, 2, 1]> (q) m = MatMul (t, k) s = Softmax <axis = -1> (m)"
        " u = Transpose <perm = [0, 2, 1]> (v) o = MatMul (s, u) y = Transpose <perm = [0, 2, 1]> (o) }",
        {"w": RNG.standard_normal((72, 8, 1, 1)) / 4, "shape": np.array([1, 72, 25])},
    )
    assert told["kernels"]["attention"] == 1
    assert not told["left"]


def test_weights_that_are_used_elsewhere(agrees: Any) -> None:
    """Then they are computed whole."""
    told = agrees(
        "(float[2, 6, 8] q, float[2, 8, 6] k, float[2, 6, 8] v) => (float[2, 6, 6] s, float[2, 6, 8] y) {"
        " m = MatMul (q, k) s = Softmax <axis = -1> (m) y = MatMul (s, v) }"
    )
    assert told["kernels"] == {"batched product": 2, "softmax": 1}
