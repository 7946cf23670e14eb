"""If with a condition that is known, which the branch taken replaces, and with branches whose results differ in rank."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.graphs import infer
from enginesmith.compat.repairs.repair import graph_repair
from enginesmith.compat.target import Target
from enginesmith.compat.values import attribute, constant, rank
from enginesmith.compat.walk import graphs, subgraphs


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


MOST_READERS = 16
"""Nodes that are moved into the branches of one If, at most."""


@graph_repair(
    "if-same-rank",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
choose (bool c, float[1, 4] x) => (float y) <int64[1] zero = {0}> {
  some = If (c) <then_branch = then () => (float[4] a) { a = Squeeze (x, zero) },
                 else_branch = other () => (float[1, 4] b) { b = Relu (x) }>
  y = ReduceSum <keepdims = 0> (some)
}
""",
)
def if_same_rank(model: ir.Model, target: Target) -> int:
    """Where the branches give results of several ranks, what reads them is computed in each branch, up to where the ranks agree."""
    changes = 0
    for graph in graphs(model):
        for node in list(graph):
            if node.op_type == "If" and not node.domain and len(node.outputs) == 1:
                for _ in range(MOST_READERS):
                    if not _ranks_differ(node) or not _sink(graph, node):
                        break
                    changes += 1
                    infer(model)
    return changes


def _ranks_differ(node: ir.Node) -> bool:
    ranks = [rank(branch.outputs[0]) for branch in subgraphs(node)]
    return None not in ranks and len(set(ranks)) > 1


def _sink(graph: ir.Graph, node: ir.Node) -> bool:
    """Move the one node that reads an If's result into both branches. False where there are several, or it is an output."""
    result = node.outputs[0]
    readers = {reader for reader, _ in result.uses()}
    if result.is_graph_output() or len(readers) != 1:
        return False
    (reader,) = readers
    if reader.graph is not graph or len(reader.outputs) != 1 or subgraphs(reader):
        return False
    for count, branch in enumerate(subgraphs(node)):
        inputs = [branch.outputs[0] if value is result else value for value in reader.inputs]
        moved = ir.node(reader.op_type, inputs, dict(reader.attributes), domain=reader.domain)
        moved.name = f"{reader.name or reader.outputs[0].name}/branch_{count}"
        moved.outputs[0].name = f"{moved.name}:0"
        moved.outputs[0].type = reader.outputs[0].type
        branch.append(moved)
        branch.outputs[0] = moved.outputs[0]
    old = reader.outputs[0]
    result.type, result.shape = old.type, old.shape
    name, old.name = old.name, f"{old.name}/replaced"
    result.name = name
    # What the moved node reads besides stands before it, and must stand before the If now.
    graph.remove(node)
    graph.insert_before(reader, [node])
    old.replace_all_uses_with(result, replace_graph_outputs=True)
    graph.remove(reader, safe=True)
    return True


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
