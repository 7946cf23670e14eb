"""Integers that a backend doesn't have are carried by wider ones, with the same numbers, over the whole of their range."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import RTX
from onnx import helper

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.graphs import infer
from enginesmith.compat.interface import changed, fed, fetched
from enginesmith.compat.repairs import GRAPH_REPAIRS
from enginesmith.compat.repairs.dtypes import CARRIERS
from enginesmith.converters.graphs.proof import prove, runner

KINDS = sorted(CARRIERS, key=int)
WIDE = {"Add", "Sub", "Mul", "BitwiseAnd", "BitwiseOr", "BitwiseXor"}
"""What a uint64 computes right over its whole range, and not only below 2^63."""
BINARY = sorted(WIDE | {"Div", "Mod", "Max", "Min", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"})
COMPARING = {"Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"}


def carry(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model after the repair, which a second run leaves as it is."""
    repair = GRAPH_REPAIRS["carried-integers"].rewrite
    found = ir.from_proto(model)
    assert repair(found, RTX) > 0
    after = ir.to_proto(found)
    onnx.checker.check_model(after)
    assert repair(infer(ir.from_proto(after)), RTX) == 0
    return after


def model_of(nodes: list[onnx.NodeProto], inputs: dict[str, int], outputs: dict[str, int]) -> onnx.ModelProto:
    def told(kinds: dict[str, int]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, kind, [4, 6]) for name, kind in kinds.items()]

    graph = helper.make_graph(nodes, "g", told(inputs), told(outputs))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def numbers(kind: ir.DataType, seed: int, *, signed_end: bool = False) -> np.ndarray[Any, Any]:
    """Numbers of the whole range with its ends and small ones; `signed_end` stops a uint64 at 2^63 - 1."""
    low, high = int(kind.min), int(kind.max)
    high = min(high, 2**63 - 1) if signed_end else high
    rng = np.random.default_rng(seed)
    whole = rng.integers(low, high, 24, dtype=kind.numpy(), endpoint=True)
    small = rng.integers(max(low, -4), 4, 24, endpoint=True).astype(kind.numpy())
    ends = rng.choice(np.array([low, high, 1], dtype=kind.numpy()), 24)
    pick = rng.integers(0, 3, 24)
    return np.choose(pick, [whole, small, ends]).reshape(4, 6)


def same(before: onnx.ModelProto, after: onnx.ModelProto, feed: dict[str, np.ndarray[Any, Any]]) -> None:
    for old, new in zip(runner(before)(dict(feed)), runner(after, reference=False)(dict(feed)), strict=True):
        np.testing.assert_array_equal(new, old, strict=True)


@settings(max_examples=80, deadline=None)
@given(op=st.sampled_from(BINARY), kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32 - 1))
def test_two_numbers_make_the_same_number_in_the_wider_dtype(op: str, kind: ir.DataType, seed: int) -> None:
    made = ir.DataType.BOOL if op in COMPARING else kind
    model = model_of([helper.make_node(op, ["a", "b"], ["y"])], {"a": kind, "b": kind}, {"y": made})
    short = op not in WIDE
    a, b = numbers(kind, seed, signed_end=short), numbers(kind, seed + 1, signed_end=short)
    if op in ("Div", "Mod"):
        b = np.where(b == 0, np.array(1, b.dtype), b)
        # The one quotient that overflows brings the processor to a stop.
        b = np.where((a == kind.min) & (b == np.array(-1).astype(b.dtype)), np.array(1, b.dtype), b)
    same(model, carry(model), {"a": a, "b": b})


