"""Col2Im: an image put together from blocks, which overlap and are summed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import Arithmetic, Operand
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.repairs.selections import summed
from enginesmith.compat.values import Array, attribute, constant, dtype, shape, static_shape

MAX_MATRIX = 1 << 24
"""Elements of a matrix above which Col2Im is not written as one."""


class Blocks:
    """What Col2Im puts together: where each element of each block lies in the image."""

    def __init__(self, node: ir.Node, build: Builder) -> None:
        columns, output = shape(node.inputs[0]), shape(node.outputs[0])
        self.block = constant(node.inputs[2])
        image = constant(node.inputs[1])
        if image is None and output is not None and None not in output[2:]:
            image = np.asarray(output[2:], np.int64)
            if node.inputs[1] is not None:
                build.assume(node.inputs[1], image)
        rows = columns[1] if columns is not None else None
        if image is None or rows is None:
            raise NotApplicable("the sizes of input and output are not known")
        self.image = [int(size) for size in image]
        axes = range(len(self.image))
        self.strides = attribute(node, "strides") or [1 for _ in axes]
        self.dilations = attribute(node, "dilations") or [1 for _ in axes]
        self.pads = attribute(node, "pads") or [0 for _ in (*axes, *axes)]
        if self.block is not None:
            self.elements = math.prod(int(size) for size in self.block)
        elif output is not None and output[1] is not None:
            self.elements = rows // output[1]
        else:
            raise NotApplicable("the sizes of input and output are not known")
        self.channels = rows // self.elements

    def counts(self, block: tuple[int, ...] | list[int]) -> list[int]:
        """How many blocks of these sizes there are along each axis."""
        both = zip(self.image, self.pads[: len(block)], self.pads[len(block) :], strict=True)
        room = [size + before + after for size, before, after in both]
        terms = zip(room, block, self.dilations, self.strides, strict=True)
        return [(whole - dilation * (size - 1) - 1) // stride + 1 for whole, size, dilation, stride in terms]

    def possible(self, count: int) -> list[Array]:
        """The block sizes of which `count` fit into the image."""
        divisors = [n for n in range(1, self.elements + 1) if self.elements % n == 0]
        return [
            np.asarray(block)
            for block in itertools.product(divisors, repeat=len(self.image))
            if math.prod(block) == self.elements
            and min(self.counts(block)) > 0
            and math.prod(self.counts(block)) == count
        ]

    def sources(self, block: list[int]) -> Array:
        """Which elements of blocks lie on each element of the image, int64[places, most]: elements are counted as `columns` holds
        them, the blocks running fastest. As many as there are elements stands for none.
        """
        counts = self.counts(block)
        place, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
        for i, size in enumerate(self.image):
            within = np.arange(block[i])[:, None] * self.dilations[i] + np.arange(counts[i]) * self.strides[i]
            within = (within - self.pads[i])[None, :, None, :]
            pairs = (len(place) * block[i], -1)
            place = (place[:, None, :, None] * size + within).reshape(pairs)
            inside = (inside[:, None, :, None] & (within >= 0) & (within < size)).reshape(pairs)
        elements = np.flatnonzero(inside)
        order = elements[np.argsort(place.ravel()[elements], kind="stable")]
        targets = place.ravel()[order]
        many = np.bincount(targets, minlength=math.prod(self.image))
        turns = np.arange(len(order)) - (np.cumsum(many) - many)[targets]
        table = np.full((len(many), max(int(many.max(initial=0)), 1)), place.size)
        table[targets, turns] = order
        return table


@repair(
    "col2im-by-gather",
    ops="Col2Im",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
image (float[2, 8, 9] x) => (float[2, 2, 6, 6] y) <int64[2] size = {6, 6}, int64[2] block = {2, 2}> {
  y = Col2Im <strides = [2, 2]> (x, size, block)
}
""",
)
def col2im_by_gather(node: ir.Node, build: Builder) -> Replacement:
    """Each element of the image is the sum of the elements of blocks that lie on it, which are gathered; zeros where there are fewer."""
    blocks = Blocks(node, build)
    if blocks.block is None:
        raise NotApplicable("the block's size is known at run time only")
    kind = dtype(node.inputs[0])
    if kind is None:
        raise NotApplicable("its dtype is unknown")
    block = [int(size) for size in blocks.block]
    sources = blocks.sources(block)
    count = blocks.elements * math.prod(blocks.counts(block))
    x = build.op("Reshape", node.inputs[0], np.asarray([-1, count]))
    if (sources == count).any():
        x = build.op("Pad", x, np.asarray([0, 0, 0, 1]), np.zeros((), kind.numpy()))
    y = build.op("Gather", x, sources, axis=1)
    y = build.op("ReduceSum", y, np.asarray([2]), keepdims=0)
    return build.op("Reshape", y, np.asarray([-1, blocks.channels, *blocks.image]))


@repair(
    "col2im-by-matrix",
    ops="Col2Im",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
image (float[1, 5, 5] x, int64[2] block) => (float[1, 1, 5, 5] y) <int64[2] size = {5, 5}> {
  y = Col2Im (x, size, block)
}
""",
)
def col2im_by_matrix(node: ir.Node, build: Builder) -> Replacement:
    """A block's size that a run tells: a product with a matrix of zeros and ones, which follows from it."""
    blocks, calc = Blocks(node, build), Arithmetic(build)
    columns, given = static_shape(node.inputs[0]), node.inputs[2]
    if columns is None or given is None or blocks.block is not None:
        raise NotApplicable(
            "the block's size is known" if blocks.block is not None else "its input's size is not known"
        )
    many = columns[2]
    if blocks.elements * many * math.prod(blocks.image) > MAX_MATRIX:
        raise NotApplicable("the matrix would have too many elements")
    if dtype(node.inputs[0]) != ir.DataType.FLOAT:
        raise NotApplicable("its elements are no float32")
    build.assume(given, *blocks.possible(many))
    op, axes = calc.op, len(blocks.image)
    element: Operand = np.arange(blocks.elements)
    number: Operand = np.arange(many)
    chosen: Operand = np.ones((1, 1, 1), bool)
    # Elements and blocks are counted with the last axis running fastest, and so are the image's places.
    for i in reversed(range(axes)):
        size = op("Gather", given, [i])
        room = blocks.image[i] + blocks.pads[i] + blocks.pads[i + axes] - 1
        reach = op("Sub", room, op("Mul", op("Sub", size, 1), blocks.dilations[i]))
        count = op("Add", op("Div", reach, blocks.strides[i]), 1)
        inner, outer = op("Mod", element, size), op("Mod", number, count)
        element, number = op("Div", element, size), op("Div", number, count)
        shifts = op("Reshape", op("Mul", inner, blocks.dilations[i]), [1, -1, 1])
        starts = op("Reshape", op("Sub", op("Mul", outer, blocks.strides[i]), blocks.pads[i]), [1, 1, -1])
        here = op("Equal", np.arange(blocks.image[i]).reshape(-1, 1, 1), op("Add", shifts, starts))
        here = op("Reshape", here, [blocks.image[i], 1, -1])
        chosen = op("And", here, op("Reshape", chosen, [1, math.prod(blocks.image[i + 1 :]), -1]))
    matrix = calc.value(op("Reshape", chosen, [math.prod(blocks.image), -1]))
    x = build.op("Transpose", build.op("Reshape", node.inputs[0], [-1, blocks.elements * many]), perm=[1, 0])
    y = build.op("Transpose", summed(build, matrix, x, ir.DataType.FLOAT), perm=[1, 0])
    return build.op("Reshape", y, np.asarray([-1, blocks.channels, *blocks.image]))
