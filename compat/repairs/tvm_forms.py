"""Forms of an operator that TVM stumbles over, and other runtimes don't."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.target import TVM
from enginesmith.compat.values import argument, attribute, constant, dtype, static_shape


@repair(
    "split-empty-parts",
    ops="Split",
    backends=TVM,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
parts (float[4, 2] x) => (float[0, 2] none, float[4, 2] y) <int64[2] sizes = {0, 4}> {
  none, a = Split <axis = 0> (x, sizes)
  y = Neg (a)
}
""",
)
def split_empty_parts(node: ir.Node, build: Builder) -> Replacement:
    """The parts of a Split that are empty become constants: TVM refuses to cut nothing off."""
    sizes, kind = constant(argument(node, 1)), dtype(node.inputs[0])
    if sizes is None or sizes.all():
        raise NotApplicable("none of its parts is known to be empty")
    whole, axis = static_shape(node.inputs[0]), attribute(node, "axis", 0)
    if whole is None or kind is None:
        raise NotApplicable("the input's shape is unknown")
    whole[axis] = 0
    full = sizes[sizes > 0]
    parts = iter(build.ops("Split", node.inputs[0], full, outputs=len(full), axis=axis) if len(full) else ())
    return [next(parts) if size else build.constant(np.zeros(whole, kind.numpy())) for size in sizes]


@repair(
    "onehot-of-integers",
    ops="OneHot",
    backends=TVM,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
hot (int64[3] i) => (float[3, 4] y) <int64 depth = {4}, float[2] values = {0, 1}> { y = OneHot (i, depth, values) }
""",
)
def onehot_of_integers(node: ir.Node, build: Builder) -> Replacement:
    """A OneHot of the integers 0 and 1, whose type TVM keeps, says where which of its values stands."""
    values = constant(argument(node, 2))
    if values is None:
        raise NotApplicable("its values aren't constant")
    if values.dtype in (np.float64, np.int64):
        raise NotApplicable("TVM keeps the type of its values")
    hot = build.op("OneHot", node.inputs[0], node.inputs[1], np.array([0, 1]), axis=attribute(node, "axis", -1))
    return build.op("Where", build.op("Cast", hot, to=ir.DataType.BOOL), values[1], values[0])
