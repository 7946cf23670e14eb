"""Operators of ONNX Runtime's own domain that ONNX has taken over since, or has by another name."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.fused_activations import MICROSOFT
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, constant, required


@repair(
    "expand-dims",
    ops=MICROSOFT + "ExpandDims",
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
expand (float[2, 3] x) => (float[2, 1, 3] y) <int32 axis = {1}> { y = com.microsoft.ExpandDims (x, axis) }
""",
)
def expand_dims(node: ir.Node, build: Builder) -> Replacement:
    """It is Unsqueeze along one axis."""
    axis = constant(argument(node, 1))
    if axis is None:
        raise NotApplicable("its axis is no constant")
    return build.op("Unsqueeze", node.inputs[0], [int(axis.reshape(-1)[0])])


@repair(
    "trilu",
    ops=MICROSOFT + "Trilu",
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
triangle (float[3, 3] x) => (float[3, 3] y) { y = com.microsoft.Trilu <upper = 0> (x) }
""",
)
def trilu(node: ir.Node, build: Builder) -> Replacement:
    """It is ONNX's Trilu."""
    return build.op("Trilu", *node.inputs, upper=int(attribute(node, "upper", 1)))


@repair(
    "pad",
    ops=MICROSOFT + "Pad",
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
pad (float[2, 3] x) => (float[3, 5] y) <int64[4] pads = {0, 1, 1, 1}, float value = {0.5}> { y = com.microsoft.Pad (x, pads, value) }
""",
)
def pad(node: ir.Node, build: Builder) -> Replacement:
    """It is ONNX's Pad, whose amounts have one axis."""
    x, pads = required(node, 2)
    return build.op(
        "Pad", x, build.op("Reshape", pads, [-1]), argument(node, 2), mode=attribute(node, "mode", "constant")
    )
