"""Pooling over the levels of a feature pyramid: each region from its own level, and only from there.

torchvision's MultiScaleRoIAlign pools the regions of each level with a RoiAlign of its own and puts the results together.
With fixed shapes each RoiAlign has to take all regions, and all but one result is thrown away. Here the levels are laid
end to end, and every region reads the cells of its own one (as converters/torch_models/detectors/roi_pooling.py does in PyTorch).
The choice of the level: Lin et al., Feature Pyramid Networks, arXiv 1612.03144, eq. 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from enginesmith.compat.building import Builder
from enginesmith.compat.repairs.repair import graph_repair
from enginesmith.compat.repairs.rois import bins_of, half_pixel, side, weighted
from enginesmith.compat.target import Target
from enginesmith.compat.values import attribute, constant, label, static_shape
from enginesmith.compat.walk import graphs

FAR = -1e6
"""Where a region goes that is of no level: its samples are outside of the map, and count as 0."""


@dataclass(frozen=True)
class Level:
    """One RoiAlign, and the mask bool[R, 1, 1, 1] of the regions that take its result."""

    mask: ir.Value
    pooling: ir.Node


@graph_repair(
    "roi-align-pyramid",
    backends=("tensorrt-rtx", "tvm", "tensorrt"),
    tolerance=2e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pool (float[1, 2, 16, 16] fine, float[1, 2, 8, 8] coarse, float[4, 4] rois, int64[4] image, bool[4, 1, 1, 1] small)
  => (float[4, 2, 3, 3] y) <float[1] zero = {0}, int64[4] shape = {4, 2, 3, 3}> {
  zeros = Expand (zero, shape)
  low = RoiAlign <output_height = 3, output_width = 3, sampling_ratio = 2, spatial_scale = 0.5> (fine, rois, image)
  high = RoiAlign <output_height = 3, output_width = 3, sampling_ratio = 2, spatial_scale = 0.25> (coarse, rois, image)
  large = Not (small)
  first = Where (small, low, zeros)
  y = Where (large, high, first)
}
""",
)
def roi_align_pyramid(model: ir.Model, target: Target) -> int:
    """RoiAligns of several feature maps, of which each region takes one, become one that reads the right map."""
    changes = 0
    for graph in graphs(model):
        for node in list(graph):
            if node.op_type != "Where" or node.graph is not graph or _levels(_only_reader(node)):
                continue
            levels = _levels(node)
            if len(levels) > 1 and _alike(levels):
                _merge(node, levels, target)
                changes += 1
    if changes:
        common.RemoveUnusedNodesPass()(model)
    return changes


def _only_reader(node: ir.Node) -> ir.Node | None:
    readers = [reader for reader, _ in node.outputs[0].uses()]
    return readers[0] if len(readers) == 1 and not node.outputs[0].is_graph_output() else None


def _levels(node: ir.Node | None) -> list[Level]:
    """The levels of a chain of Where, the innermost first; empty if it is none, or does not start with zeros."""
    levels: list[Level] = []
    while node is not None and node.op_type == "Where" and not node.domain:
        mask, chosen, other = node.inputs
        pooling = chosen.producer() if chosen is not None else None
        shape = static_shape(mask)
        if (
            mask is None
            or other is None
            or pooling is None
            or pooling.op_type != "RoiAlign"
            or len(pooling.outputs[0].uses()) > 1
        ):
            return []
        if shape is None or shape[1:] != [1, 1, 1] or shape[:1] != (static_shape(pooling.inputs[1]) or [])[:1]:
            return []
        levels.insert(0, Level(mask, pooling))
        if _is_zero(other):
            return levels
        node = other.producer()
    return []


def _is_zero(value: ir.Value) -> bool:
    array, node = constant(value), value.producer()
    if array is None and node is not None and node.op_type in ("ConstantOfShape", "Expand"):
        array = constant(node.inputs[0]) if node.op_type == "Expand" else None
        if node.op_type == "ConstantOfShape":
            filling = attribute(node, "value")
            return filling is None or not filling.numpy().any()
    return array is not None and not array.any()


