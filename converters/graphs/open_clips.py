"""Clip with one bound, as exporters write `clamp(min=…)`: by ONNX the other one is the largest finite number, so that an infinite
element comes out finite, where PyTorch leaves it."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.converters.graphs.structure import is_standard, ordered


def open_clips(model: ir.Model) -> int:
    """Max or Min in their place, in place: those of floats, with the line of the model that they are for. Returns how many."""
    count = 0
    for node in ordered(model.graph):
        inputs = [*node.inputs, None, None, None][:3]
        data, bounds = inputs[0], [(bound, op) for bound, op in zip(inputs[1:], ("Max", "Min"), strict=True) if bound]
        if node.op_type != "Clip" or not is_standard(node) or len(bounds) != 1 or node.graph is None:
            continue
        dtype = data.dtype if data is not None and data.dtype is not None else node.outputs[0].dtype
        if dtype is None or not dtype.is_floating_point():
            continue
        ((bound, op),) = bounds
        made = ir.node(op, [data, bound])
        made.metadata_props.update(node.metadata_props)
        made.name = node.name
        old, new = node.outputs[0], made.outputs[0]
        new.name, new.type, new.shape = old.name, old.type, old.shape
        node.graph.insert_before(node, [made])
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        node.graph.remove(node, safe=True)
        count += 1
    return count
