"""Products of integers are exact in what results are held against, on every processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.graphs.coarse import integer, quantizes, ranks
from enginesmith.converters.graphs.faithful import precise, unsaturated
from enginesmith.converters.graphs.proof import session

UINT8, INT32 = TensorProto.UINT8, TensorProto.INT32


def product(weight: np.ndarray, zero: np.ndarray | None = None) -> onnx.ModelProto:
    """MatMulInteger of a uint8 input by a weight."""
    held = {"w": weight, "za": np.uint8(3)} | ({} if zero is None else {"zb": zero})
    names = ["x", "w", "za", *(["zb"] if zero is not None else [])]
    node = helper.make_node("MatMulInteger", names, ["y"])
    x = helper.make_tensor_value_info("x", UINT8, [2, len(weight)])
    y = helper.make_tensor_value_info("y", INT32, [2, weight.shape[1]])
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in held.items()]
    graph = helper.make_graph([node], "product", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("zero", [None, np.int8(5), np.array([1, -2, 3], np.int8)])
def test_the_largest_numbers_are_multiplied_exactly(zero: np.ndarray | None, tmp_path: Path) -> None:
    weight, x = np.full((64, 3), 127, np.int8), np.full((2, 64), 255, np.uint8)
    right = (x.astype(np.int64) - 3) @ (weight.astype(np.int64) - (0 if zero is None else zero.astype(np.int64)))
    model = product(weight, zero)
    assert np.array_equal(session(model).run(None, {"x": x})[0], right)
    onnx.save(model, tmp_path / "model.onnx")
    assert np.array_equal(onnxruntime.session(tmp_path / "model.onnx", optimize=False).run(None, {"x": x})[0], right)


def test_what_does_not_saturate_stays() -> None:
    assert unsaturated(ir.from_proto(product(np.full((4, 3), 200, np.uint8)))) == 0
    assert unsaturated(ir.from_proto(product(np.full((4, 3), 100, np.int8)))) == 1


def test_graphs_of_integers_are_told_from_others() -> None:
    assert integer({"Relu", "MatMulInteger"})
    assert not integer({"Relu", "MatMul"})
    assert quantizes({"Relu", "com.microsoft.DynamicQuantizeMatMul"})
    assert all(quantizes({name}) for name in ("QLinearMatMul", "com.microsoft.QGemm")), "their scales may be inputs"
    assert not quantizes({"DequantizeLinear", "MatMul"})
    assert ranks({"Relu", "MaxPool"})
    assert not ranks({"AveragePool", "Max"})


SIGMOIDS = """
<ir_version: 9, opset_import: ["" : 18]>
main (bool c, float[n] x) => (float[n] y, float[n] z) {
  y = Sigmoid (x)
  z = If (c) <then_branch = t () => (float[n] a) { a = Sigmoid (x) }, else_branch = e () => (float[n] b) { b = Neg (x) }>
}
"""


@pytest.mark.parametrize("from_file", [True, False])
def test_a_sigmoid_goes_on_to_0(from_file: bool, tmp_path: Path) -> None:
    """In a branch too; relative to what it is, where ONNX Runtime's own is twice as much at -17, and 0 from -18 on."""
    model = onnx.parser.parse_model(SIGMOIDS)
    onnx.save(model, tmp_path / "model.onnx")
    made = onnxruntime.session(tmp_path / "model.onnx", optimize=False) if from_file else session(model)
    x = np.array([-np.inf, -80, -18, -17, -1, 0, 1, 17, 200, np.inf, np.nan], np.float32)
    for found in made.run(None, {"x": x, "c": np.array(True)}):
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-x.astype(np.float64))), rtol=3e-7)


PLANES = """
<ir_version: 9, opset_import: ["" : %d]>
main (float[n,2,112,112] x) => (float[n,2,1,1] y) { y = GlobalAveragePool (x) }
"""


@pytest.mark.parametrize("opset", [13, 18])
def test_a_mean_of_equal_numbers_is_that_number(opset: int) -> None:
    x = np.full((1, 2, 112, 112), 0.7, np.float32)
    (found,) = session(onnx.parser.parse_model(PLANES % opset)).run(None, {"x": x})
    np.testing.assert_array_equal(found, x[:, :, :1, :1])


ROWS = {
    13: "y = ReduceSum <keepdims = 0> (x, axes) z = ReduceMean <axes = [-2]> (x) w = ReduceSum (x, last)",
    18: "y = ReduceSum <keepdims = 0> (x, axes) z = ReduceMean (x, axes) w = ReduceSum (x, last)",
}


@pytest.mark.parametrize("opset", ROWS)
def test_many_rows_are_added_exactly(opset: int) -> None:
    """One after the other they are 1e-5 off."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["" : {opset}]>
        main (float[1,n,8] x) => (float[1,8] y, float[1,1,8] z, float[1,n,1] w) <int64[1] axes = {{1}}, int64[1] last = {{-1}}>
        {{ {ROWS[opset]} }}"""
    )
    assert precise(ir.from_proto(model)) == 2
    x = np.full((1, 5000, 8), 0.7, np.float32)
    y, z, w = session(model).run(None, {"x": x})
    np.testing.assert_allclose(y, x.astype(np.float64).sum(1), rtol=1e-7)
    np.testing.assert_array_equal(z, x[:, :1])
    np.testing.assert_allclose(w, x.sum(2, keepdims=True), rtol=1e-6)
