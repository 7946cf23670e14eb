"""Bounded tensors in operators that read a map at places between its elements."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.repairs.bounded.dims import dim, is_static
from enginesmith.compat.repairs.bounded.rewriter import Rewriter, rule
from enginesmith.compat.repairs.bounded.shapes import broadcast
from enginesmith.compat.repairs.bounded.values import Bounded
from enginesmith.compat.values import attribute


@rule("RoiAlign")
def roi_align(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data, rois, batch = (rewriter.get(value) for value in node.inputs)
    if not data.static:
        raise NotApplicable("its feature map depends on the data")
    (rows,) = broadcast([rois.dims[:1], batch.dims])
    height, width = attribute(node, "output_height", 1), attribute(node, "output_width", 1)
    # Boxes that are not real could lie anywhere, or nowhere: some kernels then read outside of the map.
    inputs = [rewriter.tensor(data), rewriter.filled(rois, 0), rewriter.filled(batch, 0, rewriter.numeric(batch))]
    return rewriter.again(node, inputs, [rows, data.dims[1], dim(height), dim(width)])


@rule("GridSample")
def grid_sample(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data, grid = (rewriter.get(value) for value in node.inputs)
    if not all(map(is_static, data.dims[2:])):
        raise NotApplicable("its feature map depends on the data")
    (items,) = broadcast([data.dims[:1], grid.dims[:1]])
    inputs = [rewriter.tensor(data), rewriter.filled(grid, 0, rewriter.numeric(grid))]
    return rewriter.again(node, inputs, [items, data.dims[1], *grid.dims[1:-1]])
