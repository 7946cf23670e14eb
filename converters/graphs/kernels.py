"""Operators that ONNX Runtime's CPU has no kernel for in a type, such as Conv in float64 and most in bfloat16: computed in float32,
and brought to the type at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, ShapeInferencePass

from enginesmith.converters.graphs.structure import FLOAT, ordered, subgraphs

LOW = (ir.DataType.BFLOAT16, ir.DataType.FLOAT16, ir.DataType.DOUBLE)
"""Types that kernels are lacking in."""
UNTYPED = frozenset(("Cast", "Constant", "If", "Loop", "Scan"))
"""Operators that are there in every type, or have none of their own."""
MOVING = frozenset(
    ("Expand", "Flatten", "Gather", "Identity", "Reshape", "Shape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
)
"""Operators whose kernels mostly take any type."""
_LACKING = re.compile(r"NOT_IMPLEMENTED : .*implementation for (?P<op>\w+)\(\d+\)")


def lacking(error: Exception) -> str:
    """The operator that ONNX Runtime says it has no kernel for; empty where the error is another one."""
    found = _LACKING.search(str(error))
    return found["op"] if found else ""


def load(path: Path) -> ir.Model:
    """A graph whose tensors have known types."""
    model = ir.load(path)
    if model.functions:
        InlinePass()(model)
    if any(value.dtype is None for node in ordered(model.graph) for value in node.outputs if value.name):
        model = ShapeInferencePass()(model).model
    return model


def widen(model: ir.Model, operator: str) -> list[str]:
    """Compute the nodes of an operator in float32, in place, and in bfloat16, where next to nothing has a kernel, those of the
    others too. Returns what was widened: `Conv in float64`; empty where nothing of the operator's could be."""
    nodes = list(ordered(model.graph))
    asked = [node for node in nodes if node.op_type == operator and _types(node)]
    if any(ir.DataType.BFLOAT16 in _types(node) for node in asked):
        asked += [node for node in nodes if node.op_type not in MOVING and ir.DataType.BFLOAT16 in _types(node)]
    done: dict[str, None] = {}
    for node in dict.fromkeys(asked):
        if node.op_type not in UNTYPED:
            done |= dict.fromkeys(f"{node.op_type} in {low.name.lower()}" for low in _types(node))
            _widen(node)
    return [words.replace("in double", "in float64") for words in done]


def _types(node: ir.Node) -> list[ir.DataType]:
    """The types among `LOW` that it takes or gives."""
    if any(subgraphs(node)):
        return []
    values = (*node.inputs, *node.outputs)
    return [low for low in LOW if any(value is not None and value.dtype == low for value in values)]


def _widen(node: ir.Node) -> None:
    graph = node.graph
    assert graph is not None
    for index, value in enumerate(node.inputs):
        if value is not None and value.dtype in LOW:
            cast = _cast(value, f"{node.outputs[0].name}/{index}", FLOAT)
            graph.insert_before(node, [cast])
            node.replace_input_with(index, cast.outputs[0])
    for key in ("dtype", "to"):
        if key in node.attributes and ir.DataType(node.attributes[key].as_int()) in LOW:
            node.attributes[key] = ir.AttrInt64(key, FLOAT)
    if node.op_type == "ConstantOfShape" and "value" in node.attributes:
        array = node.attributes["value"].as_tensor().numpy().astype("float32")
        node.attributes["value"] = ir.AttrTensor("value", ir.tensor(array))
    for value in node.outputs:
        low = value.dtype
        if low not in LOW:
            continue
        name = value.name
        value.name, value.type = f"{name}/wide", ir.TensorType(FLOAT)
        cast = _cast(value, name, low)
        for use in list(value.uses()):
            use.node.replace_input_with(use.idx, cast.outputs[0])
        for index, end in enumerate(graph.outputs):
            if end is value:
                graph.outputs[index] = cast.outputs[0]
        cast.replace_input_with(0, value)
        graph.insert_after(node, [cast])


def _cast(value: ir.Value, name: str | None, to: ir.DataType) -> ir.Node:
    node = ir.node("Cast", [value], {"to": to})
    out = node.outputs[0]
    out.name, out.type, out.shape = name, ir.TensorType(to), value.shape
    return node


def told(widened: Sequence[str]) -> str:
    """For the user; empty where nothing was."""
    listed = list(dict.fromkeys(widened))
    more = f" and {len(listed) - 4} more" if len(listed) > 4 else ""
    shown = ", ".join(listed[:4]) + more
    return f"ONNX Runtime has no kernel for {shown}: the comparisons compute it in float32" if listed else ""
