"""Pooling of regions: RoiAlign and MaxRoiPool with a fixed number of operations.

RoiAlign: He et al., Mask R-CNN, arXiv 1703.06870. A bin's value is a weighted sum of cells, and its weights are a product
of one for y and one for x: with s samples a side, 2 s rows and 2 s columns matter for each bin. So all cells are gathered
as rows of channels, and two small matrix products apply the weights of y and of x.
MaxRoiPool: Girshick, Fast R-CNN, arXiv 1504.08083.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import modern
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import attribute, dtype, shape

GATHERED = 1 << 23
"""Elements gathered at once, 32 MB: so many stay in the caches. More regions are done in parts."""
MASKED = 1 << 26
"""Elements above which MaxRoiPool's comparison of every cell with every region costs too much."""
INT64, FLOAT = int(ir.DataType.INT64), int(ir.DataType.FLOAT)


def map_sizes(node: ir.Node) -> tuple[int, int, int]:
    """Channels, height and width. Raises NotApplicable where one is not known."""
    sizes = shape(node.inputs[0])
    if sizes is None or len(sizes) != 4 or None in sizes[1:]:
        raise NotApplicable("the input's channels, height and width are not known")
    channels, height, width = (int(size or 0) for size in sizes[1:])
    return channels, height, width


def regions(node: ir.Node) -> int | None:
    """How many there are; None where that is not known."""
    sizes = shape(node.inputs[1])
    return None if sizes is None else sizes[0]


def in_cells(node: ir.Node, build: Builder) -> tuple[ir.Value, ir.Value, ir.DataType]:
    """The map and the regions of a RoiAlign in float32, the regions in cells of the map, and the dtype that both had. Raises
    NotApplicable where that is not known.
    """
    x, rois = node.inputs[:2]
    kind = dtype(x)
    if x is None or kind is None:
        raise NotApplicable("the input's dtype is not known")
    if kind != ir.DataType.FLOAT:
        x, rois = (build.op("Cast", value, to=FLOAT) for value in (x, rois))
    scaled = build.op("Mul", rois, float(attribute(node, "spatial_scale", 1.0)))
    return x, build.op("Sub", scaled, 0.5) if half_pixel(node) else scaled, kind


def half_pixel(node: ir.Node) -> bool:
    """Lie the cells' centres at whole numbers and a half?"""
    return str(attribute(node, "coordinate_transformation_mode", "half_pixel")) == "half_pixel"


def bins_of(node: ir.Node) -> tuple[int, int]:
    """Of y and of x."""
    return int(attribute(node, "output_height", 1)), int(attribute(node, "output_width", 1))


