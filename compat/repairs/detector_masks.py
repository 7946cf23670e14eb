"""The Loop with which torchvision's Mask R-CNN pastes each object's mask into the picture, written as two matrix products.

For each object the loop resizes its mask (linear, half_pixel) to the size of its box, cuts off what lies outside of the
picture, and pads with zeros. A row of the result is a weighted sum of at most two rows of the mask, so the weights of all
rows are a matrix that follows from the box, and likewise those of the columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from enginesmith.compat.building import Builder
from enginesmith.compat.repairs.repair import graph_repair
from enginesmith.compat.target import Target
from enginesmith.compat.values import attribute, constant, label, opset_of, rank
from enginesmith.compat.walk import captured, graphs

FLOAT = int(ir.DataType.FLOAT)


@dataclass(frozen=True)
class Paste:
    """What such a loop reads: masks float32[N, 1, S, T], boxes int64[N, 4] as x1 y1 x2 y2, and the picture's size."""

    masks: ir.Value
    boxes: ir.Value
    height: int
    width: int


@graph_repair(
    "pasted-masks",
    backends=("tensorrt-rtx", "tvm", "tensorrt"),
    tolerance=2e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
paste (float[2, 1, 4, 5] masks, int64[2, 4] boxes) => (float[n, 8, 9] pasted)
<int64 i0 = {0}, int64 i1 = {1}, int64 i2 = {2}, int64 i3 = {3}, int64[1] zero = {0}, int64[1] one = {1}, int64[2] both = {0, 1},
 bool yes = {1}, float[0, 8, 9] empty = {}, int64[2] ones = {1, 1}, int64[1] height = {8}, int64[1] width = {9}, int64[2] size = {8, 9}> {
  shape = Shape (masks)
  count = Gather (shape, i0)
  pasted = Loop (count, yes, empty) <body = object (int64 i, bool go, float[k, 8, 9] before) => (bool on, float[m, 8, 9] after) {
    on = Identity (go)
    mask = Gather (masks, i)
    plane = Unsqueeze (mask, zero)
    box = Gather (boxes, i)
    x1 = Gather (box, i0)
    y1 = Gather (box, i1)
    x2 = Gather (box, i2)
    y2 = Gather (box, i3)
    columns = Sub (x2, x1)
    w1 = Add (columns, one)
    w2 = Concat <axis = 0> (w1, one)
    w = ReduceMax (w2)
    rows = Sub (y2, y1)
    h1 = Add (rows, one)
    h2 = Concat <axis = 0> (h1, one)
    h = ReduceMax (h2)
    sizes = Concat <axis = 0> (ones, h, w)
    resized = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (plane, , , sizes)
    flat = Squeeze (resized, both)
    left1 = Unsqueeze (x1, zero)
    left2 = Concat <axis = 0> (left1, zero)
    left = ReduceMax (left2)
    top1 = Unsqueeze (y1, zero)
    top2 = Concat <axis = 0> (top1, zero)
    top = ReduceMax (top2)
    right1 = Unsqueeze (x2, zero)
    right2 = Add (right1, one)
    right3 = Concat <axis = 0> (right2, width)
    right = ReduceMin (right3)
    bottom1 = Unsqueeze (y2, zero)
    bottom2 = Add (bottom1, one)
    bottom3 = Concat <axis = 0> (bottom2, height)
    bottom = ReduceMin (bottom3)
    from_y = Sub (top, top1)
    from_x = Sub (left, left1)
    to_y = Sub (bottom, top1)
    to_x = Sub (right, left1)
    starts = Concat <axis = 0> (from_y, from_x)
    ends = Concat <axis = 0> (to_y, to_x)
    part = Slice (flat, starts, ends)
    after_y = Sub (height, bottom)
    after_x = Sub (width, right)
    around = Concat <axis = 0> (top, left, after_y, after_x)
    padded = Pad (part, around)
    corner = Concat <axis = 0> (zero, zero)
    fitted = Slice (padded, corner, size)
    row = Unsqueeze (fitted, zero)
    after = Concat <axis = 0> (before, row)
  }>
}
""",
)
def pasted_masks(model: ir.Model, target: Target) -> int:
    """A loop that resizes masks to their boxes and pastes them into pictures becomes two matrix products."""
    changes = 0
    for graph in graphs(model):
        for node in list(graph):
            if node.op_type == "Loop" and not node.domain and opset_of(graph) >= 18:
                found = _paste(node)
                if found is not None:
                    _replace(node, found, target)
                    changes += 1
    if changes:
        common.RemoveUnusedNodesPass()(model)
    return changes


def _replace(node: ir.Node, found: Paste, target: Target) -> None:
    build = Builder(node, target)
    corners = build.op("Cast", found.boxes, to=FLOAT)
    mask = build.op("Squeeze", found.masks, np.array([1]))
    down = _weights(build, found, corners, (1, 3), 2, found.height)
    across = build.op("Transpose", _weights(build, found, corners, (0, 2), 3, found.width), perm=[0, 2, 1])
    result = build.op("MatMul", build.op("MatMul", down, mask), across)
    for count, inner in enumerate(build.nodes):
        inner.name = f"{label(node)}/{inner.op_type}.{count}"
        for place, value in enumerate(inner.outputs):
            value.name = f"{inner.name}:{place}"
    graph, old = node.graph, node.outputs[0]
    assert graph is not None
    graph.insert_before(node, build.nodes)
    name, old.name = old.name, f"{old.name}/replaced"
    result.name, result.type = name, ir.TensorType(ir.DataType.FLOAT)
    result.shape = ir.Shape([None, found.height, found.width])
    old.replace_all_uses_with(result, replace_graph_outputs=True)
    for inner in attribute(node, "body"):
        for index in range(len(inner.inputs)):
            inner.replace_input_with(index, None)  # else what the loop read would count as used
    graph.remove(node, safe=True)


def _weights(
    build: Builder, found: Paste, corners: ir.Value, ends: tuple[int, int], axis: int, pixels: int
) -> ir.Value:
    """float32[N, pixels, cells]: how much of each cell of the masks' `axis` is in each pixel along a side of the picture."""
    cells = build.op("Shape", found.masks, start=axis, end=axis + 1)
    scalar = build.op("Squeeze", cells, np.array([0]))
    numbers = build.op("Cast", build.op("Range", np.array(0), scalar, np.array(1)), to=FLOAT)
    cells = build.op("Cast", cells, to=FLOAT)
    first, final = (build.op("Unsqueeze", build.op("Gather", corners, np.array([end]), axis=1), [2]) for end in ends)
    extent = build.op("Max", build.op("Add", build.op("Sub", final, first), 1.0), 1.0)
    pixel = np.arange(pixels, dtype=np.float32)[None, :, None]
    place = build.op("Add", build.op("Sub", pixel, first), 0.5)
    place = build.op("Sub", build.op("Div", place, build.op("Div", extent, cells)), 0.5)
    place = build.op("Min", build.op("Max", place, 0.0), build.op("Sub", cells, 1.0))
    weights = build.op("Relu", build.op("Sub", 1.0, build.op("Abs", build.op("Sub", place, numbers))))
    inside = build.op("And", build.op("GreaterOrEqual", pixel, first), build.op("LessOrEqual", pixel, final))
    return build.op("Where", inside, weights, 0.0)


def _paste(node: ir.Node) -> Paste | None:
    """Recognizes the loop by what it reads, its one Resize, and the picture's size, at which boxes are cut off.

    The rest of it is left to the proof.
    """
    body = attribute(node, "body")
    resizes = [inner for inner in body if inner.op_type == "Resize"]
    if len(node.inputs) != 3 or len(node.outputs) != 1 or len(resizes) != 1:
        return None
    if attribute(resizes[0], "mode", "nearest") != "linear":
        return None
    if attribute(resizes[0], "coordinate_transformation_mode", "half_pixel") != "half_pixel":
        return None
    outer = set(captured(node))
    reads = [
        inner.inputs[0]
        for inner in body
        if inner.op_type == "Gather" and inner.inputs[1] is body.inputs[0] and inner.inputs[0] in outer
    ]
    masks = [value for value in reads if rank(value) == 4 and value is not None and value.dtype == ir.DataType.FLOAT]
    boxes = [value for value in reads if rank(value) == 2 and value is not None and value.dtype == ir.DataType.INT64]
    limits = {_corner(inner): _limit(inner) for inner in body if inner.op_type == "ReduceMin"}
    height, width = limits.get(3), limits.get(2)
    last = body.outputs[1].producer()
    joined = last is not None and last.op_type == "Concat" and last.inputs[0] is body.inputs[2]
    if len(masks) != 1 or len(boxes) != 1 or len(limits) != 2 or not height or not width or not joined:
        return None
    return Paste(masks[0], boxes[0], height, width) if _counts(node.inputs[0], masks[0]) else None


def _counts(value: ir.Value | None, masks: ir.Value) -> bool:
    """Is `value` the number of masks?"""
    pick = value.producer() if value is not None else None
    if pick is None or pick.op_type != "Gather" or constant(pick.inputs[1]) != 0:
        return False
    sizes = pick.inputs[0].producer() if pick.inputs[0] is not None else None
    return sizes is not None and sizes.op_type == "Shape" and sizes.inputs[0] is masks


def _limit(node: ir.Node) -> int | None:
    """The constant in ReduceMin(Concat(x, constant))."""
    join = node.inputs[0].producer() if node.inputs[0] else None
    numbers = [constant(value) for value in join.inputs] if join is not None and join.op_type == "Concat" else []
    known = [int(number.reshape(())) for number in numbers if number is not None and number.size == 1]
    return known[0] if len(known) == 1 else None


def _corner(node: ir.Node) -> int | None:
    """Which of a box's four numbers the x in ReduceMin(Concat(x, constant)) comes from."""
    join = node.inputs[0].producer() if node.inputs[0] else None
    value = join.inputs[0] if join is not None and join.op_type == "Concat" else None
    while value is not None and (producer := value.producer()) is not None:
        if producer.op_type == "Gather":
            index = constant(producer.inputs[1])
            return None if index is None or index.size != 1 else int(index.reshape(()))
        value = producer.inputs[0] if producer.op_type in ("Add", "Unsqueeze", "Reshape", "Cast") else None
    return None
