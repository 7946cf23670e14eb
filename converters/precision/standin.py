"""A graph in float32 that rounds where another one has 16 bits: what ONNX Runtime can run in its place.

ONNX Runtime's CPU kernels for 16 bits are few. Where it has none for float16 it computes in float32 and leaves out
the rounding between two nodes, so that an overflow doesn't show; for bfloat16 it refuses the graph.
"""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.interface import KEY
from enginesmith.converters.graphs.structure import FLOAT, ordered

MOVING = frozenset((
    "Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "If", "MaxPool", "Pad", "Relu",
    "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
))  # fmt: skip
"""Operators that make no number that they were not given, but zero."""


def stand_in(model: ir.Model, low: ir.DataType) -> ir.Model:
    """Each result of `low` is computed in float32 and rounded to `low` at once. Inputs and outputs have the types that
    they had before any was lowered.
    """
    made = ir.Model(model.graph.clone(), ir_version=model.ir_version)
    lowered = {name.removeprefix(KEY) for name in model.metadata_props if name.startswith(KEY)}
    for graph in list(made.graphs()):
        first = next(iter(graph), None)
        held = [*graph.inputs, *graph.initializers.values()]
        for value in [value for value in held if value.dtype == low and first is not None]:
            nodes = [_cast(value, FLOAT)]
            if graph is made.graph and value.is_graph_input() and value.name in lowered:
                value.type = ir.TensorType(FLOAT)
                nodes.insert(0, _cast(value, low))
                nodes[1].replace_input_with(0, nodes[0].outputs[0])
            _replace(value, nodes[-1].outputs[0], keep=nodes[0])
            graph.insert_before(first, nodes)  # type: ignore[arg-type]
    ends = {index: value.name for index, value in enumerate(made.graph.outputs) if value.dtype == low}
    for index, name in ends.items():
        made.graph.outputs[index].name = f"{name}/inner"
    for node in list(ordered(made.graph)):
        for value in node.outputs:
            if value.dtype != low:
                continue
            if node.op_type in MOVING:
                value.type = ir.TensorType(FLOAT)
                continue
            nodes = []
            rounded = value
            if node.op_type not in ("Cast", "Constant"):
                value.type = ir.TensorType(FLOAT)
                nodes.append(_cast(value, low))
                rounded = nodes[0].outputs[0]
            nodes.append(_cast(rounded, FLOAT))
            _replace(value, nodes[-1].outputs[0], keep=nodes[0])
            node.graph.insert_after(node, nodes)  # type: ignore[union-attr]
    for index, name in ends.items():
        if name in lowered:
            made.graph.outputs[index].name = name
            continue
        cast = _cast(made.graph.outputs[index], low)
        cast.outputs[0].name = name
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
    if value.is_graph_output() and isinstance(value.graph, ir.Graph):
        for index, end in enumerate(value.graph.outputs):
            if end is value:
                value.graph.outputs[index] = other
