"""Pooling, convolution and sampling for TensorRT and TensorRT-RTX."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.rule import rule
from enginesmith.compat.checks.sources import CHECKERS
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import argument, attribute, constant_tensor, dtype, rank

POOLING = ("AveragePool", "MaxPool", "LpPool")


@rule(
    "pool-dilations",
    ops=POOLING,
    backends=TENSORRT,
    remedy="let `doctor --fix` write it with slices",
    source=f"{CHECKERS}, AveragePool, MaxPool and LpPool",
    example="""
<ir_version: 10, opset_import: ["" : 19]>
wide (float[1, 1, 8, 8] x) => (float[1, 1, 4, 4] y) { y = MaxPool <kernel_shape = [3, 3], dilations = [2, 2]> (x) }
""",
)
def pool_dilations(node: ir.Node, target: Target) -> str | None:
    """The windows of TensorRT's pooling have no gaps."""
    dilations = attribute(node, "dilations") or []
    return f"dilations are {dilations}" if any(size != 1 for size in dilations) else None


@rule(
    "maxpool-indices",
    ops="MaxPool",
    backends=TENSORRT,
    remedy="let `doctor --fix` find them with ArgMax",
    source=f"{CHECKERS}, MaxPool",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
places (float[1, 1, 4, 4] x) => (float[1, 1, 2, 2] y, int64[1, 1, 2, 2] i) {
  y, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
}
""",
)
def maxpool_indices(node: ir.Node, target: Target) -> str | None:
    """TensorRT's MaxPool does not say where the largest elements are."""
    return "it has the output Indices" if len(node.outputs) > 1 and node.outputs[1].name else None


@rule(
    "lp-order",
    ops=("LpPool", "LpNormalization"),
    backends=TENSORRT,
    remedy="write it with Abs, Pow and AveragePool or ReduceSum, or let `doctor --fix` do so",
    source=f"{CHECKERS}, LpPool and LpNormalization",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
third (float[1, 1, 4, 4] x) => (float[1, 1, 3, 3] y) { y = LpPool <kernel_shape = [2, 2], p = 3> (x) }
""",
)
def lp_order(node: ir.Node, target: Target) -> str | None:
    """The norms of order 1 and 2 are known."""
    order = attribute(node, "p", 2)
    return None if order in (1, 2) else f"p is {order}"


@rule(
    "window-rank",
    ops=(*POOLING, "Conv", "ConvTranspose", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"),
    backends=TENSORRT,
    remedy="fold dimensions into the batch or the channels",
    source="onnx-tensorrt importerUtils.cpp, convDeconvMultiInput and poolingHelper",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
four (float[1, 1, 4, 4, 4, 4] x, float[1, 1, 2, 2, 2, 2] w) => (float[1, 1, 3, 3, 3, 3] y) { y = Conv (x, w) }
""",
)
def window_rank(node: ir.Node, target: Target) -> str | None:
    """Convolutions and pooling work on one, two or three dimensions besides batch and channels."""
    ranks = rank(argument(node, 0))
    if node.op_type.startswith("Global") or ranks is None or ranks <= 5:
        return None
    return f"its input has {ranks - 2} spatial dimensions"


@rule(
    "lp-pool-line",
    ops="LpPool",
    backends=TENSORRT,
    remedy="unsqueeze the input to two spatial dimensions, and squeeze the result",
    source="messages of tensorrt-rtx 1.7: addPoolingNd takes windows of 2 or 3 dimensions",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
line (float[1, 1, 5] x) => (float[1, 1, 4] y) { y = LpPool <kernel_shape = [2]> (x) }
""",
)
def lp_pool_line(node: ir.Node, target: Target) -> str | None:
    """Of the poolings over one dimension, the parser widens AveragePool and MaxPool only."""
    return "its input has 1 spatial dimension" if rank(argument(node, 0)) == 3 else None


@rule(
    "negative-pads",
    ops=("Conv", "ConvTranspose", *POOLING),
    backends=TENSORRT,
    remedy="slice the input instead",
    source="messages of tensorrt-rtx 1.7: setPrePadding and setPostPadding take sizes from 0",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
cut (float[1, 1, 8, 8] x, float[1, 1, 3, 3] w) => (float[1, 1, 4, 6] y) { y = Conv <pads = [-1, 0, -1, 0]> (x, w) }
""",
)
def negative_pads(node: ir.Node, target: Target) -> str | None:
    """Pads may widen the input, and not cut it."""
    pads = attribute(node, "pads") or []
    return f"pads are {pads}" if any(size < 0 for size in pads) else None


@rule(
    "two-dimensions-at-least",
    ops=("Conv", "ConvTranspose", *POOLING),
    backends=("tensorrt",),
    versions="<8.5",
    severity="warning",
    remedy="unsqueeze the input to two spatial dimensions, and squeeze the result",
    source="onnx-tensorrt docs/operators.md, branches 7.2.1 to 8.4-GA",
    example="""
<ir_version: 10, opset_import: ["" : 13]>
line (float[1, 2, 8] x, float[2, 2, 3] w) => (float[1, 2, 6] y) { y = Conv (x, w) }
""",
)
def two_dimensions_at_least(node: ir.Node, target: Target) -> str | None:
    """The documentation promises two and three spatial dimensions; one is widened by the parser."""
    return "its input has 1 spatial dimension" if rank(argument(node, 0)) == 3 else None


@rule(
    "run-time-weights",
    ops=("Conv", "ConvTranspose"),
    backends=("tensorrt",),
    versions="<8.5",
    remedy="make the weights constants, or use TensorRT 8.5 or later",
    source="onnx-tensorrt docs/operators.md, branches 7.2.1 to 8.4-GA",
    example="""
<ir_version: 10, opset_import: ["" : 13]>
filtered (float[1, 2, 8, 8] x, float[2, 2, 3, 3] w) => (float[1, 2, 6, 6] y) { y = Conv (x, w) }
""",
)
def run_time_weights(node: ir.Node, target: Target) -> str | None:
    """Before 8.5 the weights of a convolution are constants, or come out of a DequantizeLinear."""
    weights = argument(node, 1)
    producer = weights.producer() if weights is not None else None
    quantized = producer is not None and producer.op_type == "DequantizeLinear"
    return (
        None if weights is None or quantized or constant_tensor(weights) is not None else "its weights are no constant"
    )


@rule(
    "grid-sample-rank",
    ops="GridSample",
    backends=TENSORRT,
    remedy="let `doctor --fix` write it with gathers",
    source="onnx-tensorrt docs/operators.md of 10.1; release notes of TensorRT 11.2.1",
    example="""
<ir_version: 10, opset_import: ["" : 20]>
hyper (float[1, 1, 4, 4, 4, 4] x, float[1, 2, 2, 2, 2, 4] g) => (float[1, 1, 2, 2, 2, 2] y) { y = GridSample (x, g) }
""",
)
def grid_sample_rank(node: ir.Node, target: Target) -> str | None:
    """Pictures are sampled, and volumes by TensorRT 11.2 and TensorRT-RTX 1.7 and later."""
    ranks = rank(argument(node, 0))
    highest = 5 if target.within(">=11.2" if target.backend == "tensorrt" else ">=1.7") else 4
    return f"its input has {ranks} dimensions" if ranks is not None and not 4 <= ranks <= highest else None


@rule(
    "grid-sample-types",
    ops="GridSample",
    backends=TENSORRT,
    remedy="cast the grid to the input's type",
    source="messages of tensorrt-rtx 1.7: IGridSampleLayer's input and grid must be of the same type",
    example="""
<ir_version: 10, opset_import: ["" : 20]>
half (float16[1, 1, 4, 4] x, float[1, 2, 2, 2] g) => (float16[1, 1, 2, 2] y) { y = GridSample (x, g) }
""",
)
def grid_sample_types(node: ir.Node, target: Target) -> str | None:
    """Input and grid have one type, where ONNX allows two."""
    data, grid = dtype(argument(node, 0)), dtype(argument(node, 1))
    if data is None or grid is None or data == grid or ir.DataType.DOUBLE in (data, grid):
        return None
    return f"its input is {data.name.lower()}, its grid {grid.name.lower()}"


@rule(
    "deform-conv-form",
    ops="DeformConv",
    backends=("tensorrt",),
    remedy="let `doctor --fix` write it with gathers",
    source="onnx-tensorrt docs/operators.md of 11.1",
    example="""
<ir_version: 10, opset_import: ["" : 19]>
deformed (float[1, 1, 4, 4] x, float[1, 1, 2, 2] w, float[1, 8, 4, 4] o) => (float[1, 1, 4, 4] y) {
  y = DeformConv <kernel_shape = [2, 2], pads = [0, 0, 1, 1]> (x, w, o)
}
""",
)
def deform_conv_form(node: ir.Node, target: Target) -> str | None:
    """DeformConv is a plugin for one or two spatial dimensions, with the same padding at both ends."""
    ranks, pads = rank(argument(node, 0)), attribute(node, "pads") or []
    if ranks is not None and ranks > 4:
        return f"its input has {ranks - 2} spatial dimensions"
    half = len(pads) // 2
    return f"pads are {pads}" if pads[:half] != pads[half:] else None
