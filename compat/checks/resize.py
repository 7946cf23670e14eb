"""Resize and Upsample for TensorRT and TensorRT-RTX."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.origin import origin
from enginesmith.compat.checks.rule import rule
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import argument, attribute, constant, opset_of, rank, shape

CHECKER = "onnx-tensorrt onnxOpCheckers.cpp, DEFINE_OP_CHECKER(Resize)"
IMPORTER = "onnx-tensorrt onnxOpImporters.cpp, DEFINE_BUILTIN_OP_IMPORTER(Resize)"
COORDINATES = ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners")
INNERMOST = {"linear": 3, "cubic": 2}
"""How many of the innermost dimensions an interpolating mode may scale."""


@rule(
    "resize-coordinates",
    ops="Resize",
    backends=TENSORRT,
    remedy="export it with half_pixel, or let `doctor --fix` write the interpolation as matrix products",
    source=CHECKER,
    example="""
<ir_version: 10, opset_import: ["" : 19]>
symmetric (float[1, 1, 4, 4] x) => (float[1, 1, 6, 6] y) <int64[4] n = {1, 1, 6, 6}> {
  y = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel_symmetric"> (x, , , n)
}
""",
)
def coordinates(node: ir.Node, target: Target) -> str | None:
    """TensorRT maps five of ONNX's coordinate transformations: half_pixel, pytorch_half_pixel, tf_half_pixel_for_nn,
    asymmetric and align_corners. tf_crop_and_resize and half_pixel_symmetric are refused."""
    mode = attribute(node, "coordinate_transformation_mode", "half_pixel")
    return None if opset_of(node.graph) < 11 or mode in COORDINATES else f"coordinate_transformation_mode is {mode}"


@rule(
    "resize-antialias",
    ops="Resize",
    backends=TENSORRT,
    remedy="export with antialias=False, or let `doctor --fix` write the filter as two matrix products",
    source=CHECKER,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
smaller (float[1, 1, 8, 8] x) => (float[1, 1, 4, 4] y) <int64[4] n = {1, 1, 4, 4}> {
  y = Resize <mode = "linear", antialias = 1> (x, , , n)
}
""",
)
def antialias(node: ir.Node, target: Target) -> str | None:
    """TensorRT has no filter that widens with the scale, which antialias asks for."""
    return "antialias is 1" if attribute(node, "antialias", 0) else None


@rule(
    "resize-aspect-ratio",
    ops="Resize",
    backends=TENSORRT,
    remedy="give the sizes that the policy leads to",
    source=CHECKER,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
kept (float[1, 1, 4, 4] x) => (float[1, 1, 6, 6] y) <int64[2] n = {6, 8}> {
  y = Resize <mode = "nearest", axes = [2, 3], keep_aspect_ratio_policy = "not_larger"> (x, , , n)
}
""",
)
def aspect_ratio(node: ir.Node, target: Target) -> str | None:
    """TensorRT stretches to the sizes given; it knows no keep_aspect_ratio_policy."""
    policy = attribute(node, "keep_aspect_ratio_policy", "stretch")
    return None if policy == "stretch" else f"keep_aspect_ratio_policy is {policy}"


@rule(
    "resize-nearest-mode",
    ops="Resize",
    backends=TENSORRT,
    remedy="use asymmetric coordinates, or nearest_mode round_prefer_floor",
    source=CHECKER,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
nearest (float[1, 1, 4, 4] x) => (float[1, 1, 8, 8] y) <int64[4] n = {1, 1, 8, 8}> {
  y = Resize <mode = "nearest", nearest_mode = "floor", coordinate_transformation_mode = "tf_half_pixel_for_nn"> (x, , , n)
}
""",
)
def nearest_mode(node: ir.Node, target: Target) -> str | None:
    """With tf_half_pixel_for_nn, TensorRT takes the nearest_mode round_prefer_floor alone."""
    mode = attribute(node, "nearest_mode", "round_prefer_floor")
    coordinate = attribute(node, "coordinate_transformation_mode", "half_pixel")
    if coordinate != "tf_half_pixel_for_nn" or mode == "round_prefer_floor":
        return None
    return f"nearest_mode is {mode} with tf_half_pixel_for_nn"


