"""onnx's evaluator, where it is mended, agrees with ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from enginesmith.compat.evaluator import evaluator


@pytest.mark.parametrize("sizes", [(2, 3, 5), (2, 3, 5, 4), (1, 2, 3, 4, 5)])
def test_a_global_maximum_is_over_all_but_items_and_channels(sizes: tuple[int, ...]) -> None:
    inputs, outputs = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, None)] for name in "xy")
    graph = helper.make_graph([helper.make_node("GlobalMaxPool", ["x"], ["y"])], "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x = np.random.default_rng(0).normal(size=sizes).astype(np.float32)
    (found,) = evaluator(model).run(None, {"x": x})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(found, session.run(None, {"x": x})[0])
