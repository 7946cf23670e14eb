"""Operators that ONNX itself defines by others: the definition takes their place."""

from __future__ import annotations

from typing import Any

import onnx
import onnx_ir as ir
from onnx import defs
from onnx_ir.passes import common

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import label, qualified, used
from enginesmith.compat.walk import subgraphs


@repair(
    "function-body",
    ops="*",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
loss (float[2, 3, 4] x, int64[2, 4] classes) => (float y) {
  y = NegativeLogLikelihoodLoss <reduction = "mean"> (x, classes)
}
""",
)
def function_body(node: ir.Node, build: Builder) -> Replacement:
    """The operator is replaced by the function body that the ONNX standard gives for it."""
    proto = body(node, build.opset)
    # A body leaves out what computes an unused output.
    made = {name for inner in proto.node for name in inner.output}.union(proto.input)
    places = [index for index, name in enumerate(proto.output) if name in made]
    kept = [proto.output[index] for index in places]
    del proto.output[:]
    proto.output.extend(kept)
    inputs = [None if value is None else ir.Value(name=f"input{i}") for i, value in enumerate(node.inputs)]
    nodes, results = _instance(node, ir.serde.deserialize_function(proto), inputs)
    outputs: list[ir.Value | None] = [None] * len(node.outputs)
    for place, value in zip(places, results, strict=True):
        if used(node, place):
            outputs[place] = value
    for formal, actual in zip(inputs, node.inputs, strict=True):
        if formal is not None and actual is not None:
            formal.replace_all_uses_with(actual)
            outputs = [actual if value is formal else value for value in outputs]
    build.nodes.extend(nodes)
    return outputs


def _instance(
    node: ir.Node, function: ir.Function, inputs: list[ir.Value | None]
) -> tuple[list[ir.Node], list[ir.Value]]:
    """The nodes and the results of a function, called with the node's attributes."""
    call = ir.Node(node.domain, node.op_type, inputs, _attributes(node), num_outputs=len(function.outputs))
    graph = ir.Graph([], list(call.outputs), nodes=[call], opset_imports=function.opset_imports, name="body")
    common.InlinePass()(ir.Model(graph, ir_version=10, functions=[function]))
    results = list(graph.outputs)
    graph.outputs.clear()
    nodes = list(graph)
    graph.remove(nodes)
    _rename(nodes, label(node))
    return nodes, results


def body(node: ir.Node, opset: int) -> onnx.FunctionProto:
    """The standard's function for a node, as of the last version that is not newer than `opset`.

    Raises NotApplicable when there is none.
    """
    domain = node.domain
    own = opset if domain in ("", "ai.onnx") else (node.graph.opset_imports.get(domain, 0) if node.graph else 0)
    try:
        # The stubs of onnx lack what concerns functions.
        schema: Any = defs.get_schema(node.op_type, own, domain)
    except defs.SchemaError:
        raise NotApplicable(f"ONNX has no operator {qualified(node)} in opset {own}") from None
    plain, dependent = schema.function_opset_versions, schema.context_dependent_function_opset_versions
    versions = [version for version in {*plain, *dependent} if version <= own]
    if not versions:
        raise NotApplicable(f"ONNX defines {qualified(node)} by no other operators in opset {own}")
    version = max(versions)
    if version in dependent:
        serialized = schema.get_context_dependent_function_with_opset_version(version, _call(node), _types(node))
    else:
        serialized = schema.get_function_with_opset_version(version)
    if not serialized:
        raise NotApplicable("ONNX gives no body for these inputs")
    proto = onnx.FunctionProto()
    proto.ParseFromString(serialized)
    known = node.graph.opset_imports if node.graph is not None else {}
    for imported in proto.opset_import:
        if imported.domain not in ("", "ai.onnx") and imported.domain not in known:
            raise NotApplicable(f"its body needs the domain {imported.domain}")
        imported.version = opset if imported.domain in ("", "ai.onnx") else known[imported.domain]
    proto.domain, proto.name = node.domain, node.op_type
    del proto.attribute_proto[:]
    return proto


def _call(node: ir.Node) -> bytes:
    """The node alone, without the outputs that nothing reads."""
    proto = onnx.NodeProto(op_type=node.op_type, domain=node.domain)
    proto.input.extend("" if value is None else f"input{index}" for index, value in enumerate(node.inputs))
    proto.output.extend(f"output{index}" if used(node, index) else "" for index in range(len(node.outputs)))
    proto.attribute.extend(ir.to_proto(found) for found in node.attributes.values())
    while proto.output and not proto.output[-1]:
        proto.output.pop()
    return bytes(proto.SerializeToString())


def _types(node: ir.Node) -> list[bytes]:
    """The inputs' types; an input that is left out has an empty one."""
    protos = []
    for value in node.inputs:
        proto = onnx.TypeProto() if value is None else ir.to_proto(value).type
        if value is not None and proto.WhichOneof("value") is None:
            raise NotApplicable(f"the type of {value.name} is unknown")
        protos.append(bytes(proto.SerializeToString()))
    return protos


def _attributes(node: ir.Node) -> list[ir.Attr]:
    """The node's attributes, those that it leaves out with their default."""
    opset = node.graph.opset_imports.get(node.domain) if node.graph is not None else None
    schema = defs.get_schema(node.op_type, opset or defs.onnx_opset_version(), node.domain)
    given = list(node.attributes.values())
    for name, formal in schema.attributes.items():
        if name not in node.attributes and formal.default_value.name:
            given.append(ir.serde.deserialize_attribute(formal.default_value))
    return given


def _rename(nodes: list[ir.Node], prefix: str) -> None:
    """Names inside subgraphs must differ from those around: they take the node's as prefix."""
    for node in nodes:
        for graph in subgraphs(node):
            for value in (*graph.inputs, *graph.initializers.values()):
                value.name = f"{prefix}/{value.name}"
            for inner in graph:
                for value in inner.outputs:
                    if value.name:
                        value.name = f"{prefix}/{value.name}"
            _rename(list(graph), prefix)
