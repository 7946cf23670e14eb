"""Constants are folded also from nodes of which only some outputs are wanted."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from enginesmith.compat.graphs import infer
from enginesmith.compat.repairs.folding import fold
from enginesmith.compat.target import Target


def test_a_node_with_an_output_that_has_no_name() -> None:
    text = """
<ir_version: 10, opset_import: ["" : 18]>
g (int64[2] x) => (int64[2] y) <float[4] values = {1, 4, 2, 3}, int64[1] k = {2}> {
  , places = TopK (values, k)
  y = Add (x, places)
}
"""
    model = infer(ir.from_proto(onnx.parser.parse_model(text)))
    assert fold(model, Target("tensorrt-rtx", "1.7")) == 1
    (add,) = model.graph
    places = add.inputs[1]
    assert places is not None
    assert places.const_value is not None
    np.testing.assert_array_equal(places.const_value.numpy(), [1, 3])