@settings(max_examples=40, deadline=None)
@given(
    source=st.sampled_from([*KINDS, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.INT8, ir.DataType.BOOL]),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_cast_between_integers_keeps_the_low_bits(source: ir.DataType, kind: ir.DataType, seed: int) -> None:
    nodes = [helper.make_node("Cast", ["a"], ["n"], to=kind), helper.make_node("Add", ["n", "n"], ["y"])]
    model = model_of(nodes, {"a": source}, {"y": kind})
    feed = numbers(source if source != ir.DataType.BOOL else ir.DataType.UINT8, seed).astype(source.numpy())
    same(model, carry(model), {"a": feed})


@settings(max_examples=20, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32 - 1))
def test_a_chain_wraps_around_after_each_step(kind: ir.DataType, seed: int) -> None:
    nodes = [
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("BitwiseNot", ["s"], ["n"]),
        helper.make_node("Mul", ["n", "a"], ["p"]),
        helper.make_node("Transpose", ["p"], ["t"]),
        helper.make_node("Transpose", ["t"], ["u"]),
        helper.make_node("BitwiseXor", ["u", "b"], ["y"]),
    ]
    model = model_of(nodes, {"a": kind, "b": kind}, {"y": kind})
    same(model, carry(model), {"a": numbers(kind, seed), "b": numbers(kind, seed + 1)})


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("kind", [ir.DataType.UINT8, ir.DataType.UINT32])
def test_a_shift_is_a_product_with_a_power_of_two(direction: str, kind: ir.DataType) -> None:
    node = helper.make_node("BitShift", ["a", "b"], ["y"], direction=direction)
    model = model_of([node], {"a": kind, "b": kind}, {"y": kind})
    by = (np.arange(24) % kind.bitwidth).reshape(4, 6).astype(kind.numpy())
    same(model, carry(model), {"a": numbers(kind, 0), "b": by})


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_all_64_bits_are_shifted(direction: str) -> None:
    node = helper.make_node("BitShift", ["a", "b"], ["y"], direction=direction)
    model = model_of([node], {"a": ir.DataType.UINT64, "b": ir.DataType.UINT64}, {"y": ir.DataType.UINT64})
    numbers = np.array([0, 1, 5, 2**31, 2**32 + 7, 2**63 - 1, 2**63, 2**63 + 9, 2**64 - 1], np.uint64)
    for by in (0, 1, 2, 31, 32, 33, 62, 63):
        a = np.resize(numbers, 24).reshape(4, 6)
        same(model, carry(model), {"a": a, "b": np.full((4, 6), by, np.uint64)})


@pytest.mark.parametrize("kind", [ir.DataType.INT16, ir.DataType.UINT16])
def test_quantization_to_16_bits_is_done_in_floats(kind: ir.DataType) -> None:
    text = f"""
    <ir_version: 10, opset_import: ["" : 21]>
    q (float[2, 3] x) => ({kind.name.lower()}[2, 3] q, float[2, 3] y)
      <float[3] scale = {{0.5, 0.001, 20}}, {kind.name.lower()}[3] zero = {{3, 0, 100}}> {{
      q = QuantizeLinear <axis = 1> (x, scale, zero)
      y = DequantizeLinear <axis = 1> (q, scale, zero)
    }}
    """
    model = onnx.parser.parse_model(text)
    found = prove(model, carry(model), 0.0)
    assert found.agrees, found.reason


def test_uint8_stays_at_the_ends_and_the_others_are_on_record() -> None:
    model = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["" : 18]>
    ends (uint8[4] a, uint16[4] b) => (uint8[4] y, uint32[4] z) {
      y = Add (a, a)
      c = Cast <to = 12> (b)
      z = Add (c, c)
    }
    """)
    after = carry(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*after.graph.input, *after.graph.output)}
    assert kinds == {"a": 2, "b": 6, "y": 2, "z": 7}
    assert changed(after) == {"b": ir.DataType.UINT16, "z": ir.DataType.UINT32}
    assert fed(after, {"a": np.uint8(3), "b": np.uint16(65535)})["b"] == np.int32(65535)
    assert fetched(after, {"z": np.array([7], np.int64)})["z"].dtype == np.uint32
    assert fetched(after, {"z": np.array([-7], np.int64)})["z"].dtype == np.int64
    same(model, after, {"a": np.array([0, 127, 128, 255], np.uint8), "b": np.array([0, 1, 9, 65535], np.uint16)})


def test_floats_have_their_dtype_again_whatever_they_hold() -> None:
    model = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["" : 18], metadata_props: ["enginesmith.interface.y": "float16"]>
    wide (float[3] x) => (float[3] y) { y = Identity (x) }
    """)
    found = fetched(model, {"y": np.array([np.nan, 0.1, 1e6], np.float32)})["y"]
    np.testing.assert_array_equal(found, np.array([np.nan, 0.1, np.inf], np.float16))
    assert found.dtype == np.float16


def test_uint8_between_casts_at_the_ends_and_in_quantization_is_left_alone() -> None:
    model = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["" : 18]>
    ends (uint8[4] a) => (uint8[4] y, float[4] z) <float s = {0.5}, uint8 o = {0}> {
      f = Cast <to = 1> (a)
      g = Neg (f)
      y = Cast <to = 2> (g)
      q = QuantizeLinear (g, s, o)
      z = DequantizeLinear (q, s, o)
    }
    """)
    assert GRAPH_REPAIRS["carried-integers"].rewrite(ir.from_proto(model), RTX) == 0


def test_an_operator_without_a_form_in_wider_integers_says_so() -> None:
    model = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["" : 18]>
    ends (uint16[4] a, int64[2] i, uint16[2] u) => (uint16[4] y) { y = ScatterElements <reduction = "add"> (a, i, u) }
    """)
    with pytest.raises(NotApplicable, match="ScatterElements of uint16 has no form in wider integers"):
        carry(model)
