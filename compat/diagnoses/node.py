"""The node of a model that a log names, looked up in the file: tools name nodes by their outputs, fused, and with endings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    import onnx_ir as ir

LOOK = "enginesmith.compat.diagnoses.node:look"
MOST = 4
"""Nodes that are shown of a fused layer, or of an operator."""
_ENDING = re.compile(r"(?:_(?:output_\d+|(?:Output|Input|Condition)?Layer|quantized|castOut)|:\d+)$")
_BEGINNING = re.compile(r"^(?:node_of_|ONNXTRT_\w+?_(?=/))")


class Value(BaseModel):
    """An input or output of a node. `source` is the operator that makes it, `constant`, `input`, or nothing."""

    name: str
    type: str
    shape: str
    source: str = ""


class NodeFacts(BaseModel):
    """A node of the file, with what shape inference knows of its values."""

    op: str
    name: str
    inputs: list[Value]
    outputs: list[Value]
    attributes: dict[str, str]


class Looked(BaseModel):
    """What was found for a name: the nodes, or why there are none. `by_name` is false where only the operator agrees."""

    nodes: list[NodeFacts] = []
    by_name: bool = True
    count: int = 0
    """Of nodes that agree; at most `MOST` are given."""
    problem: str = ""


def look(path: str, name: str, op: str, memory: int = 0) -> dict[str, object]:
    """Find the node that a tool calls `name` in the file, or else the nodes of the operator `op`. The result is a `Looked`."""
    from enginesmith.compat import loading
    from enginesmith.compat.graphs import infer

    model, problems = loading.load(Path(path), memory)
    if model is None:
        return Looked(problem=problems[0].message if problems else "it can't be read").model_dump()
    model = infer(model)
    nodes = list(model.graph.all_nodes())
    wanted = set(_names(name))
    found = [node for node in nodes if wanted & set(_called(node))]
    looked = Looked(by_name=bool(found))
    if not found and op:
        found = [node for node in nodes if node.op_type == op.rpartition("::")[2]]
    looked.count = len(found)
    looked.nodes = [_facts(node) for node in found[:MOST]]
    if not found:
        looked.problem = (
            "no node of the model has the name or the operator that the log gives; is it the file of this log?"
        )
    return looked.model_dump()


def _names(said: str) -> Iterator[str]:
    """What a layer's name in a log may stand for: each part of a fused one, with and without the tools' endings."""
    for part in re.split(r" \+ |\.\.\.|, ", re.sub(r"\{?ForeignNode\[|\[[A-Z]\w+\]|[{}\]]", "", said)):
        name = part.strip().strip("'\"")
        while name:
            yield name
            shorter = _BEGINNING.sub("", _ENDING.sub("", name))
            if shorter == name:
                break
            name = shorter


def _called(node: ir.Node) -> Iterator[str]:
    if node.name:
        yield from _names(node.name)
    yield from (output.name for output in node.outputs if output.name)


def _facts(node: ir.Node) -> NodeFacts:
    return NodeFacts(
        op=node.op_type,
        name=node.name or next((output.name or "" for output in node.outputs), ""),
        inputs=[_value(value) for value in node.inputs if value is not None],
        outputs=[_value(value).model_copy(update={"source": ""}) for value in node.outputs],
        attributes={
            name: str(attribute.value)[:80] for name, attribute in node.attributes.items() if not _graph(attribute)
        },
    )


def _graph(attribute: ir.Attr) -> bool:
    return attribute.type.name in ("GRAPH", "GRAPHS")


def _value(value: ir.Value) -> Value:
    producer = value.producer()
    if value.const_value is not None or (producer is not None and producer.op_type == "Constant"):
        source = "constant"
    elif producer is not None:
        source = producer.op_type
    else:
        source = "input" if value.is_graph_input() else ""
    shape = "?" if value.shape is None else f"[{', '.join(str(size) for size in value.shape)}]"
    return Value(
        name=value.name or "", type="?" if value.dtype is None else value.dtype.name.lower(), shape=shape, source=source
    )
