"""Normalizations, and layers that are different while training, for TensorRT and TensorRT-RTX."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.origin import origin
from enginesmith.compat.checks.rule import rule
from enginesmith.compat.checks.sources import CHECKERS
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import argument, attribute, constant, opset_of, rank, shape, used


@rule(
    "layer-normalization-outputs",
    ops="LayerNormalization",
    backends=TENSORRT,
    remedy="compute mean and deviation with ReduceMean and Sqrt, or leave them out",
    source=f"{CHECKERS}, LayerNormalization",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
norm (float[2, 4] x, float[4] s) => (float[2, 4] y, float[2, 1] mean) { y, mean = LayerNormalization (x, s) }
""",
)
def layer_normalization_outputs(node: ir.Node, target: Target) -> str | None:
    """A LayerNormalization has one output in TensorRT; that another one is named is enough to be refused."""
    named = [value for value in node.outputs if value.name]
    return f"it has {len(named)} outputs" if len(named) > 1 else None


@rule(
    "batch-normalization-training",
    ops="BatchNormalization",
    backends=TENSORRT,
    remedy="export the model in evaluation mode",
    source=f"{CHECKERS}, BatchNormalization",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
norm (float[2, 3, 4] x, float[3] s) => (float[2, 3, 4] y, float[3] m, float[3] v) {
  y, m, v = BatchNormalization <training_mode = 1> (x, s, s, s, s)
}
""",
)
def batch_normalization_training(node: ir.Node, target: Target) -> str | None:
    """TensorRT normalizes by the statistics that are given, and computes none."""
    if attribute(node, "training_mode", 0):
        return "training_mode is 1"
    return "its statistics are used" if any(used(node, index) for index in range(1, len(node.outputs))) else None


@rule(
    "dropout-training",
    ops="Dropout",
    backends=TENSORRT,
    remedy="export the model in evaluation mode",
    source="onnx-tensorrt onnxOpImporters.cpp, Dropout",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
drop (float[4] x) => (float[4] y) <float r = {0.5}, bool t = {1}> { y = Dropout (x, r, t) }
""",
)
def dropout_training(node: ir.Node, target: Target) -> str | None:
    """TensorRT drops nothing: training_mode must be a constant false."""
    training = argument(node, 2)
    if training is None:
        return None
    known = constant(training)
    if known is None:
        return "its training_mode is no constant"
    return "training_mode is true" if known.any() else None


@rule(
    "group-normalization-per-channel",
    ops="GroupNormalization",
    backends=("tensorrt",),
    versions="<11",
    remedy="write it as InstanceNormalization of the groups, with Mul and Add, or let `doctor --fix` do so",
    source="NVIDIA/TensorRT#4336, #4313: seen with 10.7; 11.0 takes it",
    example="""
<ir_version: 10, opset_import: ["" : 21]>
channels (float[2, 4, 8] x, float[4] s) => (float[2, 4, 8] y) { y = GroupNormalization <num_groups = 2> (x, s, s) }
""",
)
def group_normalization_per_channel(node: ir.Node, target: Target) -> str | None:
    """Before TensorRT 11 scale and bias are read as one number for each group, as opset 18 had them; since opset 21 they are one
    for each channel."""
    groups, scales = attribute(node, "num_groups"), shape(argument(node, 1))
    if opset_of(node.graph) < 21 or not scales or scales[0] is None or scales[0] == groups:
        return None
    return f"it has {scales[0]} scales, one for each channel, and not one for each of {groups} groups"


@rule(
    "normalization-rank",
    ops=("InstanceNormalization", "GroupNormalization"),
    backends=TENSORRT,
    remedy="add a dimension with Unsqueeze",
    source="onnx-tensorrt importerUtils.cpp, normalizationHelper",
    example="""
<ir_version: 10, opset_import: ["" : 21]>
flat (float[2, 4] x, float[4] s) => (float[2, 4] y) { y = GroupNormalization <num_groups = 2> (x, s, s) }
""",
)
def normalization_rank(node: ir.Node, target: Target) -> str | None:
    """There must be a dimension besides batch and channels."""
    ranks = rank(argument(node, 0))
    return f"its input has {ranks} dimensions" if ranks is not None and ranks < 3 else None


@rule(
    "instance-normalization-parameters",
    ops="InstanceNormalization",
    backends=("tensorrt",),
    versions="<8.6",
    remedy="give scale and bias as constants, and an input of 3 to 5 dimensions",
    source="onnx-tensorrt docs/operators.md, branches 7.2.1 to 8.5-GA",
    example="""
<ir_version: 10, opset_import: ["" : 13]>
norm (float[2, 4, 8] x, float[4] s) => (float[2, 4, 8] y) { y = InstanceNormalization (x, s, s) }
""",
)
def instance_normalization_parameters(node: ir.Node, target: Target) -> str | None:
    """Before 8.6 it is a plugin that keeps scale and bias, for 3 to 5 dimensions."""
    ranks = rank(argument(node, 0))
    if ranks is not None and ranks > 5:
        return f"its input has {ranks} dimensions"
    run_time = [name for index, name in ((1, "scale"), (2, "bias")) if origin(argument(node, index)) != "constant"]
    return f"its {run_time[0]} is no constant" if run_time else None
