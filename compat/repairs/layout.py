"""Operators that only move elements between channels and space."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import attribute, shape


def _sizes(node: ir.Node) -> tuple[list[int], int]:
    """Channels, height and width of the input, and the block's side. Raises NotApplicable where one is not known."""
    sizes = shape(node.inputs[0])
    if sizes is None or len(sizes) != 4 or None in sizes[1:]:
        raise NotApplicable("the input's channels, height and width are not known")
    return [int(size or 0) for size in sizes[1:]], int(attribute(node, "blocksize"))


@repair(
    "space-to-depth",
    ops="SpaceToDepth",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
fold (float[2, 3, 4, 6] x) => (float[2, 12, 2, 3] y) { y = SpaceToDepth <blocksize = 2> (x) }
""",
)
def space_to_depth(node: ir.Node, build: Builder) -> Replacement:
    """Reshape, Transpose, Reshape; in mode DCR the place in the block comes before the channel, in CRD after it."""
    (channels, height, width), side = _sizes(node)
    split = np.asarray([-1, channels, height // side, side, width // side, side])
    order = [0, 1, 3, 5, 2, 4] if attribute(node, "mode", "DCR") == "CRD" else [0, 3, 5, 1, 2, 4]
    moved = build.op("Transpose", build.op("Reshape", node.inputs[0], split), perm=order)
    return build.op("Reshape", moved, np.asarray([-1, channels * side * side, height // side, width // side]))


@repair(
    "depth-to-space",
    ops="DepthToSpace",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
unfold (float[2, 12, 2, 3] x) => (float[2, 3, 4, 6] y) { y = DepthToSpace <blocksize = 2, mode = "CRD"> (x) }
""",
)
def depth_to_space(node: ir.Node, build: Builder) -> Replacement:
    """Reshape, Transpose, Reshape; in mode DCR the place in the block comes before the channel, in CRD after it."""
    (channels, height, width), side = _sizes(node)
    if channels % (side * side):
        raise NotApplicable(f"{channels} channels are no blocks of {side} x {side}")
    less = channels // (side * side)
    last = attribute(node, "mode", "DCR") == "CRD"
    split = [-1, less, side, side, height, width] if last else [-1, side, side, less, height, width]
    order = [0, 1, 4, 2, 5, 3] if last else [0, 3, 4, 1, 5, 2]
    moved = build.op("Transpose", build.op("Reshape", node.inputs[0], np.asarray(split)), perm=order)
    return build.op("Reshape", moved, np.asarray([-1, less, height * side, width * side]))
