"""If with a condition that is known: the branch taken replaces it."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.repairs.repair import graph_repair
from enginesmith.compat.target import Target
from enginesmith.compat.values import attribute, constant
from enginesmith.compat.walk import graphs


@graph_repair(
    "if-constant",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
choose (float[2] x) => (float[2] y) <bool yes = {1}> {
  y = If (yes) <then_branch = then () => (float[2] a) { a = Neg (x) },
                else_branch = other () => (float[2] b) { b = Abs (x) }>
}
""",
)
def if_constant(model: ir.Model, target: Target) -> int:
    """An If whose condition is a constant is replaced by the branch that is taken."""
    changes = 0
    for graph in graphs(model):
        for node in list(graph):
            if node.op_type != "If" or node.domain:
                continue
            condition = constant(node.inputs[0])
            if condition is None or condition.size != 1:
                continue
            branch = attribute(node, "then_branch" if bool(condition.reshape(())) else "else_branch")
            if isinstance(branch, ir.Graph):
                splice(graph, node, branch)
                changes += 1
    return changes


def splice(graph: ir.Graph, node: ir.Node, branch: ir.Graph) -> None:
    """Move the branch's nodes to the If's place, and let its outputs stand for the If's."""
    prefix = node.name or node.outputs[0].name or "if"
    outputs = list(branch.outputs)
    for initializer in list(branch.initializers.values()):
        name = initializer.name
        branch.initializers.pop(name or "")
        initializer.name = f"{prefix}/{name}"
        graph.register_initializer(initializer)
    nodes = list(branch)
    branch.outputs.clear()
    branch.remove(nodes)
    for inner in nodes:
        inner.name = f"{prefix}/{inner.name}" if inner.name else None
        for value in inner.outputs:
            if value.name:
                value.name = f"{prefix}/{value.name}"
    graph.insert_before(node, nodes)
    for old, new in zip(node.outputs, outputs, strict=True):
        name = old.name
        old.name = f"{name}/replaced"
        # A branch may pass on a value from outside, which must keep its name: a graph output needs a node of its own.
        passed = ir.node("Identity", [new])
        graph.insert_before(node, [passed])
        passed.outputs[0].name = name
        passed.outputs[0].type = old.type or new.type
        passed.outputs[0].shape = new.shape if old.shape is None else old.shape
        old.replace_all_uses_with(passed.outputs[0], replace_graph_outputs=True)
    graph.remove(node, safe=True)
