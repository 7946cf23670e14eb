"""A node cut out into a model of its own, to try a repair on it."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx_ir as ir
from onnx import helper

from enginesmith.compat.building import Builder, NotApplicable, replace
from enginesmith.compat.graphs import infer
from enginesmith.compat.repairs.repair import Repair, candidates
from enginesmith.compat.target import Target
from enginesmith.compat.values import Array, constant_tensor, qualified, used
from enginesmith.compat.walk import captured


def cut_out(node: ir.Node, model: ir.Model) -> onnx.ModelProto:
    """A model of this one node: constants stay constants, other inputs become graph inputs of their inferred type.

    Raises NotApplicable when the dtype or rank of an input is unknown: no such model could be run.
    """
    inputs, initializers = [], []
    for value in dict.fromkeys([*(v for v in node.inputs if v is not None), *captured(node)]):
        tensor = constant_tensor(value)
        if tensor is not None:
            proto = ir.to_proto(tensor)
            proto.name = value.name or ""
            initializers.append(proto)
        elif value.type is None or (isinstance(value.type, ir.TensorType) and value.shape is None):
            raise NotApplicable(f"the type of {value.name} is unknown")
        else:
            inputs.append(ir.to_proto(value))
    outputs = [ir.to_proto(value) for index, value in enumerate(node.outputs) if used(node, index)]
    for value, proto in zip((v for i, v in enumerate(node.outputs) if used(node, i)), outputs, strict=True):
        if value.type is None:
            raise NotApplicable(f"the type of {proto.name} is unknown")
    graph = helper.make_graph([ir.to_proto(node)], "local", inputs, outputs, initializers)
    opsets = [helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    functions = [ir.to_proto(function) for function in model.functions.values()]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=max(model.ir_version or 8, 8))


def applicable(node: ir.Node, model: ir.Model, target: Target) -> str:
    """Id of the first repair that applies to a node, empty if none does. Tried on a copy; nothing is proved."""
    found = candidates(qualified(node), target.backend)
    return next((repair.id for repair in found if applies(repair, node, model, target)), "")


def applies(repair: Repair, node: ir.Node, model: ir.Model, target: Target) -> bool:
    """Does a repair apply to a node of the model? Tried on a copy."""
    try:
        alone = infer(ir.from_proto(cut_out(node, model)))
        apply(repair, next(iter(alone.graph)), target)
    except Exception:  # noqa: BLE001 - NotApplicable, or a bug in one of many repairs
        return False
    return True


def fixed(model: onnx.ModelProto, contents: Mapping[str, Array]) -> onnx.ModelProto:
    """A copy of the model with some of its inputs given as constants."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for index in reversed(range(len(result.graph.input))):
        name = result.graph.input[index].name
        if name in contents:
            result.graph.initializer.append(onnx.numpy_helper.from_array(contents[name], name))
            del result.graph.input[index]
    return result


def apply(repair: Repair, node: ir.Node, target: Target) -> Builder:
    """Put the rewrite in the node's place, and return its builder. Raises NotApplicable and then changes nothing."""
    builder = Builder(node, target)
    replace(node, builder, repair.rewrite(node, builder))
    return builder
