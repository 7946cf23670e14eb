"""Models with QuantizeLinear and DequantizeLinear for the tests, written node by node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

ZEROS = st.sampled_from([("int8", 0), ("int8", 0), ("int8", -7), ("uint8", 128), ("uint8", 3)])
"""Types and zero points."""
Array = NDArray[Any]
Run = Callable[..., tuple[list[Array], list[Array], dict[str, Any]]]


class Graph:
    """A model that is written node by node."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def constant(self, array: Any) -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def quantized(self, value: str, scale: float, kind: tuple[str, int] = ("int8", 0)) -> str:
        """A pair of Q and DQ behind a value."""
        given = (self.constant(np.float32(scale)), self.constant(np.array(kind[1], kind[0])))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", value, *given), *given)

    def integers(self, array: Array, scales: Array, axis: int = 0) -> str:
        """Constant weights behind a DequantizeLinear."""
        zeros = self.constant(np.zeros(scales.shape, np.int8))
        return self.node("DequantizeLinear", self.constant(array.astype(np.int8)),
                         self.constant(scales.astype(np.float32)), zeros, axis=axis)  # fmt: skip

    def save(self, path: Path, *results: str) -> None:
        tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results]
        source = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)
        graph = helper.make_graph(self.nodes, "main", [source], tensors, self.weights)
        model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 19)])
        model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def powers(rng: np.random.Generator, count: int) -> Array:
    """Scales of which every product and sum in these tests is exact."""
    return 2.0 ** -rng.integers(4, 7, count)


def integer_weights(rng: np.random.Generator, shape: tuple[int, ...], extreme: bool) -> Array:
    values: Array = rng.choice([-127, 127], shape) if extreme else rng.integers(-127, 128, shape)
    return values