@rule(
    "resize-outer-dimensions",
    ops=("Resize", "Upsample"),
    backends=TENSORRT,
    remedy="transpose what is scaled to the end, or let `doctor --fix` do so",
    source=IMPORTER,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
outer (float[1, 2, 4, 4] x) => (float[1, 4, 4, 4] y) <float[4] s = {1, 2, 1, 1}> {
  y = Resize <mode = "cubic"> (x, , s)
}
""",
)
def outer_dimensions(node: ir.Node, target: Target) -> str | None:
    """Linear interpolation reaches the three innermost dimensions, cubic the two innermost; others must have scale 1."""
    mode = attribute(node, "mode", "nearest")
    ranks = rank(argument(node, 0))
    reach = INNERMOST.get("linear" if mode == "bilinear" else mode)
    if reach is None or ranks is None:
        return None
    scales = constant(argument(node, 2 if node.op_type == "Resize" and opset_of(node.graph) >= 11 else 1))
    if scales is not None and scales.size:
        axes = [int(axis) % ranks for axis in attribute(node, "axes") or range(ranks)]
        scaled = [axis for axis, scale in zip(axes, scales.ravel(), strict=False) if scale != 1]
    elif mode != "cubic":  # given sizes, the builder takes cubic on outer dimensions too, and linear it does not
        before, after = shape(argument(node, 0)) or [], shape(node.outputs[0]) or []
        pairs = enumerate(zip(before, after, strict=False))
        scaled = [axis for axis, (a, b) in pairs if None not in (a, b) and a != b]
    else:
        return None
    outer = [axis for axis in scaled if axis < ranks - reach]
    return f"it scales dimension {outer[0]} of {ranks} with mode {mode}" if outer else None


@rule(
    "resize-run-time-scales",
    ops=("Resize", "Upsample"),
    backends=TENSORRT,
    remedy="give the scales as a constant, or sizes instead",
    source="TensorRT: only integer inputs may decide on shapes",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
scaled (float[1, 1, 4, 4] x, float[4] s) => (float[1, 1, a, b] y) { y = Resize <mode = "nearest"> (x, , s) }
""",
)
def run_time_scales(node: ir.Node, target: Target) -> str | None:
    """The scales decide on the output's shape, and an input of a network that decides on shapes must be an integer."""
    old = node.op_type == "Upsample" or opset_of(node.graph) < 11
    scales = argument(node, 1 if old else 2)
    sizes = None if old else argument(node, 3)
    if scales is None or sizes is not None:
        return None
    return "its scales are known at run time only" if origin(scales) == "data" else None


@rule(
    "resize-scales-with-axes",
    ops="Resize",
    backends=TENSORRT,
    remedy="give a scale for every dimension, and no axes",
    source=IMPORTER,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
axes (float[1, 1, 4, 4] x, float[2] s) => (float[1, 1, a, b] y) {
  y = Resize <mode = "nearest", axes = [2, 3]> (x, , s)
}
""",
)
def scales_with_axes(node: ir.Node, target: Target) -> str | None:
    """Scales that are no constant can't be spread over the dimensions that axes name."""
    axes, ranks, scales = attribute(node, "axes"), rank(argument(node, 0)), argument(node, 2)
    if not axes or ranks is None or scales is None or origin(scales) == "constant":
        return None
    return None if list(axes) == list(range(ranks)) else f"axes is {list(axes)} with scales that are no constant"


@rule(
    "resize-asymmetric-only",
    ops="Resize",
    backends=("tensorrt",),
    versions="<8",
    remedy="use TensorRT 8.0 or later, or asymmetric coordinates with nearest_mode floor",
    source="onnx-tensorrt docs/operators.md, branch 7.2.1",
    example="""
<ir_version: 6, opset_import: ["" : 11]>
linear (float[1, 1, 4, 4] x) => (float[1, 1, 8, 8] y) <float[0] r = {}, float[4] s = {1, 1, 2, 2}> {
  y = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (x, r, s)
}
""",
)
def asymmetric_only(node: ir.Node, target: Target) -> str | None:
    """TensorRT 7 knows asymmetric coordinates, modes nearest and linear, and nearest_mode floor."""
    if opset_of(node.graph) < 11:
        return None
    mode = attribute(node, "mode", "nearest")
    coordinate = attribute(node, "coordinate_transformation_mode", "half_pixel")
    nearest = attribute(node, "nearest_mode", "round_prefer_floor")
    if mode == "cubic":
        return "mode is cubic"
    if coordinate != "asymmetric":
        return f"coordinate_transformation_mode is {coordinate}"
    return f"nearest_mode is {nearest}" if mode == "nearest" and nearest != "floor" else None
