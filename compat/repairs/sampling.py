"""AffineGrid, GridSample and DeformConv, written with gathers and products.

An input is laid out as rows of channels, one row per element of the image; a sample is a weighted sum of the rows around
it. All rows that matter are gathered at once.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import Arithmetic
from enginesmith.compat.repairs.interpolation import cubic
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import FLOATS, argument, attribute, constant, dtype, shape, static_shape


@repair(
    "affine-grid-by-matrix",
    ops="AffineGrid",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 20]>
grid (float[2, 2, 3] theta) => (float[2, 5, 6, 2] y) <int64[4] size = {2, 3, 5, 6}> { y = AffineGrid (theta, size) }
""",
)
def affine_grid(node: ir.Node, build: Builder) -> Replacement:
    """The coordinates of every element, a constant matrix, are multiplied by the transformation."""
    theta, given = node.inputs[0], constant(node.inputs[1])
    output = shape(node.outputs[0])
    if given is not None:
        sizes = [int(size) for size in given[2:]]
    elif output is not None and None not in output[1:-1]:
        sizes = [int(size or 0) for size in output[1:-1]]
        batch = static_shape(theta)
        if node.inputs[1] is not None and batch is not None:
            build.assume(node.inputs[1], np.asarray([batch[0], 1, *sizes]))
    else:
        raise NotApplicable("the output's size is not known")
    corners = bool(attribute(node, "align_corners", 0))
    lines = []
    for size in sizes:
        if corners:
            lines.append(np.linspace(-1, 1, size) if size > 1 else np.full(1, -1.0))
        else:
            lines.append((2 * np.arange(size) + 1) / size - 1)
    places = np.meshgrid(*lines, indexing="ij")
    # The coordinates are written x first, which is the last axis, and 1 for the translation.
    base = np.stack([*(place.reshape(-1) for place in reversed(places)), np.ones(places[0].size)], axis=-1)
    matrix = build.constant(base.astype(np.float32))
    if dtype(theta) != ir.DataType.FLOAT:
        matrix = build.op("CastLike", matrix, theta)
    y = build.op("MatMul", matrix, build.op("Transpose", theta, perm=[0, 2, 1]))
    return build.op("Reshape", y, np.asarray([-1, *sizes, len(sizes)]))


@dataclass(frozen=True)
class Lattice:
    """How positions between elements are read: `padding` is GridSample's padding_mode."""

    sizes: list[int]
    mode: str
    padding: str
    align_corners: bool

    def taps(self) -> list[int]:
        """Which elements matter along one axis, counted from the one below the position."""
        return {"nearest": [0], "linear": [0, 1], "cubic": [-1, 0, 1, 2]}[self.mode]


def read(build: Builder, rows: ir.Value, positions: list[ir.Value], lattice: Lattice) -> ir.Value:
    """Values at `positions`, one float32[N, P] per axis, of `rows` float32[N, elements, C]: float32[N, P, C]."""
    taps = lattice.taps()
    cells: list[list[ir.Value]] = []
    shares: list[list[ir.Value | None]] = []
    for size, position in zip(lattice.sizes, positions, strict=True):
        below = build.op("Round" if lattice.mode == "nearest" else "Floor", position)
        fraction = None if lattice.mode == "nearest" else build.op("Sub", position, below)
        cells.append([])
        shares.append([])
        for offset in taps:
            cell, inside = _cell(build, build.op("Add", below, float(offset)) if offset else below, size, lattice)
            share = None if fraction is None else _share(build, fraction, offset, lattice.mode)
            if inside is not None:
                share = inside if share is None else build.op("Mul", share, inside)
            cells[-1].append(cell)
            shares[-1].append(share)
    corners = list(itertools.product(range(len(taps)), repeat=len(lattice.sizes)))
    indices, weights = [], []
    for corner in corners:
        index, weight = cells[0][corner[0]], shares[0][corner[0]]
        for axis, place in enumerate(corner[1:], 1):
            index = build.op("Add", build.op("Mul", index, lattice.sizes[axis]), cells[axis][place])
            other = shares[axis][place]
            weight = weight if other is None else other if weight is None else build.op("Mul", weight, other)
        indices.append(build.op("Unsqueeze", index, [-1]))
        weights.append(None if weight is None else build.op("Unsqueeze", weight, [-1]))
    if len(corners) == 1:
        values = build.op("GatherND", rows, indices[0], batch_dims=1)
        return values if weights[0] is None else build.op("Mul", values, weights[0])
    every = build.op("Unsqueeze", build.op("Concat", *indices, axis=-1), [-1])
    values = build.op("GatherND", rows, every, batch_dims=1)
    weight = build.op("Unsqueeze", build.op("Concat", *weights, axis=-1), [-2])
    return build.op("Squeeze", build.op("MatMul", weight, values), [-2])


