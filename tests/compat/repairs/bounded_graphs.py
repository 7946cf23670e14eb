"""What the tests of bounded sizes share: a graph before and after the repair, run on the same inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from hypothesis import strategies as st
from numpy.typing import NDArray

from enginesmith.compat.graphs import infer
from enginesmith.compat.interface import fetched
from enginesmith.compat.repairs.bounded import bounded_sizes
from enginesmith.compat.target import Target

Feed = dict[str, NDArray[Any]]
RTX, TVM = Target("tensorrt-rtx", "1.7.1"), Target("tvm", "0.27")
DATA_DEPENDENT = {"NonZero", "NonMaxSuppression", "Compress", "Unique", "If", "Guard"}


def repaired(text: str, target: Target = RTX) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The model of a text before and after the repair, which must leave fixed shapes only."""
    before = onnx.parser.parse_model(text)
    onnx.checker.check_model(before)
    model = infer(ir.from_proto(before))
    assert bounded_sizes(model, target) > 0
    after = ir.to_proto(infer(model))
    onnx.checker.check_model(after)
    assert not {node.op_type for node in after.graph.node} & DATA_DEPENDENT
    for value in (*after.graph.value_info, *after.graph.output):
        assert all(size.HasField("dim_value") for size in value.type.tensor_type.shape.dim), value.name
    return before, after


def run(model: onnx.ModelProto, feed: Feed) -> dict[str, NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return fetched(model, dict(zip(names, session.run(names, feed), strict=True)))


def agree(models: tuple[onnx.ModelProto, onnx.ModelProto], feed: Feed) -> None:
    before, after = models
    expected, found = run(before, feed), run(after, feed)
    assert list(expected) == list(found)
    for name, array in expected.items():
        assert array.dtype == found[name].dtype
        np.testing.assert_array_equal(array, found[name], err_msg=name)


def floats(*shape: int, low: int = -4, high: int = 4) -> st.SearchStrategy[NDArray[Any]]:
    """Halves, so that equal numbers occur."""
    count = int(np.prod(shape))
    numbers = st.lists(st.integers(2 * low, 2 * high), min_size=count, max_size=count)
    return numbers.map(lambda found: (np.array(found, np.float32) / 2).reshape(shape))
