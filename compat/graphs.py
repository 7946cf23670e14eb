"""Whole models: load, infer shapes, give every node a name."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes import common

from enginesmith.compat.values import DEFAULT_DOMAINS, Array, label
from enginesmith.compat.walk import graphs, subgraphs

ELEMENTWISE = frozenset((
    "Abs", "Cast", "CastLike", "Ceil", "Clip", "Cos", "Exp", "Floor", "Identity", "Log", "Neg", "Not", "Relu", "Round",
    "Sigmoid", "Sin", "Sqrt", "Tanh",
))  # fmt: skip
"""Operators whose output has the shape of their first input."""
BINARY = frozenset(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"))
"""Operators whose output has the shape of one input where the other is a scalar, or has the same shape."""
SEQUENCE_MAKERS = frozenset((
    "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceMap", "SplitToSequence",
))  # fmt: skip


def infer(model: ir.Model) -> ir.Model:
    """Fill in dtypes and shapes, as far as onnx can infer them, in place. What can't be inferred stays as it is."""
    common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    for graph in graphs(model):
        _retype(graph)
        # A subgraph's nodes have the model's opsets, which onnx_ir notes with the outermost graph alone.
        graph.opset_imports.update(model.opset_imports)
        _infer_backward(graph)
    return model


def _retype(graph: ir.Graph) -> None:
    """Make sequences of what onnx_ir's inference has made tensors of: it merges element types alone."""
    for node in graph:
        sources: list[Sequence[ir.Value | None]] = [[value] * len(node.outputs) for value in node.inputs[:1]]
        if node.op_type == "If":
            sources = [branch.outputs for branch in subgraphs(node)]
        elif node.op_type == "Loop":
            sources = [body.outputs[1:] for body in subgraphs(node)]
        elif node.op_type not in ("Identity", "OptionalGetElement"):
            sources = []
        for index, value in enumerate(node.outputs):
            passed = any(index < len(given) and _is_sequence(given[index]) for given in sources)
            if isinstance(value.type, ir.TensorType) and (node.op_type in SEQUENCE_MAKERS or passed):
                value.type = ir.SequenceType(value.type)


def _is_sequence(value: ir.Value | None) -> bool:
    return value is not None and isinstance(value.type, ir.SequenceType)


def _infer_backward(graph: ir.Graph) -> None:
    """A value of unknown size takes the shape of what an elementwise operator makes of it, where that is declared."""
    for node in reversed(graph):
        if node.domain not in DEFAULT_DOMAINS or not node.outputs or node.outputs[0].shape is None:
            continue
        result = node.outputs[0].shape
        if node.op_type in ELEMENTWISE:
            _take_shape(node.inputs[0], result)
        elif node.op_type in BINARY and len(node.inputs) == 2:
            for value, other in (node.inputs, node.inputs[::-1]):
                if other is not None and other.shape is not None and (len(other.shape) == 0 or _alike(value, other)):
                    _take_shape(value, result)


def _alike(one: ir.Value | None, other: ir.Value) -> bool:
    """Have both the same sizes, be it that of some of them only a name is known? Unnamed ones may differ."""
    if one is None or one.shape is None or other.shape is None or one.shape != other.shape:
        return False
    return all(isinstance(size, int) or size.value is not None for size in one.shape)


def _take_shape(value: ir.Value | None, shape: ir.Shape) -> None:
    """Give a value the shape, if that is static and the value's own is not, and doesn't contradict it."""
    if value is None or not shape.is_static():
        return
    own = value.shape
    if own is None or (len(own) == len(shape) and not own.is_static()):
        value.shape = shape.copy()


def named(model: ir.Model) -> None:
    """Give every node a name that no other has, in place: its own, its first output's, or one of these with a number."""
    taken: set[str] = set()
    for node in model.graph.all_nodes():
        base = label(node) or node.op_type
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}#{count}"
        node.name = name
        taken.add(name)


def opset(model: ir.Model) -> int:
    """The version of the default domain that the model imports; 0 where it imports none."""
    return next((model.opset_imports[name] for name in DEFAULT_DOMAINS if name in model.opset_imports), 0)


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all initializers, subgraphs included."""
    return sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )


def initializer(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """A constant of the graph by that name; the one that it has already, if so."""
    if name not in graph.initializers:
        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape))
        graph.register_initializer(value)
    return graph.initializers[name]
