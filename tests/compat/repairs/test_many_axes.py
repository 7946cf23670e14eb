"""Tensors of more than 8 axes, in fewer: the same numbers, and nothing of too many axes left."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx_ir as ir
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from enginesmith.compat.graphs import infer
from enginesmith.compat.repairs.many_axes import many_axes
from enginesmith.compat.target import Target
from enginesmith.compat.values import rank

RTX = Target("tensorrt-rtx", "1.7")


def model(nodes: list[onnx.NodeProto], sizes: list[int], constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    """From a vector `x` that is cut into `sizes`, to a vector `y` that the last node's result is."""
    count = math.prod(sizes)
    held = {"cut": np.array(sizes, np.int64), "line": np.array([-1], np.int64), **constants}
    nodes = [
        helper.make_node("Reshape", ["x", "cut"], ["a0"]),
        *nodes,
        helper.make_node("Reshape", [nodes[-1].output[0], "line"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "cut",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [count])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def agrees(given: onnx.ModelProto) -> None:
    repaired = infer(ir.from_proto(given))
    assert many_axes(repaired, RTX)
    infer(repaired)
    assert all((rank(value) or 0) <= 8 for node in repaired.graph for value in node.outputs)
    (x,) = given.graph.input
    data = np.random.default_rng(0).standard_normal(x.type.tensor_type.shape.dim[0].dim_value).astype(np.float32)
    (expected,) = ReferenceEvaluator(given).run(None, {"x": data})
    (found,) = ReferenceEvaluator(ir.to_proto(repaired)).run(None, {"x": data})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_any_order_of_any_axes(data: st.DataObject) -> None:
    axes = data.draw(st.integers(9, 12))
    sizes = data.draw(st.lists(st.integers(1, 2), min_size=axes, max_size=axes))
    order = data.draw(st.permutations(range(axes)))
    agrees(model([helper.make_node("Transpose", ["a0"], ["a1"], perm=order)], sizes, {}))


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_what_is_computed_between(data: st.DataObject) -> None:
    axes = data.draw(st.integers(9, 10))
    sizes = data.draw(st.lists(st.integers(1, 2), min_size=axes, max_size=axes))
    axis = data.draw(st.integers(0, axes - 1))
    kind = data.draw(st.sampled_from(["broadcast", "reduce", "softmax", "sum", "gather", "concat", "expand", "matmul"]))
    constants: dict[str, np.ndarray] = {}
    node = helper.make_node("Relu", ["a0"], ["a1"])
    if kind == "broadcast":
        shape = [1 if data.draw(st.booleans()) else size for size in sizes][data.draw(st.integers(0, axes)) :]
        # groups of their own axes and broadcast ones by turns may be more than 8, and are then left as they are
        shape = [1] * min(len(shape), 4) + shape[4:]
        constants["w"] = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        node = helper.make_node("Mul", ["a0", "w"], ["a1"])
    elif kind == "reduce":
        constants["axes"] = np.array([axis - axes], np.int64)
        node = helper.make_node("ReduceMax", ["a0", "axes"], ["a1"], keepdims=int(data.draw(st.booleans())))
    elif kind == "softmax":
        node = helper.make_node("Softmax", ["a0"], ["a1"], axis=axis - axes)
    elif kind == "sum":
        constants["axis"] = np.array(axis, np.int64)
        node = helper.make_node("CumSum", ["a0", "axis"], ["a1"], exclusive=1, reverse=1)
    elif kind == "gather":
        constants["rows"] = np.array(data.draw(st.sampled_from([0, [0], [0, -1, 0], [[0], [-1]]])), np.int64)
        node = helper.make_node("Gather", ["a0", "rows"], ["a1"], axis=axis)
    elif kind == "concat":
        node = helper.make_node("Concat", ["a0", "a0"], ["a1"], axis=axis)
    elif kind == "expand":
        sizes[0], wider = 1, [3, *sizes[1:]]
        constants["wider"] = np.array(wider, np.int64)
        node = helper.make_node("Expand", ["a0", "wider"], ["a1"])
    elif kind == "matmul":
        constants["w"] = np.random.default_rng(1).standard_normal([sizes[-1], 3]).astype(np.float32)
        node = helper.make_node("MatMul", ["a0", "w"], ["a1"])
    agrees(model([node], sizes, constants))


def test_one_size_that_only_the_run_knows() -> None:
    text = """
    <ir_version: 9, opset_import: ["" : 18]>
    windows (float[n, 3, 8, 8, 8] x) => (float[m, 3, 8, 8, 8] y)
        <int64[10] cut = {-1, 3, 2, 2, 2, 2, 2, 2, 2, 2}, int64[5] whole = {-1, 3, 8, 8, 8}> {
      parts = Reshape (x, cut)
      turned = Transpose <perm = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]> (parts)
      shares = Softmax <axis = -1> (turned)
      y = Reshape (shares, whole)
    }
    """
    given = onnx.parser.parse_model(text)
    repaired = infer(ir.from_proto(given))
    assert many_axes(repaired, RTX) == 4
    for batch in (1, 3):
        data = np.random.default_rng(batch).standard_normal((batch, 3, 8, 8, 8)).astype(np.float32)
        (expected,) = ReferenceEvaluator(given).run(None, {"x": data})
        (found,) = ReferenceEvaluator(ir.to_proto(repaired)).run(None, {"x": data})
        np.testing.assert_array_equal(found, expected)
