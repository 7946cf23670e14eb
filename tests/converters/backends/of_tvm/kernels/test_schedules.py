"""Every schedule in a kernel's space gives a correct kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_of_all_kinds_with_any_schedule(agrees: Any, stride: int) -> None:
    """Direct with and without groups, Winograd where it fits, depthwise, 1x1 over a plane without a gap; halos between."""

    @QUICK
    @given(
        channels=st.integers(16, 70),
        size=st.tuples(st.integers(4, 19), st.integers(4, 33)),
        batch=st.integers(1, 2),
        seed=st.integers(0, 999),
    )
    def property_holds(channels: int, size: tuple[int, int], batch: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        h, w = ((count - 1) // stride + 1 for count in size)

        def weights(outputs: int, inputs: int, kernel: int) -> Any:
            return rng.standard_normal((outputs, inputs, kernel, kernel)) / np.sqrt(inputs * kernel**2)

        told = agrees(
            f"(float[{batch}, 16, {size[0]}, {size[1]}] x) => (float[{batch}, {channels}, {h}, {w}] y) {{"
            f" a = Conv <pads = [1, 1, 1, 1], strides = [{stride}, {stride}]> (x, w1) b = Relu (a)"
            f" c = Conv <pads = [1, 1, 1, 1], group = 32> (b, w2) d = Conv <pads = [1, 1, 1, 1], group = 4> (c, w3)"
            f" e = Sigmoid (d) f = Add (e, b) g = Conv (f, w4) k = Conv (g, w5) y = Relu (k) }}",
            {
                "w1": weights(32, 16, 3),
                "w2": weights(32, 1, 3),
                "w3": weights(32, 8, 3),
                "w4": weights(channels, 32, 1),
                "w5": weights(channels, channels, 1),
            },
            seed=seed,
            name="x86-64-v3",
            winograd=True,
            drawn=seed,
        )
        assert not told["left"]

    property_holds()


def test_products_with_any_schedule(agrees: Any) -> None:
    """With a constant factor and without, and columns that fill no whole tile."""

    @QUICK
    @given(sizes=st.tuples(*[st.integers(4, 40)] * 3), seed=st.integers(0, 999))
    def property_holds(sizes: tuple[int, int, int], seed: int) -> None:
        rows, inner, columns = sizes
        told = agrees(
            f"(float[2, {rows}, {inner}] x, float[2, {columns}, {rows}] z) => (float[2, {columns}, {columns}] y)"
            " { a = MatMul (x, w) b = Relu (a) y = MatMul (z, b) }",
            {"w": np.random.default_rng(seed).standard_normal((inner, columns)) / np.sqrt(inner)},
            seed=seed,
            name="x86-64-v3",
            winograd=True,
            drawn=seed,
        )
        assert not told["left"]

    property_holds()


def test_a_product_of_no_rows(agrees: Any) -> None:
    """TVM divides by the number of steps of a loop."""
    agrees(
        "(float[3, 4] x) => (float[2, 4] y) <int64[1] zero = {0}, int64[1] axis = {0}> {"
        " none = Slice (x, zero, zero, axis) a = MatMul (none, w) b = Softmax (a) c = MatMul (x, w)"
        " d = Concat <axis = 0> (b, c) y = Slice (d, zero, two, axis) }",
        {"w": np.ones((4, 4)), "two": np.array([2])},
    )
