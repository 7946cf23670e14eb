"""What TVM's ONNX frontend computes wrongly about space: resizing, pooling, regions.

Source of every rule: tvm/relax/frontend/onnx/onnx_frontend.py of 0.27, and a comparison with ONNX Runtime over some
hundred generated nodes of each operator.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.checks.rule import rule
from enginesmith.compat.target import TVM, Target
from enginesmith.compat.values import argument, attribute, constant, shape

SOURCE = "tvm/relax/frontend/onnx/onnx_frontend.py"
BROKEN = "<0.28"
"""Versions known to do so: a later one must be compared anew."""


@rule(
    "tvm-wrong-resize-scales",
    silent=True,
    ops="Resize",
    backends=TVM,
    versions=BROKEN,
    remedy="write it as matrix products, or ask for sizes",
    source=SOURCE,
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
    source=SOURCE,
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
    source=SOURCE,
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
