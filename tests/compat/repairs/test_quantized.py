"""Quantized operators in floats give the integers that ONNX Runtime's own kernels give."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import RTX, one_node, proof, repaired
from onnx import TensorProto, helper

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.repairs import GRAPH_REPAIRS
from enginesmith.compat.target import Target
from enginesmith.converters.graphs.proof import prove, runner

FLOAT, UINT8, INT8, INT32 = 1, 2, 3, 6
Array = np.ndarray[Any, Any]
KINDS = {UINT8: np.uint8, INT8: np.int8}


def zero(draw: st.DrawFn, kind: int, sizes: tuple[int, ...] = ()) -> Array:
    return np.full(sizes, draw(st.integers(0, 5)), KINDS[kind])


@st.composite
def products(draw: st.DrawFn) -> tuple[list[Any], list[int]]:
    """Two matrices of 8-bit integers with zero points, all 8 inputs of a QLinearMatMul, and their dtypes."""
    rows, terms, columns = draw(st.integers(1, 3)), draw(st.sampled_from([1, 4, 300, 700])), draw(st.integers(1, 3))
    batch = [2] if draw(st.booleans()) else []
    left, right = draw(st.sampled_from([(UINT8, UINT8), (INT8, INT8)]))
    scales = [np.array(s, np.float32) for s in (0.5, 0.25, 40)]
    second: Any = [terms, columns]
    if draw(st.booleans()):
        second = np.random.default_rng(columns).integers(0, 127, second).astype(KINDS[right])
    inputs = [[*batch, rows, terms], scales[0], zero(draw, left), second, scales[1], zero(draw, right), scales[2]]
    return [*inputs, zero(draw, left)], [left, FLOAT, left, right, FLOAT, right, FLOAT, left]


@settings(max_examples=25, deadline=None)
@given(given_product=products())
def test_a_product_of_integers_is_exact(given_product: tuple[list[Any], list[int]]) -> None:
    inputs, kinds = given_product
    model = one_node("QLinearMatMul", *inputs, dtypes=kinds, outputs=[(kinds[7], ())])
    found = proof("qlinear-matmul-in-float", model)
    assert found.agrees, found.reason
    places = (0, 3, 2, 5)
    given_inputs, given_kinds = [inputs[i] for i in places], [kinds[i] for i in places]
    model = one_node("MatMulInteger", *given_inputs, dtypes=given_kinds, outputs=[(INT32, ())])
    found = proof("matmul-integer-in-float", model)
    assert found.agrees, found.reason


@pytest.mark.parametrize(("terms", "products"), [(258, 1), (259, 2), (600, 3)])
def test_a_sum_is_split_where_float32_would_round_it(terms: int, products: int) -> None:
    """The largest numbers: 255 * 255 * 258 is the last such sum below 2^24."""
    ends = np.full([terms, 2], 255, np.uint8)
    model = one_node("MatMulInteger", [1, terms], [terms, 2], dtypes=[UINT8, UINT8], outputs=[(INT32, ())])
    after, _ = repaired("matmul-integer-in-float", model)
    assert sum(node.op_type == "MatMul" for node in after.graph) == products
    small = one_node("MatMulInteger", [1, terms], ends // 255, dtypes=[UINT8], outputs=[(INT32, ())])
    after, _ = repaired("matmul-integer-in-float", small)
    assert sum(node.op_type == "MatMul" for node in after.graph) == 1


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[list[Any], list[int], dict[str, Any]]:
    """All 9 inputs of a QLinearConv, their dtypes and its attributes."""
    group = draw(st.sampled_from([1, 1, 2]))
    channels, filters = 2 * group, 2 * group
    kernel = draw(st.sampled_from([[3], [2, 3], [1, 1]]))
    kind = draw(st.sampled_from([UINT8, INT8]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    info = np.iinfo(KINDS[kind])
    weight = rng.integers(info.min, info.max, [filters, channels // group, *kernel], endpoint=True).astype(KINDS[kind])
    per_channel = (filters,) if draw(st.booleans()) else ()
    scale = np.full(per_channel, 0.25, np.float32)
    bias = rng.integers(-3000, 3000, filters).astype(np.int32) if draw(st.booleans()) else None
    attributes: dict[str, Any] = {"group": group, "strides": [draw(st.integers(1, 2))] * len(kernel)}
    attributes["pads"] = [draw(st.integers(0, 1))] * (2 * len(kernel))
    inputs = [[2, channels, *[6] * len(kernel)], np.array(0.5, np.float32), zero(draw, kind), weight, scale]
    inputs += [np.zeros(per_channel, KINDS[kind]), np.array(9, np.float32), zero(draw, kind), bias]
    return inputs, [kind, FLOAT, kind, kind, FLOAT, kind, FLOAT, kind, INT32], attributes


@settings(max_examples=25, deadline=None)
@given(given_convolution=convolutions())
def test_a_convolution_of_integers_is_exact(given_convolution: tuple[list[Any], list[int], dict[str, Any]]) -> None:
    inputs, kinds, attributes = given_convolution
    trailing = inputs if inputs[8] is not None else inputs[:8]
    model = one_node("QLinearConv", *trailing, dtypes=kinds, outputs=[(kinds[7], ())], **attributes)
    found = proof("qlinear-conv-in-float", model)
    assert found.agrees, found.reason


def test_a_convolution_is_split_along_its_channels() -> None:
    model = one_node(
        "ConvInteger", [1, 40, 4, 4], [2, 40, 3, 3], np.array(7, np.uint8), dtypes=[UINT8, UINT8], outputs=[(INT32, ())]
    )
    after, _ = repaired("conv-integer-in-float", model)
    assert sum(node.op_type == "Conv" for node in after.graph) == 2
    found = proof("conv-integer-in-float", model)
    assert found.agrees, found.reason


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from([UINT8, INT8]),
    mode=st.sampled_from(["tensor", "axis", "blocks"]),
    point=st.integers(0, 100),
    scale=st.sampled_from([0.5, 0.01, 3.0]),
)
def test_quantization_with_a_zero_point_is_exact(kind: int, mode: str, point: int, scale: float) -> None:
    sizes, attributes = (), {}
    if mode != "tensor":
        sizes, attributes = ((4,), {"axis": 1}) if mode == "axis" else ((3, 2, 2), {"axis": 1, "block_size": 2})
    scales = np.array(scale * (1 + np.arange(int(np.prod(sizes)))), np.float32).reshape(sizes)
    points = np.full(sizes, point, KINDS[kind])
    model = one_node("QuantizeLinear", [3, 4, 2], scales, points, outputs=[(kind, ())], opset=21, **attributes)
    found = proof("quantize-in-float", model)
    assert found.agrees, found.reason
    model = one_node(
        "DequantizeLinear", [3, 4, 2], scales, points, dtypes=[kind], outputs=[(FLOAT, ())], opset=21, **attributes
    )
    found = proof("dequantize-in-float", model)
    assert found.agrees, found.reason


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from([TensorProto.UINT4, TensorProto.INT4]),
    axis=st.integers(0, 1),
    block=st.sampled_from([0, 2, 3]),
    point=st.one_of(st.none(), st.integers(0, 7)),
)
def test_constants_of_four_bits_are_exact(kind: int, axis: int, block: int, point: int | None) -> None:
    sizes = [4, 6]
    blocks = (
        [-(-size // block) if place == axis else size for place, size in enumerate(sizes)] if block else [sizes[axis]]
    )
    scales = np.linspace(0.1, 2, int(np.prod(blocks)), dtype=np.float32).reshape(blocks)
    numpy_kind = helper.tensor_dtype_to_np_dtype(kind)
    weights = np.random.default_rng(0).integers(0, 8, sizes).astype(numpy_kind)
    points = [] if point is None else [np.full(blocks, point).astype(numpy_kind)]
    attributes = {"axis": axis, **({"block_size": block} if block else {})}
    model = one_node("DequantizeLinear", weights, scales, *points, outputs=[(FLOAT, ())], opset=21, **attributes)
    for id, target in (("dequantize-in-float", RTX), ("dequantize-few-bits", Target("tvm", "0.27"))):
        found = proof(id, model, target)
        assert found.agrees, found.reason


def test_scales_that_only_a_run_knows_are_proved_with_ordinary_ones() -> None:
    model = one_node("QuantizeLinear", [3, 4], [], [], dtypes=[FLOAT, FLOAT, INT8], outputs=[(INT8, ())])
    _, cases = repaired("quantize-in-float", model)
    assert [float(case["x1"]) for case in cases] == [0.25]
    found = proof("quantize-in-float", model)
    assert found.agrees, found.reason
    assert found.samples > 3


def test_sums_too_long_for_the_graph_are_refused() -> None:
    model = one_node("MatMulInteger", [1, 40000], [40000, 1], dtypes=[UINT8, UINT8], outputs=[(INT32, ())])
    with pytest.raises(NotApplicable, match="40000 products are not exact"):
        repaired("matmul-integer-in-float", model)


@pytest.mark.parametrize(
    "zeros", ["uint8 z = {128}, uint8[2] zw = {128, 128}", "uint8 z = {128}, uint8[2] zw = {128, 127}"]
)
def test_uint8_around_128_is_int8_around_0(zeros: str) -> None:
    text = f"""
    <ir_version: 10, opset_import: ["" : 18]>
    quantized (float[2, 3] x) => (float[2, 2] y, float[2, 3] b)
      <float s = {{0.5}}, {zeros}, float[2] sw = {{0.5, 1}}, uint8[3, 2] q = {{0, 1, 127, 128, 129, 255}}> {{
      a = QuantizeLinear (x, s, z)
      b = DequantizeLinear (a, s, z)
      w = DequantizeLinear <axis = 1> (q, sw, zw)
      y = MatMul (b, w)
    }}
    """
    model = onnx.parser.parse_model(text)
    found = ir.from_proto(model)
    # The weight whose zero points are not all 128 stays.
    assert GRAPH_REPAIRS["uint8-to-int8"].rewrite(found, RTX) == (1 if "127" in zeros.split("zw")[1] else 2)
    shown = prove(model, ir.to_proto(found), 0.0)
    assert shown.agrees, shown.reason


def test_what_something_else_reads_stays_uint8() -> None:
    model = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["" : 18]>
    quantized (float[2, 3] x) => (float[2, 3] y, uint8[2, 3] a) <float s = {0.5}, uint8 z = {128}> {
      a = QuantizeLinear (x, s, z)
      y = DequantizeLinear (a, s, z)
    }
    """)
    assert GRAPH_REPAIRS["uint8-to-int8"].rewrite(ir.from_proto(model), RTX) == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), per_channel=st.booleans(), biased=st.booleans(), group=st.sampled_from([1, 2]))
