"""Which inputs and outputs of a node have the type in which it computes, by its operator's definition."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import onnx
import onnx_ir as ir

from enginesmith.converters.graphs.structure import is_float, is_standard
from enginesmith.converters.precision.formats import Format

NOT_DATA = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs that say where to read, not what: regions and scales stay in float32."""


@dataclass(frozen=True)
class Ports:
    """Indices of the float32 inputs and outputs that change their type with the node's precision."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def ports(node: ir.Node, opset: int, format: Format) -> Ports | None:
    """None where the operator has no form in `format`: by its definition, or since a type can't be told."""
    if not is_standard(node) or any(not isinstance(v.type, ir.TensorType) for v in node.outputs if v.name):
        return None
    if any(value is not None and value.dtype is None for value in node.inputs):
        return None
    schema = _schema(node.op_type, opset)
    if schema is None or "dtype" in schema.attributes or node.op_type in ("Cast", "CastLike"):
        return None
    wanted = f"tensor({format.name})"
    allowed = {constraint.type_param_str: constraint.allowed_type_strs for constraint in schema.type_constraints}
    found: list[tuple[int, ...]] = []
    for formals, values in ((schema.inputs, node.inputs), (schema.outputs, node.outputs)):
        indices = []
        for index, value in enumerate(values):
            if not is_float(value) or index in NOT_DATA.get(node.op_type, ()):
                continue
            kind = formals[min(index, len(formals) - 1)].type_str
            if kind not in allowed:
                continue  # float32 by definition
            if wanted not in allowed[kind]:
                return None
            indices.append(index)
        found.append(tuple(indices))
    return Ports(*found)


@cache
def _schema(op: str, opset: int) -> onnx.defs.OpSchema | None:
    return onnx.defs.get_schema(op, opset, "") if onnx.defs.has(op, opset, "") else None
