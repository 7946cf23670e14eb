"""Convolutions of every form against ONNX Runtime, with what is fused after them and the halo before the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ACTIVATIONS = {
    "": "b = Identity (a)",
    "relu": "b = Relu (a)",
    "clip": "b = Clip (a, low, high)",
    "silu": "s = Sigmoid (a) b = Mul (a, s)",
    "hardswish": "b = HardSwish (a)",
    "hardsigmoid": "b = HardSigmoid (a)",
    "leaky": "b = LeakyRelu <alpha = 0.1> (a)",
    "tanh": "b = Tanh (a)",
    "gelu": "g = Div (a, root) e = Erf (g) f = Add (e, one) h = Mul (a, f) b = Mul (h, half)",
}
NUMBERS = {"low": -0.5, "high": 0.75, "root": 2**0.5, "one": 1.0, "half": 0.5}


@dataclass(frozen=True)
class Convolution:
    """Attributes of a Conv node and the size of its input."""

    batch: int
    groups: int
    inputs: int
    outputs: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]

    @property
    def attributes(self) -> str:
        lists = {"strides": self.strides, "dilations": self.dilations, "pads": self.pads}
        return ", ".join([f"group = {self.groups}", *(f"{name} = {list(values)}" for name, values in lists.items())])

    @property
    def result(self) -> tuple[int, ...]:
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        return tuple(
            (size + before + after - span) // stride + 1
            for size, before, after, span, stride in zip(
                self.size, self.pads[:2], self.pads[2:], spans, self.strides, strict=True
            )
        )

    def weights(self, rng: np.random.Generator) -> Any:
        inner = self.inputs // self.groups
        return rng.standard_normal((self.outputs, inner, *self.kernel)) / np.sqrt(
            inner * self.kernel[0] * self.kernel[1]
        )


def pair(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(draw: st.DrawFn, kind: str = "dense") -> Convolution:
    inputs, outputs, groups = draw(st.integers(1, 37)), draw(st.integers(1, 41)), 1
    if kind == "depthwise":
        groups = outputs = inputs = draw(st.integers(2, 35))
    elif kind == "grouped":
        groups = draw(st.integers(2, 4))
        inputs, outputs = groups * draw(st.integers(1, 12)), groups * draw(st.integers(1, 17))
    kernel, dilations, strides = draw(pair(1, 5)), draw(pair(1, 2)), draw(pair(1, 3))
    pads = (*draw(pair(0, 2)), *draw(pair(0, 2)))
    least = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = (draw(st.integers(least[0], least[0] + 14)), draw(st.integers(least[1], least[1] + 19)))
    if kind == "winograd":
        kernel, dilations, strides = (3, 3), draw(pair(1, 3)), (1, 1)
        inputs, outputs = 8 * draw(st.integers(2, 4)), draw(st.integers(16, 40))
        more = draw(pair(0, 18))
        size = (2 * dilations[0] + 1 + more[0], 2 * dilations[1] + 1 + more[1])
    return Convolution(draw(st.integers(1, 2)), groups, inputs, outputs, size, kernel, strides, dilations, pads)


@pytest.mark.parametrize("kind", ["dense", "grouped", "depthwise", "winograd"])
def test_a_convolution_with_its_tail(agrees: Any, kind: str) -> None:
    @QUICK
    @given(conv=convolutions(kind), tail=st.sampled_from(sorted(ACTIVATIONS)), seed=st.integers(0, 99))
    def property_holds(conv: Convolution, tail: str, seed: int) -> None:
        """Bias, a residual, an activation, and a convolution after it that reads over the edge."""
        rng = np.random.default_rng(seed)
        (h, w), o = conv.result, conv.outputs
        told = agrees(
            f"(float[{conv.batch}, {conv.inputs}, {conv.size[0]}, {conv.size[1]}] x, float[{conv.batch}, {o}, {h}, {w}] r)"
            f" => (float[{conv.batch}, 8, {h}, {w}] y) {{ c = Conv <{conv.attributes}> (x, w, bias) a = Add (c, r)"
            f" {ACTIVATIONS[tail]} y = Conv <pads = [1, 1, 1, 1]> (b, last) }}",
            {
                "w": conv.weights(rng),
                "bias": rng.standard_normal(o),
                "last": rng.standard_normal((8, o, 3, 3)) / np.sqrt(9 * o),
                **NUMBERS,
            },
            seed=seed,
        )
        assert not told["left"]
        assert "elementwise" not in told["kernels"]

    property_holds()


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v4"])
def test_other_vector_widths(agrees: Any, target: str) -> None:
    """4 and 16 lanes: channels that fill no block, groups narrower than one, and both sizes of Winograd's tile."""
    from enginesmith.converters.backends.tvm.target import parse, runnable

    if reason := runnable(parse(target)):
        pytest.skip(reason)
    rng = np.random.default_rng(0)
    told = agrees(
        "(float[1, 3, 30, 30] x) => (float[1, 40, 14, 14] y) {"
        " a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w1) b = Conv <pads = [1, 1, 1, 1], group = 3> (a, w2)"
        " c = Relu (b) d = Conv <pads = [1, 1, 1, 1], group = 24> (c, w3) e = Conv <pads = [1, 1, 1, 1]> (d, w4)"
        " f = Conv <pads = [0, 0, 1, 1]> (e, w5) y = Relu (f) }",
        {
            "w1": rng.standard_normal((24, 3, 3, 3)) / 5,
            "w2": rng.standard_normal((24, 8, 3, 3)) / 8,
            "w3": rng.standard_normal((24, 1, 3, 3)) / 3,
            "w4": rng.standard_normal((48, 24, 3, 3)) / 14,
            "w5": rng.standard_normal((40, 48, 3, 3)) / 20,
        },
        name=target,
    )
    assert told["kernels"]["depthwise"] == 1
    assert not told["left"]


