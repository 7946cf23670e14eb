"""What TVM's ONNX frontend computes wrongly about space: resizing, pooling, regions.

Source of every rule: tvm/relax/frontend/onnx/onnx_frontend.py of 0.27, and a comparison with ONNX Runtime over some
hundred generated nodes of each operator.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.checks.rule import rule
from enginesmith.compat.checks.sources import BROKEN, FRONTEND
from enginesmith.compat.target import TVM, Target
from enginesmith.compat.values import argument, attribute, constant, shape


@rule(
    "tvm-wrong-resize-scales",
    silent=True,
    ops="Resize",
    backends=TVM,
    versions=BROKEN,
    remedy="write it as matrix products, or ask for sizes",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
resize (float[1, 2, 5, 5] x) => (float[1, 2, 6, 6] y) <float[4] scales = {1, 1, 1.3, 1.3}> {
  y = Resize <mode = "linear"> (x, "", scales)
}
""",
)
def resize_scales(node: ir.Node, target: Target) -> str | None:
    """TVM takes the ratio of the sizes for the scale, which is another where a scale gives no whole number."""
    scales, sizes = constant(argument(node, 2)), shape(node.inputs[0])
    if scales is None or not scales.size or sizes is None:
        return None
    if attribute(node, "coordinate_transformation_mode", "half_pixel") == "align_corners":
        return None
    axes = attribute(node, "axes") or range(len(sizes))
    for axis, scale in zip(axes, scales, strict=False):
        size = sizes[axis]
        if size is not None and np.float32(size) * scale != np.floor(np.float32(size) * scale):
            return f"a scale of {scale:g} makes {size * scale:g} elements of {size}: TVM computes with another scale"
    return None


@rule(
    "tvm-wrong-roi-align",
    silent=True,
    ops="RoiAlign",
    backends=TVM,
    versions=BROKEN,
    remedy="write it as gathers and products",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pool (float[1, 2, 9, 9] x, float[3, 4] rois, int64[3] image) => (float[3, 2, 2, 2] y) {
  y = RoiAlign <mode = "max", output_height = 2, output_width = 2, sampling_ratio = 2> (x, rois, image)
}
""",
)
def roi_align(node: ir.Node, target: Target) -> str | None:
    """TVM takes the maximum of the samples, ONNX that of the weighted cells; and it widens small regions to one cell."""
    if attribute(node, "mode", "avg") == "max":
        return "TVM computes mode max in another way"
    if attribute(node, "coordinate_transformation_mode", "half_pixel") == "half_pixel":
        return "TVM widens regions that are smaller than one cell, which half_pixel does not"
    return None


@rule(
    "tvm-wrong-max-pool-padding",
    silent=True,
    ops="MaxPool",
    backends=TVM,
    versions=BROKEN,
    remedy="write auto_pad as pads",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pool (float[1, 2, 5, 5] x) => (float[1, 2, 3, 3] y) {
  y = MaxPool <auto_pad = "SAME_LOWER", kernel_shape = [2, 2], strides = [2, 2]> (x)
}
""",
)
def max_pool_padding(node: ir.Node, target: Target) -> str | None:
    """TVM leaves out a window at the end where auto_pad is SAME_LOWER."""
    return "TVM pads too little for SAME_LOWER" if attribute(node, "auto_pad", "NOTSET") == "SAME_LOWER" else None


@rule(
    "tvm-wrong-grid-sample",
    silent=True,
    ops="GridSample",
    backends=TVM,
    versions=BROKEN,
    remedy="sample with padding_mode border or zeros, or with align_corners",
    source="tvm/topi/image/grid_sample.py",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sample (float[1, 1, 4, 4] x, float[1, 2, 2, 2] grid) => (float[1, 1, 2, 2] y) {
  y = GridSample <mode = "nearest", padding_mode = "reflection"> (x, grid)
}
""",
)
def grid_sample(node: ir.Node, target: Target) -> str | None:
    """Halfway between two pixels ONNX takes the nearest one first, and then reflects it; TVM, as PyTorch, the other way round."""
    reflected = attribute(node, "padding_mode", "zeros") == "reflection" and not attribute(node, "align_corners", 0)
    nearest = attribute(node, "mode", "linear") == "nearest"
    return "TVM reflects before it takes the nearest pixel" if reflected and nearest else None


@rule(
    "tvm-wrong-resize-antialias",
    silent=True,
    ops="Resize",
    backends=TVM,
    versions=BROKEN,
    remedy="write it as matrix products",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
smaller (float[1, 1, 8, 8] x) => (float[1, 1, 4, 4] y) <int64[4] n = {1, 1, 4, 4}> {
  y = Resize <mode = "linear", antialias = 1> (x, "", "", n)
}
""",
)
def resize_antialias(node: ir.Node, target: Target) -> str | None:
    """TVM reads no antialias: it samples where ONNX filters."""
    return "TVM ignores antialias" if attribute(node, "antialias", 0) else None


