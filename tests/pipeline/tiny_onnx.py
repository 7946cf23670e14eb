"""Small ONNX files that need no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def linear(path: Path, width: int = 4, **how: Any) -> Path:
    """Relu(x @ w), float32 [1, width] to [1, width]."""
    weights = np.random.default_rng(0).standard_normal((width, width)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["y"])]
    return _save(path, nodes, width, [numpy_helper.from_array(weights, "w")], **how)


def random(path: Path) -> Path:
    """x + noise: no two runs agree."""
    nodes = [helper.make_node("RandomUniformLike", ["x"], ["n"]), helper.make_node("Add", ["x", "n"], ["y"])]
    return _save(path, nodes, 4, [])


def external(path: Path, location: str) -> Path:
    """`linear`, which says that its weights are in the file `location`."""
    linear(path)
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(size)}.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def _save(path: Path, nodes: list[Any], width: int, initializers: list[Any], **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width]) for name in "xy")
    graph = helper.make_graph(nodes, "tiny", [x], [y], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path, **how)
    return path