def test_symmetric_int8_around_a_float_operator_is_at_most_one_level_off(
    seed: int, per_channel: bool, biased: bool, group: int
) -> None:
    rng = np.random.default_rng(seed)
    filters = 4
    weight = rng.integers(-127, 127, [filters, 4 // group, 3], endpoint=True).astype(np.int8)
    sizes = (filters,) if per_channel else ()
    nothing = np.zeros((), np.int8)
    scale = rng.uniform(0.01, 0.1, sizes).astype(np.float32)
    inputs: list[Any] = [[2, 4, 8], np.array(0.05, np.float32), nothing, weight, scale, np.zeros(sizes, np.int8)]
    inputs += [np.array(0.7, np.float32), nothing]
    inputs += [rng.integers(-3000, 3000, filters).astype(np.int32)] if biased else []
    conv = one_node("QLinearConv", *inputs, dtypes=[INT8], outputs=[(INT8, ())], group=group)
    inputs = [[2, 4, 8], np.array(0.05, np.float32), nothing, weight.reshape(8, -1), np.array(0.1, np.float32), nothing]
    inputs += [np.array(0.7, np.float32), nothing]
    product = one_node("QLinearMatMul", *inputs, dtypes=[INT8], outputs=[(INT8, ())])
    feed = {"x0": rng.integers(-128, 127, [2, 4, 8], endpoint=True).astype(np.int8)}
    for id, model in (("qlinear-conv-by-qdq", conv), ("qlinear-matmul-by-qdq", product)):
        after, _ = repaired(id, model)
        assert "QuantizeLinear" in [node.op_type for node in after.graph]
        old, new = (runner(m)(dict(feed))[0].astype(int) for m in (model, ir.to_proto(after)))
        assert np.abs(old - new).max() <= 1


def test_asymmetric_operators_are_not_put_between_qdq() -> None:
    inputs: list[Any] = [[2, 4], np.array(0.5, np.float32), np.array(3, np.int8), [4, 3]]
    inputs += [np.array(0.5, np.float32), np.array(0, np.int8), np.array(9, np.float32), np.array(0, np.int8)]
    model = one_node("QLinearMatMul", *inputs, dtypes=[INT8, FLOAT, INT8, INT8], outputs=[(INT8, ())])
    with pytest.raises(NotApplicable, match="no symmetric int8"):
        repaired("qlinear-matmul-by-qdq", model)
