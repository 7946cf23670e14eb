"""If without anything in one branch: what torch.jit exports for `if boxes.numel() == 0: return an empty tensor`."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.repairs.branches import splice
from enginesmith.compat.values import attribute, constant


def join_branches(graph: ir.Graph) -> int:
    """Replace each If, one branch of which gives a constant without elements, by the other branch and a `Guard`.

    Guard (of the domain `enginesmith`, gone when the rewrite ends) gives its first input, without any row where its
    second one is true. That is the same as long as the other branch can be computed in either case; all shapes being
    fixed in the end, it can.
    """
    changes = 0
    for node in list(graph):
        if node.op_type != "If" or node.domain or len(node.outputs) != 1:
            continue
        for name, other, negated in (("then_branch", "else_branch", False), ("else_branch", "then_branch", True)):
            empty, full = attribute(node, name), attribute(node, other)
            array = constant(empty.outputs[0])
            if array is None or array.size:
                continue
            _join(graph, node, full, axis=array.shape.index(0), negated=negated)
            changes += 1
            break
    return changes


def _join(graph: ir.Graph, node: ir.Node, full: ir.Graph, axis: int, negated: bool) -> None:
    condition = node.inputs[0]
    if negated:
        inverse = ir.node("Not", [condition])
        graph.insert_before(node, [inverse])
        condition = inverse.outputs[0]
    result = node.outputs[0]
    readers, last = list(result.uses()), node.name
    output_places = [index for index, output in enumerate(graph.outputs) if output is result]
    guard = ir.node("Guard", [result, condition], {"axis": axis}, domain="enginesmith", name=f"{last}/Guard")
    graph.insert_after(node, [guard])
    for reader, index in readers:
        reader.replace_input_with(index, guard.outputs[0])
    for index in output_places:
        graph.outputs[index] = guard.outputs[0]
    splice(graph, node, full)
