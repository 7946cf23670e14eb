"""Indices that a tool wrote in other integers than the operator takes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from enginesmith.converters.graphs.index_types import widen_indices

HEAD = '<ir_version: 8, opset_import: ["" : 18]>'
SCATTER = f"{HEAD} g (float[4] x, int32[2,1] i, float[2] u) => (float[4] y) {{ y = ScatterND (x, i, u) }}"
GATHER = f"{HEAD} g (float[4] x, int32[2,1] i) => (float[2] y) {{ j = Add (i, i) y = GatherND (x, j) }}"
RESHAPE = f"{HEAD} g (float[4] x, int32[2] i) => (float[2,2] y) {{ y = Reshape (x, i) }}"
FITTING = f"{HEAD} g (float[4] x, int32[2] i) => (float[2] y) {{ y = Gather (x, i) }}"
FEEDS = {"x": np.arange(4, dtype=np.float32), "u": np.array([8, 9], np.float32)}


def test_they_become_int64() -> None:
    for text, indices, expected in (
        (SCATTER, [[3], [1]], [0, 9, 2, 8]),
        (GATHER, [[0], [1]], [0, 2]),
        (RESHAPE, [2, 2], [[0, 1], [2, 3]]),
    ):
        model = ir.from_onnx_text(text)
        assert widen_indices(model) == 1
        proto = ir.to_proto(model)
        onnx.checker.check_model(proto, full_check=True)
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        feed = {**FEEDS, "i": np.array(indices, np.int32)}
        taken = {given.name: feed[given.name] for given in session.get_inputs()}
        np.testing.assert_array_equal(session.run(None, taken)[0], expected)
        assert widen_indices(model) == 0


@pytest.mark.parametrize(
    "text", [FITTING, SCATTER.replace("int32[2,1]", "int64[2,1]"), SCATTER.replace("int32", "float")]
)
def test_others_are_left_alone(text: str) -> None:
    model = ir.from_onnx_text(text)
    assert widen_indices(model) == 0
    assert [node.op_type for node in model.graph] == [text.split("(x")[0].split()[-1]]
