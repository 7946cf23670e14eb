"""A graph that is in 16 bits itself, as one in float32 with the same inputs and outputs: what lower precisions are made from.

Its weights are those of the 16 bits, exactly. Which nodes compute in 16 bits again, the ranges of their tensors decide.
"""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.converters.graphs.structure import FLOAT, ordered

HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def in_float32(model: ir.Model) -> bool:
    """Compute in float32 what is in 16 bits, in place; inputs and outputs keep their types. Returns whether something was."""
    nodes = list(ordered(model.graph))
    graphs = list(model.graphs())
    changed = any(value.dtype in HALVES for node in nodes if node.op_type != "Cast" for value in node.outputs)
    if not changed:
        return False
    ends = {index: value.dtype for index, value in enumerate(model.graph.outputs) if value.dtype in HALVES}
    for graph in graphs:
        for value in graph.initializers.values():
            if value.dtype in HALVES and value.const_value is not None:
                value.const_value = ir.tensor(value.const_value.numpy().astype("float32"), name=value.name)
                value.type = ir.TensorType(FLOAT)
    for node in nodes:
        _widen(node)
    for graph in graphs:
        if graph is not model.graph:
            for value in graph.inputs:
                if value.dtype in HALVES:
                    value.type = ir.TensorType(FLOAT)
    for value in model.graph.inputs:
        if value.dtype in HALVES:
            cast = _cast(value, f"{value.name}/widened", FLOAT)
            for use in list(value.uses()):
                if use.node is not cast:
                    use.node.replace_input_with(use.idx, cast.outputs[0])
            for index, end in enumerate(model.graph.outputs):
                if end is value:
                    model.graph.outputs[index] = cast.outputs[0]
            model.graph.insert_before(nodes[0], [cast])
    for index, low in ends.items():
        end = model.graph.outputs[index]
        name = end.name
        if not end.is_graph_input():
            end.name = f"{name}/widened"
        cast = _cast(end, name, low)
        model.graph.append(cast)
        model.graph.outputs[index] = cast.outputs[0]
    return True


def _widen(node: ir.Node) -> None:
    for attribute in list(node.attributes.values()):
        if attribute.type == ir.AttributeType.INT and attribute.name in ("to", "dtype"):
            if ir.DataType(attribute.as_int()) in HALVES:
                node.attributes[attribute.name] = ir.AttrInt64(attribute.name, FLOAT)
        elif attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in HALVES:
            tensor = attribute.as_tensor()
            wide = ir.tensor(tensor.numpy().astype("float32"), name=tensor.name)
            node.attributes[attribute.name] = ir.AttrTensor(attribute.name, wide)
    for value in node.outputs:
        if value.dtype in HALVES:
            value.type = ir.TensorType(FLOAT)
            if value.const_value is not None:
                value.const_value = ir.tensor(value.const_value.numpy().astype("float32"), name=value.name)


def _cast(value: ir.Value, name: str | None, to: ir.DataType) -> ir.Node:
    node = ir.node("Cast", [value], {"to": to})
    out = node.outputs[0]
    out.name, out.type, out.shape = name, ir.TensorType(to), value.shape
    return node
