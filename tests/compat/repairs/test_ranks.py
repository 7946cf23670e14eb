"""Vectors and scalars where a layer takes matrices: the same results, of the same shapes."""

from __future__ import annotations

import pytest
from one_node import one_node, proof, repaired
from onnx import TensorProto

from enginesmith.compat.building import NotApplicable


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_the_largest_of_a_vector(op: str, axis: int, keepdims: int) -> None:
    for last in (0, 1):
        model = one_node(
            op, [7], outputs=[(TensorProto.INT64, ())], axis=axis, keepdims=keepdims, select_last_index=last
        )
        assert proof("unsqueezed", model).agrees
        assert repaired("unsqueezed", model)[0].graph.outputs[0].shape == ([1] if keepdims else [])


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("size", [7, "n"])
def test_along_a_vector(op: str, axis: int, size: int | str) -> None:
    assert proof("unsqueezed", one_node(op, [size], axis=axis)).agrees


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax", "ReduceL2", "ReduceLogSumExp"])
def test_of_a_scalar(op: str) -> None:
    assert proof("unsqueezed", one_node(op, [], keepdims=0)).agrees


def test_what_has_enough_dimensions_is_left() -> None:
    with pytest.raises(NotApplicable, match="as many"):
        repaired("unsqueezed", one_node("Softmax", [2, 3]))
