"""The one way into the graphs that lie within a graph: of onnx_ir's nodes, and of protobuf's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


def subgraphs(node: ir.Node) -> list[ir.Graph]:
    """The graphs that are attributes of a node, in the order of its attributes."""
    import onnx_ir as ir  # not with this module: who reads protobuf alone needn't wait for it

    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            found += attribute.as_graphs()
    return found


def graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """The model's graph and every subgraph, an inner one before the one around it."""
    yield from reversed(list(model.graphs()))


def ordered(graph: ir.Graph | ir.Function) -> Iterator[ir.Node]:
    """Every node after all that it depends on: those of its subgraphs come before it."""
    for node in graph:
        for inner in subgraphs(node):
            yield from ordered(inner)
        yield node


def captured(node: ir.Node) -> list[ir.Value]:
    """Values that a node's subgraphs take from the graphs around them, in order of use."""
    inside: set[ir.Value] = set()
    read: dict[ir.Value, None] = {}

    def enter(graph: ir.Graph) -> None:
        inside.update(graph.inputs, graph.initializers.values())
        for inner in graph:
            inside.update(inner.outputs)
            read.update(dict.fromkeys(value for value in inner.inputs if value is not None))
            for deeper in subgraphs(inner):
                enter(deeper)
        read.update(dict.fromkeys(graph.outputs))

    for graph in subgraphs(node):
        enter(graph)
    return [value for value in read if value not in inside]


def proto_subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """As `subgraphs`, of a node that is protobuf's."""
    return [graph for item in node.attribute for graph in ([item.g] if item.HasField("g") else item.graphs)]


def proto_nodes(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    """Every node of a graph and of the graphs within it, an outer one before what it holds."""
    for node in graph.node:
        yield node
        for inner in proto_subgraphs(node):
            yield from proto_nodes(inner)
