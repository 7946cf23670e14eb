"""The form of a graph: functions inlined, no initializer as input, constants as tensors, nothing unused, new opset."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.graphs import opset, weight_bytes
from enginesmith.compat.repairs.repair import graph_repair
from enginesmith.compat.saving import MAX_PROTO
from enginesmith.compat.target import Target
from enginesmith.compat.values import attribute
from enginesmith.compat.walk import graphs

ASIDE = "enginesmith.aside"
MODERN = 18
"""The opset from which rewrites speak: axes are inputs everywhere, Resize, Pad and Split have their present form."""


@graph_repair(
    "inline-functions",
    example="""
<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
main (float[2] x) => (float[2] y) { y = local.twice (x) }
<domain: "local", opset_import: ["" : 18]>
twice (a) => (b) { b = Add (a, a) }
""",
)
def inline_functions(model: ir.Model, target: Target) -> int:
    """Functions that the model brings along are put in the place of their calls."""
    count = len(model.functions)
    if count:
        common.InlinePass()(model)
        common.RemoveUnusedOpsetsPass()(model)
    return count


@graph_repair(
    "initializers-as-inputs",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
shifted (float[2] x, float[2] w = {1, 2}) => (float[2] y) { y = Add (x, w) }
""",
)
def initializers_as_inputs(model: ir.Model, target: Target) -> int:
    """An input with a default value becomes a constant: a backend folds constants, and refuses many a variable."""
    inputs = model.graph.inputs
    defaults = [value for value in inputs if value.is_initializer()]
    for value in defaults:
        inputs.remove(value)
    return len(defaults)


@graph_repair(
    "constant-tensors",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
halved (float[2] x) => (float[2] y) { half = Constant <value_float = 0.5> ()  y = Mul (x, half) }
""",
)
def constant_tensors(model: ir.Model, target: Target) -> int:
    """A Constant given by numbers is given by a tensor, the only form that every backend reads."""
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    changes = 0
    for graph in graphs(model):
        for node in graph:
            name = next(iter(node.attributes), "")
            if node.op_type == "Constant" and not node.domain and name in kinds:
                tensor = ir.tensor(np.asarray(attribute(node, name), kinds[name]))
                node.attributes.clear()
                node.attributes["value"] = ir.AttrTensor("value", tensor)
                changes += 1
    return changes


@graph_repair(
    "modern-opset",
    tolerance=1e-5,
    example="""
<ir_version: 7, opset_import: ["" : 11]>
sums (float[2, 3] x) => (float[2] y) { y = ReduceSum <axes = [1], keepdims = 0> (x) }
""",
)
def modern_opset(model: ir.Model, target: Target) -> int:
    """An old opset is raised to 18, since the other repairs speak the operators of that version and later ones."""
    if opset(model) >= MODERN:
        return 0
    if opset(model) == 0:
        # A model of other domains alone, such as a tree ensemble: what replaces its nodes is of the default domain.
        model.opset_imports[""] = MODERN
        model.ir_version = max(model.ir_version or 0, 8)
        return 1
    if weight_bytes(model) > MAX_PROTO:
        raise NotApplicable("onnx's version converter takes no model above 2 GB")
    proto = ir.to_proto(model)
    aside = _put_aside(proto, opset(model))
    try:
        converted = onnx.version_converter.convert_version(proto, MODERN)
    except Exception as error:
        raise NotApplicable(f"onnx's version converter: {' '.join(str(error).split())[:200]}") from error
    for node in converted.graph.node if aside else ():
        if node.domain == ASIDE:
            node.domain = ""
    newer = ir.from_proto(converted)
    model.graph = newer.graph
    model.ir_version = max(model.ir_version or 0, 8)
    return 1


def _put_aside(model: onnx.ModelProto, version: int) -> bool:
    """Operators of later opsets, and those that ONNX Runtime alone has in the default domain, are none to the converter: its
    optimizer writes LayerNormalization, which is as of 17 what it is there, in any opset."""
    found = [node for node in model.graph.node if not node.domain and not onnx.defs.has(node.op_type, version, "")]
    for node in found:
        node.domain = ASIDE
    if found:
        model.opset_import.add(domain=ASIDE, version=1)
    return bool(found)


@graph_repair(
    "unused",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
half_used (float[2] x) => (float[2] y) { lost = NonZero (x)  y = Neg (x) }
""",
)
def unused(model: ir.Model, target: Target) -> int:
    """Nodes whose results nothing reads are left out, and so are Identity nodes that only rename."""
    before = model.graph.num_nodes()
    common.IdentityEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    return before - model.graph.num_nodes()