@rule(
    "tvm-wrong-resize-outer",
    silent=True,
    ops="Resize",
    backends=TVM,
    versions=BROKEN,
    remedy="write it as matrix products",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
outer (float[1, 2, 4, 4] x) => (float[1, 4, 4, 4] y) <float[4] s = {1, 2, 1, 1}> {
  y = Resize <mode = "linear"> (x, "", s)
}
""",
)
def resize_outer(node: ir.Node, target: Target) -> str | None:
    """TVM resizes the axes behind the first two alone, and leaves batch and channels as they are."""
    before, after = shape(node.inputs[0]), shape(node.outputs[0])
    if before is None or after is None or len(before) != len(after):
        return None
    sizes = enumerate(zip(before[:2], after[:2], strict=True))
    changed = [axis for axis, both in sizes if None not in both and both[0] != both[1]]
    return f"axis {changed[0]} is resized, which TVM leaves out" if changed else None


@rule(
    "tvm-wrong-empty-reduction",
    silent=True,
    ops=("ReduceProd", "ReduceMax", "ReduceMin", "ReduceLogSum", "ReduceLogSumExp"),
    backends=TVM,
    versions=BROKEN,
    remedy="give it an element to reduce, or write the constant that it is",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
nothing (float[2, 0, 4] x) => (float[2, 1, 4] y) <int64[1] axes = {1}> { y = ReduceProd (x, axes) }
""",
)
def empty_reduction(node: ir.Node, target: Target) -> str | None:
    """Over no elements TVM leaves what was in memory, where ONNX has the operator's neutral element."""
    sizes = shape(node.inputs[0])
    return "it reduces no elements" if sizes is not None and 0 in sizes else None


@rule(
    "tvm-wrong-dilated-mean",
    silent=True,
    ops="AveragePool",
    backends=TVM,
    versions=BROKEN,
    remedy="write it for two axes, adding one of size 1 or folding one into the batch, or as a grouped convolution",
    source="tvm/topi/nn/pooling.h",
    example="""
<ir_version: 10, opset_import: ["" : 20]>
pool (float[1, 3, 5] x) => (float[1, 3, 2] y) {
  y = AveragePool <dilations = [2], kernel_shape = [2], strides = [2]> (x)
}
""",
)
def dilated_mean(node: ir.Node, target: Target) -> str | None:
    """TVM counts numbers between a dilated window's taps. Over two axes we compute the mean ourselves."""
    sizes, dilations = shape(node.inputs[0]), attribute(node, "dilations")
    if not dilations or max(dilations) == 1 or attribute(node, "count_include_pad", 0):
        return None
    return None if sizes is not None and len(sizes) == 4 else "TVM divides a dilated window by too many numbers"


@rule(
    "tvm-wrong-slice-start",
    silent=True,
    ops="Slice",
    backends=TVM,
    versions=BROKEN,
    remedy="let the slice start at 0 there",
    source="tvm/topi/transform.h",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
backwards (float[3, 2] x) => (float[1, 2] y)
  <int64[1] start = {-4}, int64[1] end = {-9}, int64[1] axis = {0}, int64[1] step = {-1}> {
  y = Slice (x, start, end, axis, step)
}
""",
)
def slice_start(node: ir.Node, target: Target) -> str | None:
    """Backwards from before the first element ONNX takes the first one, and TVM none."""
    sizes, starts, steps = shape(node.inputs[0]), constant(argument(node, 1)), constant(argument(node, 4))
    if sizes is None or starts is None or steps is None:
        return None
    axes = constant(argument(node, 3))
    for axis, start, step in zip(range(len(starts)) if axes is None else axes, starts, steps, strict=True):
        size = sizes[int(axis)]
        if step < 0 and size is not None and start < -size:
            return f"axis {axis} is gone through backwards from {start}, before its first element: TVM takes none"
    return None
