"""What QuantizeLinear and DequantizeLinear say in a graph: tensors that are integers in truth, and integer weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from enginesmith.converters.backends.tvm.kernels.graph import Graph, number, shape_of, sizes_of
from enginesmith.converters.backends.tvm.kernels.steps import step_of


@dataclass(frozen=True)
class View:
    """A dequantized tensor: `integers` is the variable that holds what QuantizeLinear made."""

    integers: Any
    scale: float

    def constant(self) -> Any:
        """The scale as a tensor."""
        return relax.const(np.array([self.scale], np.float32))


def quantization(graph: Graph, expression: Any) -> tuple[str, int] | None:
    """Type and zero point of what a QuantizeLinear with one scale makes; None for another expression."""
    node = graph.producer.get(expression)
    if node is None or node.op != "relax.quantize" or step_of(graph, node) is None:
        return None
    return str(node.var.ty.dtype), int(number(graph.constant(node.inputs[2])) or 0)


def view_of(graph: Graph, expression: Any) -> View | None:
    """What a float32 tensor is a view of, if it is QuantizeLinear's result dequantized with one scale."""
    expression = graph.resolve(expression)
    node = graph.producer.get(expression) if isinstance(expression, relax.Var) else None
    if node is None or node.op != "relax.dequantize" or shape_of(expression) is None:
        return None
    integers, scale, zero = node.inputs
    found = quantization(graph, integers)
    size = number(graph.constant(scale))
    if found is None or not size or number(graph.constant(zero)) != found[1]:
        return None
    return View(integers, size)


def held(graph: Graph, expression: Any) -> Any:
    """The variable that is kept in memory for a tensor: the integers that it is a view of, or itself."""
    view = view_of(graph, expression)
    return expression if view is None else view.integers


def weights_of(graph: Graph, expression: Any, axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Dequantized constant weights as int8 and a scale for each index of an axis, whose zero points are 0."""
    expression = graph.resolve(expression)
    node = graph.producer.get(expression) if isinstance(expression, relax.Var) else None
    if node is None or shape_of(expression) is None:
        return None
    if node.op == "relax.permute_dims":
        axes = [int(index) for index in node.attrs.axes or reversed(range(len(sizes_of(expression) or ())))]
        found = weights_of(graph, node.inputs[0], axes[axis])
        return (found[0].transpose(axes), found[1]) if found else None
    if node.op != "relax.dequantize":
        return None
    integers, scale, zero = map(graph.constant, node.inputs)
    if integers is None or integers.dtype != np.int8 or scale is None or zero is None or np.any(zero):
        return None
    if scale.size > 1 and int(node.attrs.axis) % integers.ndim != axis:
        return None
    return integers, np.broadcast_to(scale.reshape(-1).astype(np.float32), integers.shape[axis : axis + 1])
