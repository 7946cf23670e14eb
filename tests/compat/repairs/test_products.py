"""Einsum, vector products and determinants give what ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from one_node import one_node, proof, repaired

from enginesmith.compat.building import NotApplicable

SIZES = {"a": 2, "b": 3, "c": 4, "D": 5, "e": 1}
EQUATIONS = {
    "ii->i": [[3, 3]],
    "ii": [[4, 4]],
    "...ii->...i": [[2, 3, 3]],
    "bij,bjk->bik": [[2, 3, 4], [2, 4, 5]],
    "...ij,...jk->...ik": [[2, 1, 3, 4], [5, 4, 2]],
    "a...,a...->...": [[2, 3, 4], [2, 3, 4]],
    "bhqd,bhkd->bhqk": [[1, 2, 3, 4], [1, 2, 5, 4]],
    "ab , bc, cd": [[2, 3], [3, 4], [4, 2]],
    "ba": [[2, 3]],
    "i,j->ij": [[2], [3]],
    "ij->": [[2, 3]],
}
"""The forms of the notation: diagonals, traces, ellipses (broadcast too), implied results, outer products."""


@pytest.mark.parametrize("equation", EQUATIONS)
def test_forms_of_einsum(equation: str) -> None:
    model = one_node("Einsum", *EQUATIONS[equation], equation=equation)
    # ONNX infers no shape where an ellipsis is broadcast; numpy knows it.
    result = np.einsum(equation, *(np.zeros(shape) for shape in EQUATIONS[equation])).shape
    model.graph.output[0].type.CopyFrom(onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, result))
    found = proof("einsum-by-matmul", model)
    assert found.agrees, found.reason


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abcDe", min_size=1, max_size=3), min_size=1, max_size=3), st.data())
def test_any_contraction(terms: list[str], data: st.DataObject) -> None:
    labels = sorted(set("".join(terms)))
    result = data.draw(st.permutations(labels).map(lambda order: order[: data.draw(st.integers(0, len(order)))]))
    equation = f"{','.join(terms)}->{''.join(result)}"
    found = proof("einsum-by-matmul", one_node("Einsum", *([SIZES[x] for x in t] for t in terms), equation=equation))
    # ONNX Runtime itself doesn't take every diagonal.
    assume("can't be run" not in found.reason and "no generated input" not in found.reason)
    assert found.agrees, f"{equation}: {found.reason}"


def test_integers_are_left_to_einsum() -> None:
    model = one_node(
        "Einsum", [2, 3], [3, 2], dtypes=[onnx.TensorProto.INT32] * 2, outputs=[(onnx.TensorProto.INT32, ())],
        equation="ij,jk->ik",
    )  # fmt: skip
    with pytest.raises(NotApplicable, match="integers"):
        repaired("einsum-by-matmul", model)


@pytest.mark.parametrize(
    ("left", "right"), [([4], [2, 4, 3]), ([2, 3, 4], [4]), ([4], [4]), ([4], [4, 1]), ([5, 2, 1, 4], [4])]
)
def test_vectors_in_products(left: list[int], right: list[int]) -> None:
    found = proof("matmul-vector", one_node("MatMul", left, right))
    assert found.agrees, found.reason


def test_a_product_of_matrices_is_left_alone() -> None:
    with pytest.raises(NotApplicable, match="vector"):
        repaired("matmul-vector", one_node("MatMul", [2, 3], [3, 4]))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=2), st.integers(1, 4))
def test_determinants(batch: list[int], size: int) -> None:
    found = proof("determinant", one_node("Det", [*batch, size, size]))
    assert found.agrees, found.reason


def test_a_large_determinant_is_left_alone() -> None:
    with pytest.raises(NotApplicable, match="up to 4 x 4"):
        repaired("determinant", one_node("Det", np.zeros((5, 5), np.float32)))
