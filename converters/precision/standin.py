"""A graph in float32 that rounds where another one has 16 bits: what ONNX Runtime can run in its place.

ONNX Runtime's CPU kernels for 16 bits are few. Where it has none for float16 it computes in float32 and leaves out
the rounding between two nodes, so that an overflow doesn't show; for bfloat16 it refuses the graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from enginesmith.converters.precision.structure import FLOAT, ordered

STAND_IN = "standin.onnx"
"""File name of the stand-in, beside the graph that it stands for."""
MOVING = frozenset((
    "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "If", "MaxPool", "Pad", "Relu",
    "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
))  # fmt: skip
"""Operators that make no number that they were not given, but zero."""


def stand_in(model: ir.Model, low: ir.DataType) -> ir.Model:
    """Each result of `low` is computed in float32 and rounded to `low` at once. Inputs and outputs keep their types."""
    made = ir.Model(model.graph.clone(), ir_version=model.ir_version)
    for graph in list(made.graphs()):
        first = next(iter(graph), None)
        held = [*graph.inputs, *graph.initializers.values()]
        for value in [value for value in held if value.dtype == low and first is not None]:
            cast = _cast(value, FLOAT)
            _replace(value, cast.outputs[0], keep=cast)
            graph.insert_before(first, cast)  # type: ignore[arg-type]
    ends = [value for value in made.graph.outputs if value.dtype == low]
    for node in list(ordered(made.graph)):
        for value in node.outputs:
            if value.dtype != low:
                continue
            if node.op_type in MOVING:
                value.type = ir.TensorType(FLOAT)
                continue
            nodes: list[ir.Node] = []
            rounded = value
            if node.op_type not in ("Cast", "Constant"):
                value.type = ir.TensorType(FLOAT)
                nodes.append(_cast(value, low))
                rounded = nodes[0].outputs[0]
            nodes.append(_cast(rounded, FLOAT))
            _replace(value, nodes[-1].outputs[0], keep=nodes[0])
            node.graph.insert_after(node, nodes)  # type: ignore[union-attr]
    for index, value in enumerate(made.graph.outputs):
        if any(value.name in (end.name, f"{end.name}/{FLOAT.name}") for end in ends):
            cast = _cast(value, low)
            value.name, cast.outputs[0].name = f"{value.name}/wide", value.name
            made.graph.append(cast)
            made.graph.outputs[index] = cast.outputs[0]
    return made


def _cast(value: ir.Value, to: ir.DataType) -> ir.Node:
    node = ir.node("Cast", [value], {"to": to})
    out = node.outputs[0]
    out.name, out.type, out.shape = f"{value.name}/{to.name}", ir.TensorType(to), value.shape
    return node


def _replace(value: ir.Value, other: ir.Value, keep: ir.Node) -> None:
    """Every reader of `value` but `keep` reads `other`, the outputs of graphs among them."""
    for use in list(value.uses()):
        if use.node is not keep:
            use.node.replace_input_with(use.idx, other)
    for graph in _ending_in(value):
        for index, end in enumerate(graph.outputs):
            if end is value:
                graph.outputs[index] = other


def _ending_in(value: ir.Value) -> Sequence[ir.Graph]:
    graph = value.graph
    return [graph] if value.is_graph_output() and isinstance(graph, ir.Graph) else []
