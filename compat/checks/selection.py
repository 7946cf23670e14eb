"""NonMaxSuppression, RoiAlign, NonZero and the like for TensorRT and TensorRT-RTX."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.origin import origin
from enginesmith.compat.checks.rule import rule
from enginesmith.compat.checks.sources import CHECKERS
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import argument, attribute, constant, rank, shape


@rule(
    "suppression-run-time-limits",
    ops="NonMaxSuppression",
    backends=("tensorrt",),
    versions=">=8.0,<8.5",
    remedy="give the limits as constants, or use TensorRT 8.5 or later",
    source="onnx-tensorrt docs/operators.md, branch 8.0-GA",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
boxes (float[1, 6, 4] b, float[1, 1, 6] s, int64[1] most) => (int64[n, 3] kept) { kept = NonMaxSuppression (b, s, most) }
""",
)
def suppression_limits(node: ir.Node, target: Target) -> str | None:
    """From 8.0 to 8.4 NonMaxSuppression is a plugin that wants constant limits, and pads its result to a fixed size."""
    names = ("max_output_boxes_per_class", "iou_threshold", "score_threshold")
    run_time = [name for index, name in enumerate(names, 2) if origin(argument(node, index)) != "constant"]
    return f"{run_time[0]} is known at run time only" if run_time else None


@rule(
    "suppression-ranks",
    ops="NonMaxSuppression",
    backends=TENSORRT,
    remedy="give boxes of shape [batch, boxes, 4] and scores of shape [batch, classes, boxes]",
    source=f"{CHECKERS} and onnxOpImporters.cpp, NonMaxSuppression",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
boxes (float[6, 4] b, float[1, 6] s) => (int64[n, 3] kept) { kept = NonMaxSuppression (b, s) }
""",
)
def suppression_ranks(node: ir.Node, target: Target) -> str | None:
    """Boxes and scores have three dimensions."""
    ranks = [rank(argument(node, index)) for index in (0, 1)]
    wrong = [found for found in ranks if found not in (None, 3)]
    return f"boxes and scores have {ranks[0]} and {ranks[1]} dimensions" if wrong else None


@rule(
    "data-dependent-size",
    ops=("NonZero", "NonMaxSuppression", "Compress", "Unique"),
    backends=("tensorrt",),
    versions=">=8.5",
    severity="warning",
    remedy="bound the number of rows: keep the best K, or mask instead of selecting",
    source="onnx-tensorrt ModelImporter.cpp: the operators whose results set a partition apart",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
found (float[4, 4] x) => (int64[2, n] y) { y = NonZero (x) }
""",
)
def data_dependent_size(node: ir.Node, target: Target) -> str | None:
    """How many rows come out depends on the data, so that whoever runs the engine must provide an output allocator, and
    what follows has an unknown dimension."""
    return "the number of its results depends on the data"


@rule(
    "roialign-coordinates",
    ops="RoiAlign",
    backends=TENSORRT,
    remedy="use half_pixel or output_half_pixel, and mode avg or max",
    source=f"{CHECKERS}, RoiAlign",
    example="""
<ir_version: 10, opset_import: ["" : 16]>
rois (float[1, 2, 8, 8] x, float[3, 4] r, int64[3] b) => (float[3, 2, 1, 1] y) { y = RoiAlign <sampling_ratio = -1> (x, r, b) }
""",
)
def roialign_attributes(node: ir.Node, target: Target) -> str | None:
    """RoiAlign's mode is avg or max, its sampling_ratio not negative, its coordinates half_pixel or output_half_pixel."""
    mode, ratio = attribute(node, "mode", "avg"), attribute(node, "sampling_ratio", 0)
    coordinate = attribute(node, "coordinate_transformation_mode", "half_pixel")
    if mode not in ("avg", "max"):
        return f"mode is {mode}"
    if ratio < 0:
        return f"sampling_ratio is {ratio}"
    return None if coordinate in ("half_pixel", "output_half_pixel") else f"coordinates are {coordinate}"


