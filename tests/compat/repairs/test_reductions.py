"""Reductions whose axes only a run knows give what ONNX Runtime gives, for all axes that suit the declared shapes."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from one_node import one_node, proof, repaired

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.repairs.reductions import EMPTY, MAX_CHOICES, REDUCTIONS
from enginesmith.converters.graphs.proof import runner

FLOAT, INT64, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL
sizes = st.lists(st.integers(1, 3), min_size=1, max_size=4)


def reduced(shape: list[int], axes: list[int], keepdims: int) -> list[int]:
    kept = [1 if place in axes else size for place, size in enumerate(shape)]
    return kept if keepdims else [size for place, size in enumerate(shape) if place not in axes]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(REDUCTIONS), sizes, st.data(), st.integers(0, 1))
def test_axes_of_a_run(op: str, shape: list[int], data: st.DataObject, keepdims: int) -> None:
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    result = reduced(shape, axes, keepdims)
    assume(result)
    model = one_node(
        op, shape, [len(axes)], dtypes=[FLOAT, INT64], outputs=[(FLOAT, result)], keepdims=keepdims,
    )  # fmt: skip
    try:
        after, cases = repaired("reduce-runtime-axes", model)
    except NotApplicable:
        assert math.comb(len(shape), len(axes)) > MAX_CHOICES
        return
    assert 1 <= len(cases) <= MAX_CHOICES
    found = proof("reduce-runtime-axes", model)
    assert found.agrees, found.reason
    # The axes of this very run, counted from the end for half of them.
    given_axes = np.array([axis - len(shape) if axis % 2 else axis for axis in axes], np.int64)
    feed = {"x0": np.random.default_rng(0).random(shape).astype(np.float32), "x1": given_axes}
    expected, made = runner(model)(dict(feed))[0], runner(ir.to_proto(after))(dict(feed))[0]
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axes", [[0, 2], [0, 3], [-1, -4], [1, 2], [3, 1]])
def test_an_axis_of_size_1_stands_for_another(axes: list[int]) -> None:
    """Both are reduced to the same shape and the same elements: which one is given selects nothing."""
    model = one_node("ReduceSum", [2, 2, 1, 1], [2], dtypes=[FLOAT, INT64], outputs=[(FLOAT, [2, 1])], keepdims=0)
    after, _ = repaired("reduce-runtime-axes", model)
    x = np.arange(4, dtype=np.float32).reshape(2, 2, 1, 1)
    (found,) = runner(ir.to_proto(after))({"x0": x, "x1": np.array(axes, np.int64)})
    np.testing.assert_array_equal(found, x.sum(tuple(axes)))


def test_axes_that_leave_too_many_possibilities_are_left_alone() -> None:
    model = one_node("ReduceSum", [2] * 6, [3], dtypes=[FLOAT, INT64], outputs=[(FLOAT, [2, 2, 2])], keepdims=0)
    with pytest.raises(NotApplicable, match="at run time only"):
        repaired("reduce-runtime-axes", model)


@pytest.mark.parametrize("noop", [0, 1])
def test_no_axes_reduce_everything_or_nothing(noop: int) -> None:
    result = [2, 3] if noop else [1, 1]
    model = one_node(
        "ReduceSum", [2, 3], [0], dtypes=[FLOAT, INT64], outputs=[(FLOAT, result)], noop_with_empty_axes=noop,
    )  # fmt: skip
    assert proof("reduce-runtime-axes", model).agrees


@pytest.mark.parametrize("op", EMPTY)
def test_nothing_is_reduced_to_the_neutral_element(op: str) -> None:
    found = proof("reduce-nothing", one_node(op, [2, 0, 4], np.array([1])))
    assert found.agrees, found.reason


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_truth_values(op: str) -> None:
    model = one_node(op, [3, 4], np.array([-1]), dtypes=[BOOL], outputs=[(BOOL, [3])], opset=20, keepdims=0)
    assert proof("reduce-bool", model).agrees


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["Squeeze", "Unsqueeze"]), st.lists(st.integers(0, 3), max_size=3), st.data())
def test_squeeze_with_axes_of_a_run(op: str, narrow: list[int], data: st.DataObject) -> None:
    wide = list(narrow)
    for _ in range(data.draw(st.integers(1, 2))):
        wide.insert(data.draw(st.integers(0, len(wide))), 1)
    before, after = (wide, narrow) if op == "Squeeze" else (narrow, wide)
    model = one_node(op, before, [len(wide) - len(narrow)], dtypes=[FLOAT, INT64])
    model.graph.output[0].type.CopyFrom(onnx.helper.make_tensor_type_proto(FLOAT, after))
    found = proof("squeeze-runtime-axes", model)
    assert found.agrees, found.reason


@pytest.mark.parametrize("op", REDUCTIONS)
def test_a_number_is_its_own_reduction(op: str) -> None:
    found = proof("reduce-number", one_node(op, []))
    assert found.agrees, found.reason
