"""The k largest by a heap, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("rows", "columns", "k"), [(3, 1, 1), (5, 90, 20), (1, 75, 75), (2, 1000, 3), (1, 5000, 1000), (2, 700, 128)]
)
def test_the_largest_in_order(agrees: Any, rows: int, columns: int, k: int) -> None:
    """Random rows, and rows of few different numbers, whose places tell which of equal ones comes first."""
    told = agrees(
        f"(float[{rows}, {columns}] x) => (float[{rows}, {k}] v, int64[{rows}, {k}] i, float[{rows}, {k}] w,"
        f" int64[{rows}, {k}] j, float[{rows}, {k}] u, int64[{rows}, {k}] h) <int64[1] k = {{{k}}}> {{"
        " v, i = TopK <axis = -1> (x, k) c = Clip (x, low, high) d = Ceil (c) w, j = TopK <axis = 1> (d, k)"
        " e = Mul (i0, x) u, h = TopK (e, k) }",
        {"low": -0.5, "high": 1.5, "i0": -1.0},
        tolerance=0.0,
    )
    assert told["kernels"]["topk"] == 3


def test_rising_rows_and_infinities(agrees: Any) -> None:
    """Every number is better than all before it; and rows that hold nothing but the least."""
    agrees(
        "(float[2, 600] x) => (float[2, 50] v, int64[2, 50] i, int64[2, 50] j) <int64[1] k = {50}> {"
        " z = Mul (x, zero) a = Add (z, rising) v, i = TopK (a, k) c = Sub (z, least) d, j = TopK (c, k) }",
        {"rising": np.arange(600, dtype=np.float32), "zero": 0.0, "least": 3e38},
        tolerance=0.0,
    )


def test_the_least_are_left_to_tvm(agrees: Any) -> None:
    told = agrees(
        "(float[2, 30] x) => (float[2, 4] v, int64[2, 4] i) <int64[1] k = {4}> { v, i = TopK <largest = 0> (x, k) }"
    )
    assert "topk" not in told["kernels"]
