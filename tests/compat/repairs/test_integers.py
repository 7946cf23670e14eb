"""Bits, running products and powers, by arithmetic that backends have."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import one_node, proof, repaired

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.target import Target
from enginesmith.converters.graphs.proof import runner

FLOAT, INT8, INT32, INT64, DOUBLE = 1, 3, 6, 7, 11
TVM = Target("tvm", "0.27")
KINDS = {INT8: np.int8, INT32: np.int32, INT64: np.int64}


@settings(max_examples=60, deadline=None)
@given(
    op=st.sampled_from(["BitwiseAnd", "BitwiseOr", "BitwiseXor"]),
    kind=st.sampled_from(list(KINDS)),
    data=st.data(),
)
def test_bits_by_digits_over_the_whole_range(op: str, kind: int, data: st.DataObject) -> None:
    info = np.iinfo(KINDS[kind])
    number = st.one_of(st.integers(int(info.min), int(info.max)), st.sampled_from([int(info.min), int(info.max), -1]))
    a = np.array(data.draw(st.lists(number, min_size=6, max_size=6)), KINDS[kind]).reshape(2, 3)
    b = np.array(data.draw(st.lists(number, min_size=3, max_size=3)), KINDS[kind])
    model = one_node(op, [2, 3], [3], dtypes=[kind, kind], outputs=[(kind, ())])
    after, _ = repaired("bitwise-by-digits", model)
    found = runner(ir.to_proto(after), reference=False)({"x0": a, "x1": b})[0]
    function = {"BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor}[op]
    np.testing.assert_array_equal(found, function(a, b), strict=True)


@pytest.mark.parametrize("kind", list(KINDS))
def test_all_bits_flipped(kind: int) -> None:
    model = one_node("BitwiseNot", [2, 3], dtypes=[kind], outputs=[(kind, ())])
    found = proof("bitwise-not-by-subtraction", model)
    assert found.agrees, found.reason


def test_the_bits_of_a_float_are_out_of_reach() -> None:
    model = one_node("BitCast", [3], outputs=[(INT32, ())], opset=26, to=INT32)
    with pytest.raises(NotApplicable, match="bits of a float"):
        repaired("bitcast-by-cast", model, TVM)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    kind=st.sampled_from([FLOAT, DOUBLE, INT32, INT64]),
    flags=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    axis=st.integers(-3, 2),
    constant=st.booleans(),
)
def test_running_products_and_sums(
    sizes: list[int], kind: int, flags: tuple[int, int], axis: int, constant: bool
) -> None:
    place: Any = np.array(axis % len(sizes) - (len(sizes) if axis < 0 else 0), np.int32) if constant else []
    attributes = {"exclusive": flags[0], "reverse": flags[1]}
    model = one_node("CumProd", sizes, place, dtypes=[kind, INT32], outputs=[(kind, sizes)], opset=26, **attributes)
    found = proof("cumprod-by-steps", model)
    assert found.agrees, found.reason
    if not constant:
        model = one_node("CumSum", sizes, place, dtypes=[kind, INT32], outputs=[(kind, sizes)], **attributes)
        found = proof("cumsum-axis-chosen", model, TVM)
        assert found.agrees, found.reason
        assert found.samples > 3


@pytest.mark.parametrize("kinds", [(INT32, INT32), (INT64, INT64), (INT32, FLOAT), (FLOAT, INT64), (INT64, FLOAT)])
def test_powers_of_two_dtypes(kinds: tuple[int, int]) -> None:
    model = one_node("Pow", [2, 3], [3], dtypes=kinds, outputs=[(kinds[0], ())])
    found = proof("pow-of-one-dtype", model, TVM)
    assert found.agrees, found.reason


@pytest.mark.parametrize("signs", [(0, 1), (1, 0), (0, 0)])
def test_infinities_of_one_sign(signs: tuple[int, int]) -> None:
    model = one_node("IsInf", [5], outputs=[(9, ())], opset=20, detect_negative=signs[0], detect_positive=signs[1])
    after, _ = repaired("isinf-by-comparison", model, TVM)
    feed = {"x0": np.array([np.inf, -np.inf, np.nan, 3, -0.0], np.float32)}
    expected, found = runner(model)(dict(feed))[0], runner(ir.to_proto(after))(dict(feed))[0]
    np.testing.assert_array_equal(found, expected, strict=True)


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.tuples(*[st.one_of(st.integers(1, 4), st.sampled_from(["n", "m"]))] * 2),
    k=st.integers(-4, 4), kind=st.sampled_from([1, 7, 9]),
)  # fmt: skip
def test_an_eye_is_a_constant_or_follows_from_the_sizes(sizes: tuple[int | str, int | str], k: int, kind: int) -> None:
    model = one_node("EyeLike", sizes, dtypes=[INT32], outputs=[(kind, ())], k=k, dtype=kind)
    found = proof("eyelike-by-comparison", model, TVM)
    assert found.agrees, found.reason
    after, _ = repaired("eyelike-by-comparison", model, TVM)
    known = all(isinstance(size, int) for size in sizes)
    assert known == all(node.op_type in ("Constant", "Identity") for node in after.graph)


@pytest.mark.parametrize(
    ("op", "inputs", "outputs", "attributes"),
    [
        ("Clip", ([2, 3], None, []), [(INT8, ())], {}),
        ("Mod", ([2, 3], np.array([3, -2, 5], np.int8)), [(INT8, ())], {}),
        ("Max", ([2, 3], [3], [2, 1]), [(INT8, ())], {}),
        ("ReduceMin", ([2, 3], np.array([1])), [(INT8, ())], {"keepdims": 0}),
        ("TopK", ([2, 3], np.array([2])), [(INT8, ()), (INT64, ())], {"axis": 1}),
    ],
)
def test_int8_is_compared_in_int32(
    op: str, inputs: tuple[Any, ...], outputs: list[tuple[int, Any]], attributes: dict[str, Any]
) -> None:
    model = one_node(op, *inputs, dtypes=[INT8, INT8, INT8], outputs=outputs, **attributes)
    found = proof("int8-in-int32", model)
    assert found.agrees, found.reason
