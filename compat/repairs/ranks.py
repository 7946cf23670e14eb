"""Dimensions of size 1 for layers that take no vectors or scalars."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.checks.types import LEAST_DIMENSIONS
from enginesmith.compat.operators import REDUCTIONS
from enginesmith.compat.repairs.arithmetic import modern
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.target import TENSORRT
from enginesmith.compat.values import argument, attribute, rank

AT_THE_FRONT = ("ArgMax", "ArgMin", "Hardmax", "LogSoftmax", "Softmax")
"""What works along one axis; the others work along all that follow the channels."""


@repair(
    "unsqueezed",
    ops=tuple(LEAST_DIMENSIONS),
    backends=TENSORRT,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
first (float[8] x) => (int64[1] y) { y = ArgMax (x) }
""",
)
def unsqueezed(node: ir.Node, build: Builder) -> Replacement:
    """What has too few dimensions gets some of size 1, and loses them again."""
    modern(build)
    found, least = rank(node.inputs[0]), LEAST_DIMENSIONS[node.op_type]
    if found is None or found >= least:
        raise NotApplicable("it has as many dimensions as are needed")
    if node.op_type in REDUCTIONS:
        if argument(node, 1) is not None or attribute(node, "noop_with_empty_axes", 0):
            raise NotApplicable("it reduces no axis")
        line = build.op("Unsqueeze", node.inputs[0], np.array([0]))
        return build.op(node.op_type, line, np.array([0]), keepdims=0)
    front = node.op_type in AT_THE_FRONT
    added = np.arange(least - found) if front else np.arange(found, least)
    given: dict[str, Any] = dict(node.attributes)
    if front:  # counted from the end it is the same axis
        axis = attribute(node, "axis", 0 if node.op_type.startswith("Arg") else -1)
        given["axis"] = ir.AttrInt64("axis", axis - found if axis >= 0 else axis)
    wide = build.op(node.op_type, build.op("Unsqueeze", node.inputs[0], added), **given)
    return build.op("Squeeze", wide, added)