@repair(
    "roi-align-by-gather",
    ops="RoiAlign",
    tolerance=2e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pool (float[2, 3, 12, 16] x, float[5, 4] rois, int64[5] image) => (float[5, 3, 4, 4] y) {
  y = RoiAlign <output_height = 4, output_width = 4, sampling_ratio = 2, spatial_scale = 0.5> (x, rois, image)
}
""",
)
def roi_align(node: ir.Node, build: Builder) -> Replacement:
    """The cells around every sample are gathered and weighted, for all channels at once."""
    modern(build)
    channels, height, width = map_sizes(node)
    samples = int(attribute(node, "sampling_ratio", 0))
    if samples < 1:
        raise NotApplicable("sampling_ratio is 0: the number of samples depends on the regions")
    bins, half, image = bins_of(node), half_pixel(node), node.inputs[2]
    x, scaled, kind = in_cells(node, build)
    x1, y1, x2, y2 = build.ops("Split", scaled, np.asarray([1, 1, 1, 1]), axis=1, outputs=4)
    rows, weights_y = side(build, y1, y2, height, bins[0], samples, half)
    columns, weights_x = side(build, x1, x2, width, bins[1], samples, half)
    first = build.op("Mul", build.op("Unsqueeze", build.op("Cast", image, to=INT64), [1]), height * width)
    rows = build.op("Add", build.op("Mul", rows, width), first)
    cells = build.op("Add", build.op("Unsqueeze", rows, [2]), build.op("Unsqueeze", columns, [1]))
    table = build.op("Transpose", build.op("Reshape", x, np.asarray([0, channels, height * width])), perm=[0, 2, 1])
    table = build.op("Reshape", table, np.asarray([-1, channels]))
    y = weighted(build, node, table, cells, (weights_y, weights_x), bins)
    y = build.op("Transpose", y, perm=[0, 3, 1, 2])
    return y if kind == ir.DataType.FLOAT else build.op("CastLike", y, node.inputs[0])


def weighted(
    build: Builder,
    node: ir.Node,
    table: ir.Value,
    cells: ir.Value,
    weights: tuple[ir.Value, ir.Value],
    bins: tuple[int, int],
) -> ir.Value:
    """The bins float32[R, bins_y, bins_x, C] of a RoiAlign `node`, from the rows `cells` of `table` float32[cells, C].

    `weights` of y and of x are those of `side`.
    """
    samples, channels = int(attribute(node, "sampling_ratio", 0)), map_sizes(node)[0]
    pool = _strongest if attribute(node, "mode", "avg") == "max" else _mean
    sides = 2 * samples * bins[0], 2 * samples * bins[1]
    part = max(GATHERED // (sides[0] * sides[1] * channels), 1)
    count = regions(node)
    pooled = []
    for start in range(0, count, part) if count else [0]:
        piece = [cells, *weights]
        if count is not None and count > part:
            ends = np.asarray([start]), np.asarray([min(start + part, count)]), np.asarray([0])
            piece = [build.op("Slice", value, *ends) for value in piece]
        values = build.op("Gather", table, piece[0], axis=0)
        pooled.append(pool(build, values, piece[1], piece[2], bins, samples, channels))
    return build.op("Concat", *pooled, axis=0) if len(pooled) > 1 else pooled[0]


def side(
    build: Builder, start: ir.Value, end: ir.Value, size: int | ir.Value, bins: int, samples: int, half: bool
) -> tuple[ir.Value, ir.Value]:
    """Cells int64[R, 2 * bins * samples] that the samples along one side lie between, and their weights float32.

    `start` and `end` float32[R, 1] are in cells. A sample beyond -1 or beyond `size` (float32[R, 1] where it is a tensor)
    counts as 0; the others are clamped.
    """
    limit = size if isinstance(size, ir.Value) else float(size)
    last = build.op("Sub", size, 1.0) if isinstance(size, ir.Value) else float(size - 1)
    extent = build.op("Sub", end, start)
    if not half:
        extent = build.op("Max", extent, 1.0)
    step = build.op("Div", extent, float(bins))
    index = np.arange(bins * samples, dtype=np.float32)
    bin_start = build.op("Add", start, build.op("Mul", step, np.floor(index / samples)))
    within = build.op("Div", build.op("Mul", step, index % samples + np.float32(0.5)), float(samples))
    position = build.op("Add", bin_start, within)
    outside = build.op("Or", build.op("Less", position, -1.0), build.op("Greater", position, limit))
    inside = build.op("Cast", build.op("Not", outside), to=FLOAT)
    position = build.op("Min", build.op("Max", position, 0.0), last)
    lower = build.op("Floor", position)
    upper = build.op("Min", build.op("Add", lower, 1.0), last)
    fraction = build.op("Sub", position, lower)
    low, high = build.op("Mul", inside, build.op("Sub", 1.0, fraction)), build.op("Mul", inside, fraction)
    cells = build.op("Concat", build.op("Unsqueeze", lower, [2]), build.op("Unsqueeze", upper, [2]), axis=2)
    weights = build.op("Concat", build.op("Unsqueeze", low, [2]), build.op("Unsqueeze", high, [2]), axis=2)
    flat = np.asarray([-1, 2 * bins * samples])
    return build.op("Cast", build.op("Reshape", cells, flat), to=INT64), build.op("Reshape", weights, flat)


def _mean(
    build: Builder,
    values: ir.Value,
    weights_y: ir.Value,
    weights_x: ir.Value,
    bins: tuple[int, int],
    samples: int,
    channels: int,
) -> ir.Value:
    """The weighted sums of `values` float32[R, rows, columns, C], divided by the number of samples: [R, bins..., C]."""
    taps, columns = 2 * samples, 2 * samples * bins[1]
    lines = build.op("Reshape", values, np.asarray([-1, bins[0], taps, columns * channels]))
    rows = build.op("Reshape", weights_y, np.asarray([-1, bins[0], 1, taps]))
    lines = build.op("Reshape", build.op("MatMul", rows, lines), np.asarray([-1, bins[0], columns, channels]))
    # Each bin sees its own columns: a band of the matrix.
    band = np.kron(np.eye(bins[1]), np.full((1, taps), 1 / samples**2)).astype(np.float32)
    matrix = build.op("Mul", build.op("Unsqueeze", weights_x, [1]), band)
    return build.op("MatMul", build.op("Unsqueeze", matrix, [1]), lines)


def _strongest(
    build: Builder,
    values: ir.Value,
    weights_y: ir.Value,
    weights_x: ir.Value,
    bins: tuple[int, int],
    samples: int,
    channels: int,
) -> ir.Value:
    """As ONNX defines mode `max`: the largest of the cells' weighted values, each cell by itself."""
    taps = 2 * samples
    weight = build.op("Mul", build.op("Unsqueeze", weights_y, [2, 3]), build.op("Unsqueeze", weights_x, [1, 3]))
    values = build.op("Mul", values, weight)
    values = build.op("Reshape", values, np.asarray([-1, bins[0], taps, bins[1], taps, channels]))
    return build.op("ReduceMax", values, np.asarray([2, 4]), keepdims=0)


@repair(
    "max-roi-pool-by-masks",
    ops="MaxRoiPool",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pool (float[2, 3, 12, 16] x, float[5, 5] rois) => (float[5, 3, 2, 3] y) {
  y = MaxRoiPool <pooled_shape = [2, 3], spatial_scale = 0.5> (x, rois)
}
""",
)
def max_roi_pool(node: ir.Node, build: Builder) -> Replacement:
    """Of each bin the largest value along y, then along x, with all cells outside of it left out by a mask."""
    modern(build)
    channels, height, width = map_sizes(node)
    count = regions(node)
    if count is None or count * channels * height * width > MASKED:
        raise NotApplicable("too many cells have to be compared with the regions")
    if dtype(node.inputs[0]) != ir.DataType.FLOAT:
        raise NotApplicable("its input is no float32")
    bins = attribute(node, "pooled_shape")
    image, x1, y1, x2, y2 = build.ops("Split", node.inputs[1], np.asarray([1] * 5), axis=1, outputs=5)
    scale = float(attribute(node, "spatial_scale", 1.0))
    chosen = build.op("Cast", build.op("Reshape", image, np.asarray([-1])), to=INT64)
    values = build.op("Gather", node.inputs[0], chosen, axis=0)
    lowest = float(np.finfo(np.float32).min)
    masks = []
    for axis, (start, end, size) in enumerate(((y1, y2, height), (x1, x2, width))):
        inside = _bins(build, start, end, scale, size, bins[axis])
        masks.append(inside)
        parts = []
        for index in range(bins[axis]):
            mask = build.op("Gather", inside, np.asarray(index), axis=1)
            mask = build.op("Unsqueeze", mask, [1, 3] if axis == 0 else [1, 2])
            kept = build.op("Where", mask, values, lowest)
            parts.append(build.op("ReduceMax", kept, np.asarray([2 + axis]), keepdims=1))
        values = build.op("Concat", *parts, axis=2 + axis)
    # A bin without a cell is 0.
    some = [build.op("ReduceMax", build.op("Cast", mask, to=FLOAT), np.asarray([2]), keepdims=0) for mask in masks]
    both = build.op("Mul", build.op("Unsqueeze", some[0], [1, 3]), build.op("Unsqueeze", some[1], [1, 2]))
    return build.op("Where", build.op("Greater", both, 0.5), values, 0.0)


def _bins(build: Builder, start: ir.Value, end: ir.Value, scale: float, size: int, bins: int) -> ir.Value:
    """Which cells each bin covers along one axis, bool[R, bins, size]."""
    first, last = (_rounded(build, build.op("Mul", value, scale)) for value in (start, end))
    extent = build.op("Max", build.op("Add", build.op("Sub", last, first), 1.0), 1.0)
    step = build.op("Div", extent, float(bins))
    index = np.arange(bins, dtype=np.float32)
    low = build.op("Add", build.op("Floor", build.op("Mul", step, index)), first)
    high = build.op("Add", build.op("Ceil", build.op("Mul", step, index + 1)), first)
    cells = np.arange(size, dtype=np.float32)
    from_low = build.op("GreaterOrEqual", cells, build.op("Unsqueeze", low, [2]))
    return build.op("And", from_low, build.op("Less", cells, build.op("Unsqueeze", high, [2])))


def _rounded(build: Builder, x: ir.Value) -> ir.Value:
    """To the nearest whole number, halves away from 0."""
    return build.op("Mul", build.op("Sign", x), build.op("Floor", build.op("Add", build.op("Abs", x), 0.5)))
