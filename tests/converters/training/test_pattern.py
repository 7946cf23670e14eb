"""2:4 in ONNX graphs: found in every product, through what lies between the weights and it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.stage import Context
from enginesmith.converters.graphs.sparsity import is_sparse, sparsity
from enginesmith.converters.stages.compile import _sparsity


def pruned(shape: tuple[int, ...], axis: int) -> np.ndarray[Any, Any]:
    """Random, every third and fourth of each four along the axis zero."""
    weights = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.moveaxis(weights, axis, -1)[..., np.arange(shape[axis]) % 4 > 1] = 0
    return weights


def save(path: Path, nodes: list[Any], x: tuple[int, ...], tensors: dict[str, Any]) -> Path:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(x))],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


PRODUCTS: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...], int]] = {
    "Conv": (lambda w: helper.make_node("Conv", ["x", w], ["y"], name="p"), (1, 8, 6, 6), (4, 8, 3, 3), 1),
    "grouped Conv": (
        lambda w: helper.make_node("Conv", ["x", w], ["y"], name="p", group=2),
        (1, 8, 6, 6),
        (4, 4, 3, 3),
        1,
    ),
    "MatMul": (lambda w: helper.make_node("MatMul", ["x", w], ["y"], name="p"), (3, 8), (8, 5), 0),
    "MatMul on the left": (lambda w: helper.make_node("MatMul", [w, "x"], ["y"], name="p"), (8, 3), (5, 8), 1),
    "Gemm": (lambda w: helper.make_node("Gemm", ["x", w], ["y"], name="p"), (3, 8), (8, 5), 0),
    "Gemm, transB": (lambda w: helper.make_node("Gemm", ["x", w], ["y"], name="p", transB=1), (3, 8), (5, 8), 1),
    "Gemm, transA on the left": (
        lambda w: helper.make_node("Gemm", [w, "x"], ["y"], name="p", transA=1),
        (8, 3),
        (8, 5),
        0,
    ),
}


@pytest.mark.parametrize("kind", PRODUCTS)
def test_along_the_axis_that_is_summed(tmp_path: Path, kind: str) -> None:
    make, x, shape, axis = PRODUCTS[kind]
    found = sparsity(save(tmp_path / "m.onnx", [make("w")], x, {"w": pruned(shape, axis)}))
    assert (found.sparse, found.dense) == (["p"], [])
    other = 1 - axis
    if shape[other] % 4 == 0:
        found = sparsity(save(tmp_path / "m.onnx", [make("w")], x, {"w": pruned(shape, other)}))
        assert (found.sparse, found.dense) == ([], ["p"])


def test_through_int8_half_and_transpositions(tmp_path: Path) -> None:
    codes = np.round(pruned((5, 8), 1) * 20).astype(np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["a"], axis=0),
        helper.make_node("Transpose", ["a"], ["b"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "b"], ["h"], name="int8"),
        helper.make_node("Cast", ["half"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["c", "one"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "one"], ["d"]),
        helper.make_node("Gemm", ["h", "d"], ["y"], name="half"),
    ]
    tensors = {
        "codes": codes,
        "scale": np.full(5, 0.1, np.float32),
        "one": np.float32(0.05),
        "half": np.ones((5, 3), np.float16),
    }
    found = sparsity(save(tmp_path / "m.onnx", nodes, (2, 8), tensors))
    assert (found.sparse, found.dense) == (["int8"], ["half"])
    assert found.told == "1 of 2 products with weights are 2:4 sparse in the graph"


@given(st.lists(st.integers(0, 2), min_size=4, max_size=16).filter(lambda row: len(row) % 4 == 0))
def test_two_of_four_and_no_more(row: list[int]) -> None:
    expected = any(row) and all(np.count_nonzero(row[i : i + 4]) <= 2 for i in range(0, len(row), 4))
    assert is_sparse(np.array([row]), 1) == expected


def test_a_graph_without_zeros_is_no_answer_to_a_request_for_sparse_weights(tmp_path: Path) -> None:
    make, x, shape, _ = PRODUCTS["Conv"]
    path = save(tmp_path / "m.onnx", [make("w")], x, {"w": np.ones(shape, np.float32)})
    with pytest.raises(ConversionError, match="asked for sparse weights, and 0 of 1 products with weights are 2:4"):
        _sparsity(path)


def test_the_builder_is_told(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    from enginesmith.converters.backends.tensorrt.product import RTX
    from enginesmith.converters.backends.tensorrt.session import builder_session, config_for, parse

    make, x, shape, axis = PRODUCTS["Conv"]
    path = save(tmp_path / "m.onnx", [make("w")], x, {"w": pruned(shape, axis)})
    backend = get_backend("tensorrt-rtx")
    session = builder_session(RTX)
    parsed = parse(session, path)
    for sparse in (True, False):
        config = config_for(parsed, {}, "sm_89", sparse=sparse)
        assert config.get_flag(session.trt.BuilderFlag.SPARSE_WEIGHTS) == sparse
    context = Context(tmp_path, tmp_path, tmp_path)
    assert backend.build(BuildRequest(path, "sm_89", {}, tmp_path, sparse=True), context).size > 0
    assert [backend.sparse_kernels(target) for target in ("sm_75", "sm_80", "sm_120")] == [False, True, True]
    assert not get_backend("tvm").sparse_kernels("x86-64-v3")