@rule(
    "scatter-reduction",
    ops="ScatterND",
    backends=TENSORRT,
    remedy="let `doctor --fix` add the updates by comparing indices",
    source=f"{CHECKERS}, ScatterND",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sum (float[4, 2] x, int64[1, 1] i, float[1, 2] u) => (float[4, 2] y) { y = ScatterND <reduction = "add"> (x, i, u) }
""",
)
def scatter_reduction(node: ir.Node, target: Target) -> str | None:
    """ScatterND writes; it does not add, multiply or compare. Before 10.9 the attribute alone is refused, whatever it
    says."""
    reduction = attribute(node, "reduction")
    if reduction is not None and target.backend == "tensorrt" and target.within("<10.9"):
        return f"reduction is given ({reduction}), which {target} refuses"
    return None if reduction in (None, "none") else f"reduction is {reduction}"


@rule(
    "scatter-elements-reduction",
    ops="ScatterElements",
    backends=("tensorrt-rtx",),
    remedy="let `doctor --fix` add the updates by comparing indices",
    source="measured with tensorrt-rtx 1.7: «Unsupported reduction type»",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sum (float[4] x, int64[2] i, float[2] u) => (float[4] y) { y = ScatterElements <reduction = "add"> (x, i, u) }
""",
)
def scatter_elements_reduction(node: ir.Node, target: Target) -> str | None:
    """TensorRT has a plugin for ScatterElements with a reduction, which TensorRT-RTX lacks."""
    reduction = attribute(node, "reduction", "none")
    return None if reduction == "none" else f"reduction is {reduction}"


@rule(
    "scatter-elements-plugin",
    ops="ScatterElements",
    backends=("tensorrt",),
    severity="warning",
    remedy="load libnvinfer_plugin where the engine runs",
    source="onnx-tensorrt onnxOpImporters.cpp, ScatterElements",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sum (float[4] x, int64[2] i, float[2] u) => (float[4] y) { y = ScatterElements <reduction = "add"> (x, i, u) }
""",
)
def scatter_elements_plugin(node: ir.Node, target: Target) -> str | None:
    """With a reduction, ScatterElements is a plugin of libnvinfer_plugin."""
    reduction = attribute(node, "reduction", "none")
    return None if reduction == "none" else f"reduction is {reduction}: it becomes a plugin"


@rule(
    "scatter-ranks",
    ops=("ScatterElements", "Scatter"),
    backends=TENSORRT,
    remedy="slice indices and updates to the data's sizes",
    source="onnx-tensorrt importerUtils.cpp, ScatterElements",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
longer (float[2, 3] x, int64[4, 3] i, float[4, 3] u) => (float[2, 3] y) { y = ScatterElements (x, i, u) }
""",
)
def scatter_ranks(node: ir.Node, target: Target) -> str | None:
    """Indices and updates may not be larger than the data in any dimension."""
    data, indices = shape(argument(node, 0)), shape(argument(node, 1))
    if not data or not indices or len(data) != len(indices):
        return None
    over = [
        (i, a, b)
        for i, (a, b) in enumerate(zip(data, indices, strict=True))
        if a is not None and b is not None and b > a
    ]
    return f"indices have {over[0][2]} elements in dimension {over[0][0]}, the data {over[0][1]}" if over else None


@rule(
    "negative-indices",
    ops=("Gather", "GatherElements"),
    backends=("tensorrt",),
    versions="<8.2",
    remedy="add the dimension's size to negative indices",
    source="onnx-tensorrt docs/operators.md, branches 7.2.1 and 8.0-GA",
    example="""
<ir_version: 10, opset_import: ["" : 13]>
last (float[4, 3] x) => (float[1, 3] y) <int64[1] i = {-1}> { y = Gather (x, i) }
""",
)
def negative_indices(node: ir.Node, target: Target) -> str | None:
    """Before 8.2 an index counts from the beginning only."""
    indices = constant(argument(node, 1))
    if indices is None or not indices.size or indices.min() >= 0:
        return None
    return f"it has the negative index {int(indices.min())}"


@rule(
    "tensor-scatter-form",
    ops="TensorScatter",
    backends=TENSORRT,
    remedy="let `doctor --fix` write it as a ScatterElements",
    source="onnx-tensorrt docs/operators.md of 10.16; messages of the parser of tensorrt-rtx 1.7",
    example="""
<ir_version: 10, opset_import: ["" : 24]>
cache (float[1, 4, 5] x, float[1, 1, 5] u, int64[1] w) => (float[1, 4, 5] y) { y = TensorScatter (x, u, w) }
""",
)
def tensor_scatter_form(node: ir.Node, target: Target) -> str | None:
    """A TensorScatter updates caches of rank 4 along axis -2, in mode linear."""
    mode, axis, ranks = attribute(node, "mode", "linear"), attribute(node, "axis", -2), rank(argument(node, 0))
    if mode != "linear":
        return f"mode is {mode}"
    if ranks not in (None, 4):
        return f"the cache has {ranks} dimensions, and must have 4"
    return None if axis in (-2, 2) else f"axis is {axis}, and must be -2"
