"""Products with weights of 4 bits are counted as what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from enginesmith.converters.graphs.products import products_of, shortfall


@pytest.mark.parametrize(("kind", "name"), [(TensorProto.INT4, "int4 weights"), (TensorProto.INT8, "int8 weights")])
def test_products_say_how_many_bits_their_weights_have(kind: int, name: str, tmp_path: Path) -> None:
    weight = helper.make_tensor("q", kind, [4, 6], [k % 16 - 8 for k in range(24)])
    scale = numpy_helper.from_array(np.float32(0.1), "s")
    nodes = [helper.make_node("DequantizeLinear", ["q", "s"], ["w"]), helper.make_node("MatMul", ["x", "w"], ["y"])]
    x, y = (helper.make_tensor_value_info(*each) for each in (("x", 1, [2, 4]), ("y", 1, [2, 6])))
    graph = helper.make_graph(nodes, "product", [x], [y], [weight, scale])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), tmp_path / "m.onnx")
    asked = products_of(tmp_path / "m.onnx")
    assert asked == {"matrix products": {name: 1}}
    assert not shortfall(asked, asked)
    assert shortfall(asked, {"matrix products": {"float32": 1}}).startswith(f"asked {name.split()[0]}, 0 of 1")