def _cell(build: Builder, x: ir.Value, size: int, lattice: Lattice) -> tuple[ir.Value, ir.Value | None]:
    """The element at the whole number `x`, int64; and float32 0 where it lies outside and counts as zero, else 1."""
    if lattice.padding == "reflection":
        # Mirrored at the centres of the border elements, or at their outer edges. Far positions stay exact in float32
        # up to 2**24, as in ONNX Runtime.
        period = float(max(2 * (size - 1), 1) if lattice.align_corners else 2 * size)
        if lattice.align_corners and size == 1:
            x = build.op("Mul", x, 0.0)
        turns = build.op("Floor", build.op("Div", x, period))
        x = build.op("Sub", x, build.op("Mul", turns, period))
        x = build.op("Min", x, build.op("Sub", period if lattice.align_corners else period - 1, x))
    clipped = build.op("Min", build.op("Max", x, 0.0), float(size - 1))
    cell = build.op("Cast", clipped, to=int(ir.DataType.INT64))
    if lattice.padding != "zeros":
        return cell, None
    return cell, build.op("Cast", build.op("Equal", x, clipped), to=int(ir.DataType.FLOAT))


def _share(build: Builder, fraction: ir.Value, offset: int, mode: str) -> ir.Value:
    """The weight of the element `offset` above the one below the position."""
    if mode == "linear":
        return fraction if offset else build.op("Sub", 1.0, fraction)
    calc = Arithmetic(build)
    return calc.value(cubic(calc, calc.op("Abs", calc.op("Sub", fraction, float(offset))), -0.75))


def channel_rows(build: Builder, x: ir.Value, channels: int, elements: int) -> ir.Value:
    """[N, groups * channels, ...] as rows of channels, [N * groups, elements, channels]."""
    return build.op("Transpose", build.op("Reshape", x, np.asarray([-1, channels, elements])), perm=[0, 2, 1])


@repair(
    "grid-sample-by-gather",
    ops="GridSample",
    tolerance=2e-5,
    example="""
<ir_version: 10, opset_import: ["" : 20]>
sample (float[2, 3, 4, 5, 6] x, float[2, 3, 2, 4, 3] grid) => (float[2, 3, 3, 2, 4] y) {
  y = GridSample <mode = "linear", padding_mode = "reflection"> (x, grid)
}
""",
)
def grid_sample(node: ir.Node, build: Builder) -> Replacement:
    """The elements around every position are gathered and weighted; beyond the border as the padding mode says."""
    x, grid = node.inputs[0], node.inputs[1]
    sizes, wanted = shape(x), shape(grid)
    if x is None or grid is None or sizes is None or wanted is None or None in sizes[1:] or None in wanted[1:]:
        raise NotApplicable("the sizes of input and grid are not known")
    if dtype(x) not in FLOATS:
        raise NotApplicable("it samples integers")
    mode = attribute(node, "mode", "linear").removeprefix("bi")
    corners = bool(attribute(node, "align_corners", 0))
    spatial, output = [int(n or 0) for n in sizes[2:]], [int(n or 0) for n in wanted[1:-1]]
    lattice = Lattice(spatial, mode, attribute(node, "padding_mode", "zeros"), corners)
    wide = dtype(x) != ir.DataType.FLOAT
    image = build.op("Cast", x, to=int(ir.DataType.FLOAT)) if wide else x
    rows = channel_rows(build, image, int(sizes[1] or 0), math.prod(spatial))
    if dtype(grid) != ir.DataType.FLOAT:
        grid = build.op("Cast", grid, to=int(ir.DataType.FLOAT))
    flat = build.op("Reshape", grid, np.asarray([-1, math.prod(output), len(spatial)]))
    positions = []
    for axis, size in enumerate(spatial):
        # The grid names the last axis first.
        part = build.op("Gather", flat, np.asarray(len(spatial) - 1 - axis), axis=2)
        part = build.op("Add", part, 1.0)
        if corners:
            positions.append(build.op("Mul", build.op("Div", part, 2.0), float(size - 1)))
        else:
            positions.append(build.op("Div", build.op("Sub", build.op("Mul", part, float(size)), 1.0), 2.0))
    values = read(build, rows, positions, lattice)
    y = build.op("Reshape", build.op("Transpose", values, perm=[0, 2, 1]), np.asarray([-1, sizes[1], *output]))
    return build.op("CastLike", y, x) if wide else y


