"""RoiAlign with as many samples in a bin as it covers cells (sampling_ratio 0), with a fixed number of operations.

The number of samples n = ceil(extent / bins) follows from each region, and has no bound: a region may be larger than the map.
But two samples in a bin lie (n - 1) / n of a cell apart at least, and those outside of the map count as 0, so that no more
than `size` + 5 of them matter. Their weights for each cell of a side are summed; then a bin is a product with the
weights of y and one with those of x, for all channels at once.

Source: He et al., Mask R-CNN, arXiv 1703.06870; ONNX's page for RoiAlign; ONNX Runtime's roialign.cc.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import modern
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.repairs.rois import FLOAT, INT64, bins_of, half_pixel, in_cells, map_sizes, regions
from enginesmith.compat.values import attribute, shape

WEIGHTS = 1 << 26
"""Weights of single samples that are computed at once, 256 MB; more regions are done in parts."""
PARTS = 32
"""Parts that a node may have."""
SLACK = 5
"""Samples that matter in a bin, beside one for each cell: one at either edge of the map, one for the spacing, which may be
below a cell, and two for the rounding of where they begin."""


@repair(
    "roi-align-adaptive",
    ops="RoiAlign",
    tolerance=2e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pool (float[2, 3, 12, 16] x, float[5, 4] rois, int64[5] image) => (float[5, 3, 4, 4] y) {
  y = RoiAlign <output_height = 4, output_width = 4, sampling_ratio = 0, spatial_scale = 0.5> (x, rois, image)
}
""",
)
def roi_align_adaptive(node: ir.Node, build: Builder) -> Replacement:
    """The weights of as many samples as a region needs are summed for each cell, and applied as two matrix products."""
    modern(build)
    channels, height, width = map_sizes(node)
    if int(attribute(node, "sampling_ratio", 0)) > 0:
        raise NotApplicable("its number of samples is fixed")
    if attribute(node, "mode", "avg") != "avg":
        raise NotApplicable("the largest of a number of samples that depends on the regions")
    images = (shape(node.inputs[0]) or [None])[0]
    if images is None:
        raise NotApplicable("the number of images is not known")
    bins, half, image = bins_of(node), half_pixel(node), node.inputs[2]
    x, scaled, kind = in_cells(node, build)
    lines = build.op("Reshape", build.op("Transpose", x, perm=[0, 2, 1, 3]), np.asarray([images * height, -1]))
    size = (height, width, channels)
    parts = [
        _part(build, lines, *piece, size, images, bins, half)
        for piece in _pieces(build, node, scaled, image, bins, size)
    ]
    y = build.op("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]
    y = build.op("Transpose", y, perm=[0, 2, 1, 3])
    return y if kind == ir.DataType.FLOAT else build.op("CastLike", y, node.inputs[0])


def _pieces(
    build: Builder,
    node: ir.Node,
    scaled: ir.Value,
    image: ir.Value | None,
    bins: tuple[int, int],
    size: tuple[int, int, int],
) -> list[tuple[ir.Value, ir.Value | None]]:
    """The regions and their images, so many at a time as there is room for. Raises NotApplicable for too many."""
    count = regions(node)
    each = max(bins[side] * (size[side] + SLACK) * size[side] for side in (0, 1))
    each = max(each, bins[0] * size[1] * size[2])
    most = max(WEIGHTS // each, 1)
    if count is None or count <= most:
        return [(scaled, image)]
    if count > PARTS * most:
        raise NotApplicable(
            f"{count} regions of {bins[0]} x {bins[1]} bins on {size[0]} x {size[1]} cells are too many"
        )
    pieces: list[tuple[ir.Value, ir.Value | None]] = []
    for start in range(0, count, most):
        ends = np.asarray([start]), np.asarray([min(start + most, count)]), np.asarray([0])
        pieces.append((build.op("Slice", scaled, *ends), build.op("Slice", image, *ends)))
    return pieces


def _part(
    build: Builder,
    lines: ir.Value,
    scaled: ir.Value,
    image: ir.Value | None,
    size: tuple[int, int, int],
    images: int,
    bins: tuple[int, int],
    half: bool,
) -> ir.Value:
    """float32[R, bins_y, C, bins_x], from `lines` float32[images * height, C * width]."""
    height, width, channels = size
    x1, y1, x2, y2 = build.ops("Split", scaled, np.asarray([1, 1, 1, 1]), axis=1, outputs=4)
    rows = _weights(build, y1, y2, height, bins[0], half)
    columns = _weights(build, x1, x2, width, bins[1], half)
    if images > 1:  # a region sees the rows of its own image
        own = build.op("Equal", build.op("Unsqueeze", build.op("Cast", image, to=INT64), [1]), np.arange(images)[None])
        own = build.op("Reshape", build.op("Cast", own, to=FLOAT), np.asarray([-1, 1, images, 1]))
        rows = build.op("Mul", build.op("Unsqueeze", rows, [2]), own)
    rows = build.op("Reshape", rows, np.asarray([-1, images * height]))
    pooled = build.op("Reshape", build.op("MatMul", rows, lines), np.asarray([-1, bins[0], channels, width]))
    turned = build.op("Unsqueeze", build.op("Transpose", columns, perm=[0, 2, 1]), [1])
    return build.op("MatMul", pooled, turned)


def _weights(build: Builder, start: ir.Value, end: ir.Value, size: int, bins: int, half: bool) -> ir.Value:
    """What each cell of a side weighs in each bin, float32[R, bins, size]; `start` and `end` float32[R, 1] are in cells."""
    extent = build.op("Sub", end, start)
    if not half:
        extent = build.op("Max", extent, 1.0)
    step = build.op("Div", extent, float(bins))
    count = build.op("Max", build.op("Ceil", step), 0.0)
    some = build.op("Max", count, 1.0)
    apart = build.op("Max", build.op("Div", step, some), float(np.finfo(np.float32).tiny))
    begin = build.op("Add", start, build.op("Mul", step, np.arange(bins, dtype=np.float32)[None]))
    # The first sample that may lie on the map, and those after it.
    first = build.op("Sub", build.op("Floor", build.op("Div", build.op("Sub", -1.0, begin), apart)), 1.0)
    first = build.op("Unsqueeze", build.op("Max", first, 0.0), [2])
    index = build.op("Add", first, np.arange(size + SLACK, dtype=np.float32))
    within = build.op("Mul", build.op("Unsqueeze", apart, [2]), build.op("Add", index, 0.5))
    position = build.op("Add", build.op("Unsqueeze", begin, [2]), within)
    counts = build.op("Less", index, build.op("Unsqueeze", count, [2]))
    on = build.op("And", build.op("GreaterOrEqual", position, -1.0), build.op("LessOrEqual", position, float(size)))
    share = build.op("Div", build.op("Cast", build.op("And", counts, on), to=FLOAT), build.op("Unsqueeze", some, [2]))
    position = build.op("Min", build.op("Max", position, 0.0), float(size - 1))
    away = build.op("Abs", build.op("Sub", build.op("Unsqueeze", position, [3]), np.arange(size, dtype=np.float32)))
    near = build.op("Relu", build.op("Sub", 1.0, away))
    return build.op("Squeeze", build.op("MatMul", build.op("Unsqueeze", share, [2]), near), [2])