@pytest.mark.parametrize(("dilation", "kernels"), [(3, "convolution"), (9, "convolution"), (12, "depthwise")])
def test_taps_that_see_nothing(agrees: Any, dilation: int, kernels: str) -> None:
    """Dilations as large as the plane: the centre alone is left of the window, in one direction or in both."""
    rng = np.random.default_rng(0)
    groups = 12 if kernels == "depthwise" else 1
    told = agrees(
        f"(float[1, 12, 9, 12] x) => (float[1, 12, 9, 12] y) {{ y = Conv <group = {groups},"
        f" dilations = [{dilation}, {dilation}], pads = [{dilation}, {dilation}, {dilation}, {dilation}]> (x, w) }}",
        {"w": rng.standard_normal((12, 12 // groups, 3, 3))},
    )
    assert told["kernels"][kernels] == 1


def test_taps_that_some_outputs_see(agrees: Any) -> None:
    @QUICK
    @given(
        size=pair(6, 24), dilations=pair(3, 9), pads=st.tuples(*(st.integers(2, 9) for _ in range(4))),
        strides=pair(1, 2), seed=st.integers(0, 99),
    )  # fmt: skip
    @example(size=(17, 15), dilations=(4, 9), pads=(5, 7, 2, 3), strides=(2, 1), seed=39)
    @example(size=(14, 20), dilations=(8, 7), pads=(9, 3, 9, 4), strides=(2, 2), seed=49)
    def property_holds(
        size: tuple[int, int],
        dilations: tuple[int, int],
        pads: tuple[int, int, int, int],
        strides: tuple[int, int],
        seed: int,
    ) -> None:
        """Far beyond the edges on all sides: every row and tile has taps of its own."""
        rng = np.random.default_rng(seed)
        size = (size[0] + 2 * dilations[0], size[1]) if size[0] + pads[0] + pads[2] <= 2 * dilations[0] else size
        size = (size[0], size[1] + 2 * dilations[1]) if size[1] + pads[1] + pads[3] <= 2 * dilations[1] else size
        told = agrees(
            f"(float[1, 16, {size[0]}, {size[1]}] x) => (float[1, 16, h, w] y) {{ y = Conv <strides = {[*strides]},"
            f" dilations = {[*dilations]}, pads = {[*pads]}> (x, w) }}",
            {"w": rng.standard_normal((16, 16, 3, 3)) / 12},
            seed=seed,
            name="x86-64-v3",
            winograd=False,
        )
        assert told["kernels"]["convolution"] == 1

    property_holds()


def test_what_has_no_kernel_is_left_to_tvm_with_the_reason(agrees: Any) -> None:
    """Weights that are computed: the layout changes at the border."""
    rng = np.random.default_rng(0)
    told = agrees(
        "(float[1, 6, 9, 9] x, float[8, 8, 1, 1] v) => (float[1, 8, 9, 9] y) {"
        " a = Conv <pads = [1, 1, 1, 1]> (x, w1) b = Conv (a, v) c = Conv (b, w2) y = Relu (c) }",
        {"w1": rng.standard_normal((8, 6, 3, 3)), "w2": rng.standard_normal((8, 8, 1, 1))},
    )
    assert any("run time" in text for text in told["left"])
    assert told["kernels"]["convolution"] == 2
    assert told["kernels"]["unpack"] == 2


def test_winograd_can_be_switched_off(agrees: Any) -> None:
    text = "(float[1, 32, 16, 16] x) => (float[1, 32, 16, 16] y) { y = Conv <pads = [1, 1, 1, 1]> (x, w) }"
    weights = {"w": np.random.default_rng(0).standard_normal((32, 32, 3, 3)) / 17}
    assert "winograd4" in agrees(text, weights)["kernels"]
    plain = agrees(text, weights, tolerance=2e-6, name="x86-64-v3", winograd=False)
    assert plain["kernels"]["convolution"] == 1