@repair(
    "deform-conv-by-gather",
    ops="DeformConv",
    tolerance=2e-5,
    example="""
<ir_version: 10, opset_import: ["" : 19]>
conv (float[1, 2, 5, 5] x, float[4, 2, 3, 3] w, float[1, 18, 3, 3] offset, float[4] b, float[1, 9, 3, 3] mask)
  => (float[1, 4, 3, 3] y) { y = DeformConv (x, w, offset, b, mask) }
""",
)
def deform_conv(node: ir.Node, build: Builder) -> Replacement:
    """Each element of the kernel sees a linear sample at its own offset; the kernel is applied by a matrix product."""
    x, w, offset = node.inputs[0], node.inputs[1], node.inputs[2]
    sizes, kernel, moves = shape(x), static_shape(w), shape(offset)
    if x is None or w is None or sizes is None or kernel is None or moves is None or None in (*sizes[1:], *moves[1:]):
        raise NotApplicable("the sizes of input, kernel and offsets are not known")
    if len(sizes) != 4:
        raise NotApplicable("it is no convolution over an image")
    if dtype(x) != ir.DataType.FLOAT:
        raise NotApplicable("its input is no float32")
    channels, height, width = (int(n or 0) for n in sizes[1:])
    groups, parts = int(attribute(node, "group", 1)), int(attribute(node, "offset_group", 1))
    filters, taps = kernel[0], kernel[2] * kernel[3]
    strides, dilations = attribute(node, "strides") or [1, 1], attribute(node, "dilations") or [1, 1]
    pads = attribute(node, "pads") or [0, 0, 0, 0]
    out = [int(n or 0) for n in moves[2:]]
    count = out[0] * out[1]
    # [N * parts, taps, 2, count]: how far each sample is moved along y and x.
    moved = build.op("Reshape", offset, np.asarray([-1, taps, 2, count]))
    positions = []
    for axis in range(2):
        steps = np.arange(kernel[2 + axis]) * dilations[axis]
        starts = np.arange(out[axis]) * strides[axis] - pads[axis]
        index: list[slice | None] = [None, None, None, None]
        index[axis] = index[2 + axis] = slice(None)
        grid = np.broadcast_to((steps[:, None] + starts)[tuple(index)], (*kernel[2:], *out)).reshape(1, taps, count)
        part = build.op("Gather", moved, np.asarray(axis), axis=2)
        part = build.op("Add", part, grid.astype(np.float32))
        positions.append(build.op("Reshape", part, np.asarray([-1, taps * count])))
    rows = channel_rows(build, x, channels // parts, height * width)
    values = read(build, rows, positions, Lattice([height, width], "linear", "zeros", False))
    mask = argument(node, 4)
    if mask is not None:
        values = build.op("Mul", values, build.op("Reshape", mask, np.asarray([-1, taps * count, 1])))
    values = build.op("Reshape", values, np.asarray([-1, parts, taps, count, channels // parts]))
    values = build.op("Transpose", values, perm=[0, 1, 4, 2, 3])
    values = build.op("Reshape", values, np.asarray([-1, groups, channels // groups * taps, count]))
    matrix = build.op("Reshape", w, np.asarray([groups, filters // groups, kernel[1] * taps]))
    y = build.op("Reshape", build.op("MatMul", matrix, values), np.asarray([-1, filters, *out]))
    bias = argument(node, 3)
    return y if bias is None else build.op("Add", y, build.op("Reshape", bias, np.asarray([1, -1, 1, 1])))
