"""Q/DQ graphs on kernels of integers against ONNX Runtime without optimizations, which computes them as ONNX says.

With scales that are powers of two, and sums below 2^24 of their units, float32 is exact, so that both must be equal bit
for bit. With others a number may fall to the other side of a rounding: one quantum.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quantized_graphs import ZEROS, Graph, Run, integer_weights, powers

from enginesmith.converters.core.isolated import Isolated

QUICK = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ACTIVATION, RESULT = 2.0**-4, 2.0**-1


def out_size(size: int, kernel: int, stride: int, dilation: int, pads: int) -> int:
    return (size + pads - (kernel - 1) * dilation - 1) // stride + 1


@pytest.mark.parametrize("kind", ["dense", "pointwise", "grouped", "depthwise"])
def test_convolutions_of_integers_are_exact(run: Run, kind: str) -> None:
    @QUICK
    @given(data=st.data(), zero=ZEROS, seed=st.integers(0, 999), extreme=st.booleans())
    def property_holds(data: st.DataObject, zero: tuple[str, int], seed: int, extreme: bool) -> None:
        """Bias, a residual in integers, ReLU, a rounding, and a convolution after it that reads over the edge."""
        rng, draw = np.random.default_rng(seed), data.draw
        groups, inputs, outputs = 1, draw(st.integers(1, 37)), draw(st.integers(1, 41))
        if kind == "grouped":
            groups = draw(st.integers(2, 4))
            inputs, outputs = groups * 4 * draw(st.integers(1, 4)), groups * 4 * draw(st.integers(1, 5))
        elif kind == "depthwise":
            groups = inputs = outputs = draw(st.integers(2, 35))
        kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        pads = [draw(st.integers(0, 2)) for _ in range(4)]
        if kind == "pointwise":
            kernel, stride, dilation, pads = 1, 1, 1, [0] * 4
        least = (kernel - 1) * dilation + 1
        height, width = draw(st.integers(least, least + 12)), draw(st.integers(least, least + 19))
        batch = draw(st.integers(1, 2))
        graph = Graph((batch, inputs, height, width))
        source = graph.quantized("x", ACTIVATION, zero)
        weights = integer_weights(rng, (outputs, inputs // groups, kernel, kernel), extreme)
        bias = graph.constant((rng.integers(-999, 999, outputs) / 64).astype(np.float32))
        value = graph.node("Conv", source, graph.integers(weights, powers(rng, outputs)), bias, group=groups,
                           pads=pads, strides=[stride] * 2, dilations=[dilation] * 2)  # fmt: skip
        other = graph.quantized(graph.node("Neg", value), RESULT, zero)
        value = graph.quantized(graph.node("Relu", graph.node("Add", value, other)), 2 * RESULT, zero)
        last = integer_weights(rng, (8, outputs, 3, 3), False)
        value = graph.node("Conv", value, graph.integers(last, powers(rng, 8)), pads=[1, 1, 1, 1])
        spread = 40.0 if extreme else 3.0  # beyond what the integers hold, or within
        x = (rng.standard_normal(graph.shape) * spread).astype(np.float32)
        found, expected, told = run(graph, [value], x)
        np.testing.assert_array_equal(found[0], expected[0])
        assert told["kernels"]["depthwise" if kind == "depthwise" and groups > 1 else "int8 convolution"]
        assert not told["left"]

    property_holds()


@QUICK
@given(
    rows=st.integers(1, 19), steps=st.integers(1, 40), columns=st.integers(4, 70), zero=ZEROS, seed=st.integers(0, 99)
)
def test_products_of_integers_are_exact(
    run: Run, rows: int, steps: int, columns: int, zero: tuple[str, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    inner = 8 * steps
    graph = Graph((2, rows, inner))
    source = graph.quantized("x", ACTIVATION, zero)
    weights = graph.integers(integer_weights(rng, (inner, columns), False), powers(rng, columns), axis=1)
    bias = graph.constant((rng.integers(-99, 99, columns) / 64).astype(np.float32))
    value = graph.quantized(graph.node("Relu", graph.node("Add", graph.node("MatMul", source, weights), bias)), RESULT)
    turned = graph.integers(integer_weights(rng, (16, columns), False), powers(rng, 16))
    narrow = graph.node("MatMul", value, graph.node("Transpose", turned, perm=[1, 0]))
    found, expected, told = run(graph, [narrow], rng.standard_normal(graph.shape).astype(np.float32))
    np.testing.assert_array_equal(found[0], expected[0])
    assert told["kernels"]["int8 product"] == (2 if columns % 2 == 0 else 1)


def network(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> tuple[Graph, list[str]]:
    """What lies between products of integers: pooling, a concatenation, a gate, a residual, and an output of floats."""
    graph = Graph(shape)

    def conv(value: str, outputs: int, inputs: int, size: int = 3) -> str:
        weights = integer_weights(rng, (outputs, inputs, size, size), False)
        scales = rng.uniform(0.5, 1.0, outputs) / (60 * np.sqrt(inputs * size * size))
        return graph.node("Conv", value, graph.integers(weights, scales), pads=[size // 2] * 4)

    stem = graph.node("Relu", conv(graph.quantized("x", scale), 32, 3))
    pooled = graph.quantized(graph.node("MaxPool", stem, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), scale)
    left, right = (graph.quantized(conv(pooled, 16, 32, size), scale) for size in (1, 3))
    joined = graph.node("Concat", left, right, axis=1)
    gate = graph.node("Sigmoid", conv(graph.quantized(graph.node("GlobalAveragePool", joined), scale), 32, 32, 1))
    added = graph.node("Add", graph.node("Mul", joined, gate), pooled)
    smaller = graph.quantized(added, scale)
    average = graph.node("AveragePool", smaller, kernel_shape=[2, 2], strides=[2, 2])
    flat = graph.node("Flatten", graph.node("GlobalAveragePool", conv(smaller, 40, 32)))
    weights = graph.integers(integer_weights(rng, (40, 10), False), rng.uniform(0.001, 0.01, 10), axis=1)
    return graph, [smaller, average, graph.node("MatMul", graph.quantized(flat, scale / 4), weights)]


def test_a_network_is_within_a_quantum(run: Run) -> None:
    rng = np.random.default_rng(0)
    scale = 0.0371
    graph, results = network(rng, (1, 3, 21, 21), scale)
    found, expected, told = run(graph, results, rng.standard_normal(graph.shape).astype(np.float32))
    difference = np.abs(found[0] - expected[0])
    assert difference.max() <= 1.001 * scale
    assert (difference > 0.5 * scale).mean() < 0.01
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= 0.02 * np.abs(other).max()
    assert told["kernels"]["int8 convolution"] == 5
    assert told["kernels"]["int8 product"] == 1


@pytest.mark.parametrize("apart", [False, True])
def test_what_is_joined_and_repeated_stays_integers(run: Run, apart: bool) -> None:
    """Of one scale, whatever the zero points; those of two scales are made numbers first (`apart`)."""
    rng = np.random.default_rng(0)
    graph = Graph((2, 16, 7, 5))
    halves = []
    for scale, kind in ((RESULT, ("int8", 0)), (2 * RESULT if apart else RESULT, ("int8", -7))):
        weights = graph.integers(integer_weights(rng, (16, 16, 1, 1), False), powers(rng, 16))
        product = graph.node("Conv", graph.quantized("x", ACTIVATION), weights)
        halves.append(graph.quantized(product, scale, kind))
    joined = graph.quantized(graph.node("Concat", *halves, axis=1), RESULT)
    sizes = graph.constant(np.array([1, 1, 2, 3], np.float32))
    larger = graph.node("Resize", joined, "", sizes, mode="nearest", coordinate_transformation_mode="asymmetric",
                        nearest_mode="floor")  # fmt: skip
    weights = graph.integers(integer_weights(rng, (24, 32, 3, 3), False), powers(rng, 24))
    result = graph.node("Conv", graph.quantized(larger, RESULT), weights, pads=[1] * 4)
    found, expected, told = run(graph, [result], rng.standard_normal(graph.shape).astype(np.float32))
    np.testing.assert_array_equal(found[0], expected[0])
    assert told["kernels"]["int8 convolution"] == 3
    assert told["kernels"].get("dequantize", 0) == (2 if apart else 0)


@pytest.mark.parametrize(("target", "dot"), [("x86-64-v2", ""), ("x86-64-v3", "WIDENED"), ("native", "")])
def test_every_way_to_sum_is_exact(run: Run, target: str, dot: str) -> None:
    """Numbers and weights at their limits; the sums of pairs would saturate in 16 bits."""
    rng = np.random.default_rng(0)
    graph = Graph((1, 3, 12, 12))
    weights = integer_weights(rng, (48, 3, 3, 3), True)
    value = graph.node("Relu", graph.node("Conv", graph.quantized("x", ACTIVATION),
                                          graph.integers(weights, powers(rng, 48)), pads=[1] * 4))  # fmt: skip
    value = graph.quantized(value, RESULT)
    weights = np.where(rng.random((24, 48, 3, 3)) < 0.9, 127, -127)
    value = graph.node("Conv", value, graph.integers(weights, powers(rng, 24)), pads=[1] * 4)
    x = np.sign(rng.standard_normal(graph.shape)).astype(np.float32) * 50
    found, expected, told = run(graph, [value], x, target, dot)
    np.testing.assert_array_equal(found[0], expected[0])
    assert told["kernels"]["int8 convolution"] == 2


def test_what_has_no_kernel_of_integers_computes_in_floats(run: Run) -> None:
    """Weights with a zero point, a scale for each channel of an activation, and integers that are a result."""
    rng = np.random.default_rng(0)
    graph = Graph((1, 8, 9, 9))
    source = graph.quantized("x", ACTIVATION)
    weights = graph.constant(rng.integers(0, 255, (16, 8, 3, 3)).astype(np.uint8))
    scale, zero = graph.constant(np.float32(0.01)), graph.constant(np.uint8(120))
    value = graph.node("Conv", source, graph.node("DequantizeLinear", weights, scale, zero), pads=[1] * 4)
    scales, zeros = graph.constant(np.full(16, 0.05, np.float32)), graph.constant(np.zeros(16, np.int8))
    rounded = graph.node("QuantizeLinear", value, scales, zeros, axis=1)
    value = graph.node("DequantizeLinear", rounded, scales, zeros, axis=1)
    value = graph.node("Conv", value, graph.constant((rng.standard_normal((4, 16, 1, 1)) / 4).astype(np.float32)))
    found, expected, told = run(graph, [value], rng.standard_normal(graph.shape).astype(np.float32))
    np.testing.assert_allclose(found[0], expected[0], atol=0.05)
    assert "int8 convolution" not in told["kernels"]


@pytest.mark.parametrize(
    ("target", "instruction"),
    [
        ("x86-64-v3", r"vpmaddwd\t.*%ymm"),
        ("x86-64-v3+vnni", r"vpdpbusd\t.*%ymm"),
        ("x86-64-v4+vnni", r"vpdpbusd\t.*%zmm"),
        ("aarch64-linux-gnu", r"[su]?m(la|lal)\tv"),
        ("aarch64-linux-gnu+dotprod", r"sdot\tv"),
    ],
)
def test_integers_are_multiplied_by_the_targets_instruction(
    with_tvm: Isolated, tmp_path: Path, target: str, instruction: str
) -> None:
    rng = np.random.default_rng(0)
    graph = Graph((1, 32, 8, 8))
    weights = graph.integers(integer_weights(rng, (32, 32, 1, 1), False), powers(rng, 32))
    graph.save(tmp_path / "model.onnx", graph.node("Conv", graph.quantized("x", ACTIVATION), weights))
    told = with_tvm.call("compiled:machine_code", str(tmp_path), target, timeout=60)
    assert told["kernels"]["int8 convolution"] == 1
    assert len(re.findall(instruction, told["code"])) >= 16
