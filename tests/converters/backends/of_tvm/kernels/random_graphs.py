"""Small ONNX graphs that grow by operators drawn at random; the operators are in `random_operators`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
LARGEST = 6000
"""Numbers of a tensor."""


class Refused(Exception):
    """The operator doesn't take these sizes."""


class RandomGraph:
    """`shapes` and `kinds`, ONNX's element types, are those of all tensors so far but for constants."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.kinds: dict[str, int] = {"x": TensorProto.FLOAT}
        self.shapes: dict[str, tuple[int, ...]] = {"x": self.sizes(self.integer(1, 5))}
        if self.rng.random() < 0.5:  # planes are what most kernels are for
            self.shapes["x"] = self.sizes(4, 12)

    def integer(self, low: int, high: int) -> int:
        """Both ends included. Raises Refused where there is nothing between."""
        if low > high:
            raise Refused("no number")
        return int(self.rng.integers(low, high + 1))

    def one_of(self, *choices: Any) -> Any:
        if not choices:
            raise Refused("nothing to choose from")
        return choices[self.integer(0, len(choices) - 1)]

    def sizes(self, rank: int, most: int = 9) -> tuple[int, ...]:
        """1 comes often, and so do several images."""
        sizes = [1 if self.rng.random() < 0.2 else self.integer(1, most) for _ in range(rank)]
        if rank >= 3:
            sizes[0] = self.one_of(1, 1, 2, 3)
            sizes[1] = self.one_of(1, 2, 3, 5, 8, 13, 16, 17, 24, 32)
        return tuple(sizes)

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        array = np.asarray(array)
        self.constants.append(
            numpy_helper.from_array(array.astype(np.float32) if array.dtype == float else array, name)
        )
        return name

    def weights(self, *shape: int) -> str:
        fan = math.prod(shape[1:]) or 1
        return self.constant(self.rng.standard_normal(shape) / math.sqrt(fan))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Add a node; its first output. Raises Refused where ONNX's own rules don't take it."""
        names = [f"v{len(self.nodes)}_{index}" for index in range(outputs)]
        made = helper.make_node(op, inputs, names, **attributes)
        given = [
            helper.make_tensor_value_info(name, self.kinds[name], self.shapes[name])
            for name in dict.fromkeys(inputs)
            if name in self.kinds
        ]
        results = [helper.make_empty_tensor_value_info(name) for name in names]
        stored = [tensor for tensor in self.constants if tensor.name in inputs]
        graph = helper.make_graph([made], "one", given, results, stored)
        model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", OPSET)])
        try:
            found = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph.output
        except onnx.shape_inference.InferenceError as error:
            raise Refused(str(error)) from error
        for name, value in zip(names, found, strict=True):
            dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            if not value.type.tensor_type.HasField("shape") or min(dims, default=1) < 1 or math.prod(dims) > LARGEST:
                raise Refused("sizes")
            self.shapes[name] = tuple(dims)
            self.kinds[name] = value.type.tensor_type.elem_type
        self.nodes.append(made)
        return names[0]

    @property
    def floats(self) -> list[str]:
        return [name for name, kind in self.kinds.items() if kind == TensorProto.FLOAT]

    def pick(self, rank: int | None = None) -> str:
        """One of the last values, the newest more often. Raises Refused where none has the rank."""
        fits = [name for name in self.floats if rank is None or len(self.shapes[name]) == rank]
        if not fits:
            raise Refused("rank")
        return fits[-1] if self.rng.random() < 0.75 else self.one_of(*fits[-4:])

    def grow(self, count: int, operators: Sequence[Callable[[RandomGraph], None]]) -> None:
        """Add `count` operators."""
        while count:
            before = len(self.nodes)
            try:
                self.one_of(*operators)(self)
                count -= 1
            except Refused:
                for node in self.nodes[before:]:
                    for name in node.output:
                        self.shapes.pop(name, None)
                        self.kinds.pop(name, None)
                del self.nodes[before:]

    def model(self) -> onnx.ModelProto:
        """With everything that nothing else uses as a result, four at most."""
        used = {name for node in self.nodes for name in node.input}
        ends = [name for node in self.nodes for name in node.output if name in self.shapes and name not in used]
        outputs = [helper.make_tensor_value_info(name, self.kinds[name], self.shapes[name]) for name in ends[-4:]]
        source = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shapes["x"])
        stored = [tensor for tensor in self.constants if tensor.name in used]
        graph = helper.make_graph(self.nodes, "main", [source], outputs, stored)
        made = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", OPSET)])
        onnx.checker.check_model(made)
        return made
