"""The latency estimate: operations and bytes counted by hand, and what a lower precision saves."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from graphs import lowered, model, normal

from enginesmith.converters.precision import cost
from enginesmith.converters.precision.lower import prepare
from enginesmith.converters.precision.trial import products_of

CONV = model(
    "g (float[1,16,32,32] x) => (float[1,32,16,16] y) { c = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w) y = Relu(c) }",
    w=normal(32, 16, 3, 3),
)


def node(text: str, **weights: np.ndarray) -> ir.Node:  # type: ignore[type-arg]
    return next(iter(products_of(prepare(model(text, **weights), "fp16")).values()))


@pytest.mark.parametrize(
    ("text", "weights", "operations"),
    [
        ("g (float[1,16,32,32] x) => (float[1,32,16,16] y) { y = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w) }",
         {"w": normal(32, 16, 3, 3)}, 2 * 32 * 16 * 16 * 16 * 9),
        ("g (float[1,16,8,8] x) => (float[1,16,6,6] y) { y = Conv<group=16>(x, w) }",
         {"w": normal(16, 1, 3, 3)}, 2 * 16 * 6 * 6 * 9),
        ("g (float[1,4,8,8] x) => (float[1,6,9,9] y) { y = ConvTranspose(x, w) }",
         {"w": normal(4, 6, 2, 2)}, 2 * 4 * 8 * 8 * 6 * 4),
        ("g (float[5,7] x) => (float[5,3] y) { y = Gemm<transB=1>(x, w) }", {"w": normal(3, 7)}, 2 * 5 * 7 * 3),
        ("g (float[7,5] x) => (float[5,3] y) { y = Gemm<transA=1>(x, w) }", {"w": normal(7, 3)}, 2 * 5 * 7 * 3),
        ("g (float[2,5,7] x) => (float[2,5,3] y) { y = MatMul(x, w) }", {"w": normal(7, 3)}, 2 * 2 * 5 * 7 * 3),
        ("g (float[2,5,7] x) => (float[2,5,3] y) { y = Einsum<equation=\"bij,jk->bik\">(x, w) }",
         {"w": normal(7, 3)}, 2 * 2 * 5 * 7 * 3),
        ("g (int64[4] x) => (float[4,8] y) { y = Gather(w, x) }", {"w": normal(16, 8)}, 0),
    ],
)  # fmt: skip
def test_operations(text: str, weights: dict[str, np.ndarray], operations: float) -> None:  # type: ignore[type-arg]
    assert cost.operations(node(text, **weights)) == operations


def test_a_product_takes_the_longer_of_computing_and_moving() -> None:
    wide = node("g (float[64,4096] x) => (float[64,4096] y) { y = MatMul(x, w) }", w=normal(4096, 4096))
    rates = cost.PEAKS["sm_89"]
    moved = 4096 * (64 + 64 + 4096)
    assert cost.milliseconds_of(wide, "fp16", "sm_89") == pytest.approx(2 * moved / rates.bandwidth / 1e6)
    large = node("g (float[8192,4096] x) => (float[8192,4096] y) { y = MatMul(x, w) }", w=normal(4096, 4096))
    expected = 2 * 8192 * 4096 * 4096 / (rates.int8 * 1e9)
    assert cost.milliseconds_of(large, "int8", "sm_89") == pytest.approx(expected)
    assert cost.milliseconds_of(large, "fp32", "sm_75") / cost.milliseconds_of(large, "fp16", "sm_75") > 8


def test_lowering_a_graph_lowers_its_estimate(tmp_path) -> None:  # type: ignore[no-untyped-def]
    made, _ = lowered(CONV, {"x": normal(1, 16, 32, 32)}, tmp_path)
    wide = cost.estimate(prepare(CONV, "fp16"), "sm_89")
    assert 0 < cost.estimate(made, "sm_89") < wide


def test_a_quantized_product_reads_and_computes_in_int8() -> None:
    text = """g (float[1,16,32,32] x) => (float[1,32,32,32] y) {
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        v = DequantizeLinear<axis=0>(w, t, u)
        y = Conv<pads=[1,1,1,1]>(d, v)
    }"""
    scale, zero = np.float32(0.1), np.array(0, np.int8)
    weights = {"w": np.ones((32, 16, 3, 3), np.int8), "t": np.ones(32, np.float32), "u": np.zeros(32, np.int8)}
    made = prepare(model(text, s=np.array(scale), z=zero, **weights), "fp16")
    rates = cost.PEAKS["sm_89"]
    moved = 16 * 32 * 32 + 32 * 16 * 9 + 4 * 32 * 32 * 32
    assert cost.estimate(made, "sm_89") == pytest.approx(moved / rates.bandwidth / 1e6)


def test_what_is_quantized_at_once_is_written_in_int8() -> None:
    text = """g (float[1,4,8,8] x) => (float[1,4,8,8] y) {
        p = AveragePool<kernel_shape=[1,1]>(x)
        q = QuantizeLinear(p, s, z)
        y = DequantizeLinear(q, s, z)
    }"""
    made = prepare(model(text, s=np.array(np.float32(0.1)), z=np.array(0, np.int8)), "fp16")
    assert cost.estimate(made, "sm_89") == pytest.approx(4 * 8 * 8 * (4 + 1) / cost.PEAKS["sm_89"].bandwidth / 1e6)


def test_activations_ride_along_and_a_sum_reads_its_other_branch() -> None:
    def estimate(body: str, out: str) -> float:
        text = f"g (float[1,4,8,8] x, float[1,4,8,8] z) => (float[1,4,8,8] {out}) {{ c = Conv<pads=[1,1,1,1]>(x, w) {body} }}"
        return cost.estimate(prepare(model(text, w=normal(4, 4, 3, 3)), "fp16"), "sm_89")

    alone = estimate("", "c")
    assert estimate("r = Relu(c)", "r") == pytest.approx(alone)
    bytes_read = 4 * 4 * 8 * 8
    assert estimate("r = Add(c, z)", "r") - alone == pytest.approx(bytes_read / cost.PEAKS["sm_89"].bandwidth / 1e6)


def test_dynamic_sizes_are_taken_from_the_samples() -> None:
    text = "g (float[N,16,H,W] x) => (float[N,32,P,Q] y) { c = Conv(x, w) r = Relu(c) y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r) }"
    dynamic = prepare(model(text, w=normal(32, 16, 3, 3)), "fp16")
    static = prepare(
        model(text.replace("N,16,H,W", "2,16,34,34").replace("N,32,P,Q", "2,32,16,16"), w=normal(32, 16, 3, 3)), "fp16"
    )
    sized = cost.with_shapes(dynamic, {"x": (2, 16, 34, 34)})
    assert cost.estimate(sized, "sm_89") == pytest.approx(cost.estimate(static, "sm_89"))
    assert cost.estimate(dynamic, "sm_89") < cost.estimate(sized, "sm_89")
    assert not dynamic.graph.inputs[0].shape.is_static(), "the given model is left as it was"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("target", "board"),
    [("sm_89", "L4"), ("sm_121", "GeForce RTX 5090"), ("sm_88", "Jetson AGX Orin 64GB"), ("sm_70", cost.UNKNOWN.board),
     ("native", cost.UNKNOWN.board), ("x86-64-v4", cost.UNKNOWN.board)],
)  # fmt: skip
def test_the_board_of_a_target(target: str, board: str) -> None:
    assert cost.peaks(target).board == board


def test_fewer_bits_are_never_slower() -> None:
    for rates in (*cost.PEAKS.values(), cost.UNKNOWN):
        assert rates.fp32 < rates.fp16 < rates.int8
