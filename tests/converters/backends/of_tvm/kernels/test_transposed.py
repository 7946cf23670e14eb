"""Transposed convolutions of every form against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def attributes(draw: st.DrawFn) -> dict[str, list[int]]:
    """By name; pads leave something of the result, and output_padding is less than the stride, as ONNX wants it."""
    kernel, strides, dilations = ([draw(st.integers(1, most)) for _ in "hw"] for most in (5, 3, 2))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = [draw(st.integers(0, min(2, span - 1))) for span in spans * 2]
    more = [draw(st.integers(0, stride - 1)) for stride in strides]
    return {
        "kernel_shape": kernel,
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
        "output_padding": more,
    }


def test_transposed_convolutions(agrees: Any) -> None:
    @QUICK
    @given(
        given=attributes(), batch=st.integers(1, 2), groups=st.sampled_from([1, 1, 1, 2]), inner=st.integers(1, 20),
        outputs=st.integers(1, 18), size=st.tuples(st.integers(3, 9), st.integers(3, 13)), seed=st.integers(0, 99),
    )  # fmt: skip
    def property_holds(
        given: dict[str, list[int]],
        batch: int,
        groups: int,
        inner: int,
        outputs: int,
        size: tuple[int, int],
        seed: int,
    ) -> None:
        """After a convolution and an activation, and with one behind that reads over the edge."""
        rng = np.random.default_rng(seed)
        per_group = outputs
        text = ", ".join(f"{name} = {values}" for name, values in given.items())
        taps = int(np.prod(given["kernel_shape"]))
        told = agrees(
            f"(float[{batch}, 5, {size[0]}, {size[1]}] x) => (float[{batch}, 8, h, w] y) {{"
            f" a = Conv (x, first) b = Relu (a) c = ConvTranspose <group = {groups}, {text}> (b, weights, bias)"
            " d = LeakyRelu (c) y = Conv <pads = [1, 1, 1, 1]> (d, last) }",
            {
                "first": rng.standard_normal((groups * inner, 5, 1, 1)),
                "weights": rng.standard_normal((groups * inner, per_group, *given["kernel_shape"]))
                / np.sqrt(inner * taps),
                "bias": rng.standard_normal(groups * per_group),
                "last": rng.standard_normal((8, groups * per_group, 3, 3)) / np.sqrt(9 * groups * per_group),
            },
            seed=seed,
        )
        assert told["kernels"].get("transposed convolution") == 1, told
        assert not told["left"]

    property_holds()


def test_an_infinite_input_reaches_no_output_beyond_the_kernel(agrees: Any) -> None:
    """Phases of a stride see fewer taps than others do."""
    told = agrees(
        "(float[1, 8, 5, 6] x) => (float[1, 8, h, w] y) { a = Relu (x) b = Div (one, a)"
        " c = ConvTranspose <strides = [2, 3], pads = [1, 0, 0, 1]> (b, weights) n = IsNaN (c) y = Cast <to = 1> (n) }",
        {"one": np.ones(1), "weights": np.full((8, 8, 3, 4), 0.5)},
    )
    assert told["kernels"].get("transposed convolution") == 1, told