def _alike(levels: list[Level]) -> bool:
    """Do the RoiAligns differ in their feature maps' sizes and scales only?"""
    first = levels[0].pooling
    if attribute(first, "sampling_ratio", 0) < 1 or attribute(first, "mode", "avg") != "avg":
        return False
    settings = ("sampling_ratio", "mode", "output_height", "output_width", "coordinate_transformation_mode")
    for level in levels:
        map_shape, pooling = static_shape(level.pooling.inputs[0]), level.pooling
        if map_shape is None or map_shape[:2] != (static_shape(first.inputs[0]) or [])[:2]:
            return False
        if pooling.inputs[0] is None or pooling.inputs[0].dtype != ir.DataType.FLOAT:
            return False
        if any(attribute(pooling, name) != attribute(first, name) for name in settings):
            return False
    return True


def _merge(node: ir.Node, levels: list[Level], target: Target) -> None:
    build = Builder(node, target)
    y = _pooled(build, levels)
    for count, inner in enumerate(build.nodes):
        inner.name = f"{label(node)}/{inner.op_type}.{count}"
        for place, value in enumerate(inner.outputs):
            value.name = f"{inner.name}:{place}"
    graph, old = node.graph, node.outputs[0]
    assert graph is not None
    graph.insert_before(node, build.nodes)
    name, old.name = old.name, f"{old.name}/replaced"
    y.name, y.type, y.shape = name, old.type, old.shape
    old.replace_all_uses_with(y, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _pooled(build: Builder, levels: list[Level]) -> ir.Value:
    """float32[R, C, bins_y, bins_x]."""
    first = levels[0].pooling
    maps = [level.pooling.inputs[0] for level in levels]
    sizes = [static_shape(value) or [] for value in maps]
    batch, channels = sizes[0][:2]
    cells = [height * width for _, _, height, width in sizes]
    bins = bins_of(first)
    samples = int(attribute(first, "sampling_ratio", 0))
    half = half_pixel(first)

    rois: ir.Value = build.constant(FAR)
    image: ir.Value = build.constant(0)
    level: ir.Value = build.constant(0)
    for number, part in enumerate(levels):
        flags = build.op("Reshape", part.mask, np.asarray([-1, 1]))
        rois = build.op("Where", flags, part.pooling.inputs[1], rois)
        row = build.op("Reshape", part.mask, np.asarray([-1]))
        image = build.op("Where", row, part.pooling.inputs[2], image)
        level = build.op("Where", row, number, level)

    def own(numbers: list[float] | list[int]) -> ir.Value:
        """[R, 1]: the number of each region's level."""
        kind = np.float32 if isinstance(numbers[0], float) else np.int64
        return build.op("Gather", np.asarray(numbers, kind)[:, None], level, axis=0)

    scaled = build.op("Mul", rois, own([float(attribute(part.pooling, "spatial_scale", 1.0)) for part in levels]))
    if half:
        scaled = build.op("Sub", scaled, 0.5)
    x1, y1, x2, y2 = build.ops("Split", scaled, np.asarray([1, 1, 1, 1]), axis=1, outputs=4)
    rows, weights_y = side(build, y1, y2, own([float(size[2]) for size in sizes]), bins[0], samples, half)
    columns, weights_x = side(build, x1, x2, own([float(size[3]) for size in sizes]), bins[1], samples, half)
    start = build.op("Mul", build.op("Unsqueeze", image, np.asarray([1])), sum(cells))
    start = build.op("Add", start, own([sum(cells[:index]) for index in range(len(cells))]))
    rows = build.op("Add", build.op("Mul", rows, own([size[3] for size in sizes])), start)
    places = build.op(
        "Add", build.op("Unsqueeze", rows, np.asarray([2])), build.op("Unsqueeze", columns, np.asarray([1]))
    )
    tables = [
        build.op("Reshape", value, np.asarray([batch, channels, count]))
        for value, count in zip(maps, cells, strict=True)
    ]
    table = build.op("Transpose", build.op("Concat", *tables, axis=2), perm=[0, 2, 1])
    table = build.op("Reshape", table, np.asarray([-1, channels]))
    y = weighted(build, first, table, places, (weights_y, weights_x), bins)
    return build.op("Transpose", y, perm=[0, 3, 1, 2])
