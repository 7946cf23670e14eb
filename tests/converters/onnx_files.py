"""Small ONNX graphs as files, for what reads such from outside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
tensor = helper.make_tensor_value_info
node = helper.make_node


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
    opset: int = 17,
    ir: int = 9,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir)


def gemm(batch: int | str = 2, **how: Any) -> onnx.ModelProto:
    """x [batch, 4] times w [4, 300]."""
    weights = numpy_helper.from_array(np.arange(1200, dtype=np.float32).reshape(4, 300) / 1200, "w")
    return model(
        [node("MatMul", ["x", "w"], ["y"])],
        [tensor("x", FLOAT, [batch, 4])],
        [tensor("y", FLOAT, [batch, 300])],
        [weights],
        **how,
    )


def save(content: onnx.ModelProto, folder: Path, **how: Any) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    onnx.save(content, str(folder / "m.onnx"), **how)
    return folder / "m.onnx"
