"""Inputs that an operator takes in int64 alone, such as the indices of ScatterND and GatherND, where a tool wrote other integers."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from enginesmith.compat.graphs import infer, opset
from enginesmith.compat.values import dtype
from enginesmith.converters.graphs.structure import is_standard, ordered

INT64 = "tensor(int64)"
_WIDENED = frozenset({
    ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32, ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT32,
})  # fmt: skip
"""All numbers of these are numbers of int64."""


def widen_indices(model: ir.Model) -> int:
    """Cast such inputs to int64, in place. Returns how many."""
    version = opset(model)
    wanted = [
        (node, index)
        for node in ordered(model.graph)
        if is_standard(node)
        for index in _only_int64(node.op_type, version)
        if index < len(node.inputs) and node.inputs[index] is not None
    ]
    if any(dtype(node.inputs[index]) is None for node, index in wanted):
        infer(model)
    count = 0
    for node, index in wanted:
        value = node.inputs[index]
        if value is None or dtype(value) not in _WIDENED or node.graph is None:
            continue
        cast = ir.node("Cast", [value], {"to": ir.DataType.INT64})
        out = cast.outputs[0]
        out.name, out.type, out.shape = (
            f"{value.name}/{node.outputs[0].name}/int64",
            ir.TensorType(ir.DataType.INT64),
            value.shape,
        )
        cast.metadata_props.update(node.metadata_props)  # the line of the model that it is for
        node.graph.insert_before(node, [cast])
        node.replace_input_with(index, out)
        count += 1
    return count


def _only_int64(operator: str, version: int) -> list[int]:
    """The inputs of an operator that may be int64 and nothing else."""
    try:
        schema = onnx.defs.get_schema(operator, version)
    except onnx.defs.SchemaError:
        return []
    types = {constraint.type_param_str: constraint.allowed_type_strs for constraint in schema.type_constraints}
    return [
        index
        for index, given in enumerate(schema.inputs)
        if list(types.get(given.type_str, [given.type_str])) == [INT64]
    ]
