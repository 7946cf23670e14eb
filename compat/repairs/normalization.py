"""Normalizations in forms that backends refuse."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import modern
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, constant, dtype, rank, static_shape, used


@repair(
    "batch-normalization-training",
    ops="BatchNormalization",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
normalize (float[2, 3, 4] x, float[3] scale, float[3] bias, float[3] mean, float[3] var)
  => (float[2, 3, 4] y, float[3] new_mean, float[3] new_var) {
  y, new_mean, new_var = BatchNormalization <training_mode = 1> (x, scale, bias, mean, var)
}
""",
)
def batch_normalization_training(node: ir.Node, build: Builder) -> Replacement:
    """Training mode: the mean and variance are the batch's own, and the running ones are moved towards them."""
    modern(build)
    if not attribute(node, "training_mode", 0):
        raise NotApplicable("it is in inference mode")
    x, scale, bias, mean, var = node.inputs
    dimensions = rank(x)
    if dimensions is None or dimensions < 2 or len({dtype(value) for value in node.inputs}) != 1:
        raise NotApplicable("its rank is unknown, or its dtypes are mixed")
    kind = dtype(x)
    assert kind is not None
    momentum = float(attribute(node, "momentum", 0.9))
    number = kind.numpy().type
    axes = [0, *range(2, dimensions)]
    channels = [-1, *[1] * (dimensions - 2)]
    average = build.op("ReduceMean", x, axes, keepdims=1)
    centred = build.op("Sub", x, average)
    variance = build.op("ReduceMean", build.op("Mul", centred, centred), axes, keepdims=1)
    deviation = build.op("Sqrt", build.op("Add", variance, np.array(attribute(node, "epsilon", 1e-5), number)))
    scaled = build.op("Mul", build.op("Div", centred, deviation), build.op("Reshape", scale, channels))
    outputs: list[ir.Value | None] = [build.op("Add", scaled, build.op("Reshape", bias, channels))]
    for index, (old, new) in zip(range(1, len(node.outputs)), ((mean, average), (var, variance)), strict=False):
        if used(node, index):
            kept = build.op("Mul", old, np.array(momentum, number))
            moved = build.op("Mul", build.op("Reshape", new, [-1]), np.array(1 - momentum, number))
            outputs.append(build.op("Add", kept, moved))
        else:
            outputs.append(None)
    return outputs


@repair(
    "lp-normalization",
    ops="LpNormalization",
    tolerance=1e-6,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
normalize (float[2, 3] x) => (float[2, 3] y) { y = LpNormalization <p = 1, axis = 0> (x) }
""",
)
def lp_normalization(node: ir.Node, build: Builder) -> Replacement:
    """The division by the L1 or L2 norm along an axis is written out; a norm of 0 leaves zeros."""
    x, kind = node.inputs[0], dtype(node.inputs[0])
    modern(build)
    operator = {1: "ReduceL1", 2: "ReduceL2"}.get(attribute(node, "p", 2))
    if operator is None or kind is None:
        raise NotApplicable("another norm, or an unknown dtype")
    norm = build.op(operator, x, [attribute(node, "axis", -1)], keepdims=1)
    zero, one = np.zeros((), kind.numpy()), np.ones((), kind.numpy())
    return build.op("Div", x, build.op("Where", build.op("Equal", norm, zero), one, norm))


@repair(
    "dropout-inference",
    ops="Dropout",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
inference (float[2, 3] x) => (float[2, 3] y, bool[2, 3] kept) { y, kept = Dropout (x) }
""",
)
def dropout_inference(node: ir.Node, build: Builder) -> Replacement:
    """Outside training Dropout changes nothing, and keeps every element."""
    ratio, training = constant(argument(node, 1)), argument(node, 2)
    if training is not None and constant(training) is None:
        raise NotApplicable("whether it trains is known at run time only")
    if training is not None and constant(training) and (argument(node, 1) is None or ratio is None or ratio != 0):
        raise NotApplicable("it drops elements at random")
    x, sizes = node.inputs[0], static_shape(node.inputs[0])
    assert x is not None
    if not used(node, 1):
        return [x, None]
    full = np.ones(sizes, np.bool_) if sizes is not None else None
    return [x, build.constant(full) if full is not None else build.op("Expand", np.array(True), build.op("Shape", x))]
