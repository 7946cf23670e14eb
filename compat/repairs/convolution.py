"""Convolutions, their transposes, and Col2Im, in the forms that backends refuse or compute in another way."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import Arithmetic, Operand, modern
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import Array, argument, attribute, constant, dtype, shape, static_shape

MAX_MATRIX = 1 << 24
"""Elements of a matrix above which Col2Im is not written as one."""


def _spatial(value: ir.Value | None, what: str) -> list[int]:
    """The sizes after the first two. Raises NotApplicable where one is not known."""
    sizes = shape(value)
    if sizes is None or len(sizes) < 3 or None in sizes[2:]:
        raise NotApplicable(f"the {what}'s sizes are not known")
    return [int(size or 0) for size in sizes[2:]]


@repair(
    "conv-transpose-explicit",
    ops="ConvTranspose",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
up (float[1, 1, 3, 3] x, float[1, 2, 3, 3] w) => (float[1, 2, 10, 8] y) {
  y = ConvTranspose <output_shape = [10, 8], strides = [3, 2]> (x, w)
}
""",
)
def conv_transpose_explicit(node: ir.Node, build: Builder) -> Replacement:
    """`output_shape` and `auto_pad` become the pads and the output_padding that they stand for."""
    wanted, auto = attribute(node, "output_shape"), attribute(node, "auto_pad", "NOTSET")
    if not wanted and auto == "NOTSET":
        raise NotApplicable("it has that form already")
    size, kernel = _spatial(node.inputs[0], "input"), _spatial(node.inputs[1], "kernel")
    count = len(size)
    strides = attribute(node, "strides") or [1] * count
    dilations = attribute(node, "dilations") or [1] * count
    added = attribute(node, "output_padding") or [0] * count
    whole = [strides[i] * (size[i] - 1) + added[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(count)]
    if not wanted:
        wanted = whole if auto == "VALID" else [size[i] * strides[i] for i in range(count)]
    wanted = wanted[-count:]
    before, after, missing = [], [], []
    for i in range(count):
        cut = max(whole[i] - wanted[i], 0)
        small, large = cut // 2, cut - cut // 2
        # ONNX's ConvTranspose: the odd one goes to the end for SAME_UPPER only.
        before.append(small if auto == "SAME_UPPER" else large)
        after.append(large if auto == "SAME_UPPER" else small)
        missing.append(max(wanted[i] - whole[i], 0))
    kept: dict[str, Any] = {
        name: item.value
        for name, item in node.attributes.items()
        if name not in ("auto_pad", "output_shape", "output_padding", "pads")
    }
    fits = all(more + n < max(s, d) for more, n, s, d in zip(missing, added, strides, dilations, strict=True))
    if fits:
        added = [more + n for more, n in zip(missing, added, strict=True)]
        return build.op("ConvTranspose", *node.inputs, **kept, pads=[*before, *after], output_padding=added)
    # More than a step of padding: no kernel reaches there, so that nothing but the bias is seen.
    x, w, bias = node.inputs[0], node.inputs[1], argument(node, 2)
    y = build.op("ConvTranspose", x, w, **kept, pads=[*before, *after], output_padding=added)
    zero = build.op("CastLike", 0.0, x)
    y = build.op("Pad", y, np.asarray([0, 0, *([0] * count), 0, 0, *missing]), zero)
    return y if bias is None else build.op("Add", y, build.op("Reshape", bias, np.asarray([1, -1, *([1] * count)])))


@repair(
    "conv-explicit-pads",
    ops="Conv",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
conv (float[1, 3, 8, 9] x, float[4, 3, 3, 2] w) => (float[1, 4, 4, 5] y) {
  y = Conv <auto_pad = "SAME_LOWER", strides = [2, 2]> (x, w)
}
""",
)
def conv_explicit_pads(node: ir.Node, build: Builder) -> Replacement:
    """`auto_pad` becomes the padding that it stands for."""
    auto = attribute(node, "auto_pad", "NOTSET")
    if auto == "NOTSET":
        raise NotApplicable("it has that form already")
    kernel = _spatial(node.inputs[1], "kernel")
    count = len(kernel)
    strides = attribute(node, "strides") or [1] * count
    dilations = attribute(node, "dilations") or [1] * count
    before, after = [0] * count, [0] * count
    if auto != "VALID":
        size = _spatial(node.inputs[0], "input")
        for i in range(count):
            span = (kernel[i] - 1) * dilations[i] + 1
            total = max((-(-size[i] // strides[i]) - 1) * strides[i] + span - size[i], 0)
            small, large = total // 2, total - total // 2
            before[i], after[i] = (small, large) if auto == "SAME_UPPER" else (large, small)
    return build.again(node, *node.inputs, auto_pad=None, pads=[*before, *after])


@repair(
    "conv-1d-as-2d",
    ops=("Conv", "ConvTranspose"),
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
conv (float[1, 3, 8] x, float[4, 3, 3] w) => (float[1, 4, 8] y) { y = Conv <pads = [1, 1]> (x, w) }
""",
)
def conv_1d_as_2d(node: ir.Node, build: Builder) -> Replacement:
    """A convolution along one axis is one over an image of height 1."""
    sizes = shape(node.inputs[1])
    if sizes is None or len(sizes) != 3:
        raise NotApplicable("it is no convolution along one axis")
    modern(build)
    first = {"strides": 1, "dilations": 1, "kernel_shape": 1, "output_padding": 0, "output_shape": 1}
    kept: dict[str, Any] = {name: item.value for name, item in node.attributes.items()}
    for name, filler in first.items():
        if name in kept:
            kept[name] = [filler, *kept[name]]
    if "pads" in kept:
        kept["pads"] = [0, kept["pads"][0], 0, kept["pads"][1]]
    x, w = (build.op("Unsqueeze", value, [2]) for value in node.inputs[:2])
    return build.op("Squeeze", build.op(node.op_type, x, w, *node.inputs[2:], **kept), [2])


@repair(
    "conv-transpose-undilated",
    ops="ConvTranspose",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
up (float[1, 2, 5, 5] x) => (float[1, 1, 11, 11] y)
  <float[2, 1, 2, 2] w = {0.5, 1.0, -2.0, 0.25, 1.5, -1.0, 0.75, 2.0}> {
  y = ConvTranspose <dilations = [2, 2], strides = [2, 2]> (x, w)
}
""",
)
def conv_transpose_undilated(node: ir.Node, build: Builder) -> Replacement:
    """A dilated kernel is one with zeros between its elements."""
    kernel, dilations = constant(node.inputs[1]), attribute(node, "dilations")
    if kernel is None or not dilations or max(dilations) == 1:
        raise NotApplicable("it is not dilated" if kernel is not None else "its kernel is known at run time only")
    spread = [(size - 1) * dilation + 1 for size, dilation in zip(kernel.shape[2:], dilations, strict=True)]
    wide = np.zeros((*kernel.shape[:2], *spread), kernel.dtype)
    wide[(slice(None), slice(None), *(slice(None, None, dilation) for dilation in dilations))] = kernel
    return build.again(node, node.inputs[0], wide, *node.inputs[2:], dilations=None, kernel_shape=None)


class Blocks:
    """What Col2Im puts together: where each element of each block lies in the image."""

    def __init__(self, node: ir.Node, build: Builder) -> None:
        self.columns = static_shape(node.inputs[0])
        output = static_shape(node.outputs[0])
        image = constant(node.inputs[1])
        if image is None and output is not None:
            image = np.asarray(output[2:], np.int64)
        if self.columns is None or image is None:
            raise NotApplicable("the sizes of input and output are not known")
        self.image = [int(size) for size in image]
        axes = range(len(self.image))
        self.strides = attribute(node, "strides") or [1 for _ in axes]
        self.dilations = attribute(node, "dilations") or [1 for _ in axes]
        self.pads = attribute(node, "pads") or [0 for _ in (*axes, *axes)]
        self.block = constant(node.inputs[2])
        if self.block is not None:
            self.elements = math.prod(int(size) for size in self.block)
        elif output is not None:
            self.elements = self.columns[1] // output[1]
        else:
            raise NotApplicable("the sizes of input and output are not known")
        self.channels = self.columns[1] // self.elements

    def counts(self, block: tuple[int, ...] | list[int]) -> list[int]:
        """How many blocks of these sizes there are along each axis."""
        both = zip(self.image, self.pads[: len(block)], self.pads[len(block) :], strict=True)
        room = [size + before + after for size, before, after in both]
        terms = zip(room, block, self.dilations, self.strides, strict=True)
        return [(whole - dilation * (size - 1) - 1) // stride + 1 for whole, size, dilation, stride in terms]

    def possible(self) -> list[Array]:
        """The block sizes that the declared sizes allow."""
        divisors = [n for n in range(1, self.elements + 1) if self.elements % n == 0]
        assert self.columns is not None
        return [
            np.asarray(block)
            for block in itertools.product(divisors, repeat=len(self.image))
            if math.prod(block) == self.elements
            and min(self.counts(block)) > 0
            and math.prod(self.counts(block)) == self.columns[2]
        ]


@repair(
    "col2im-by-convolution",
    ops="Col2Im",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
image (float[1, 8, 9] x) => (float[1, 2, 6, 6] y) <int64[2] size = {6, 6}, int64[2] block = {2, 2}> {
  y = Col2Im <strides = [2, 2]> (x, size, block)
}
""",
)
def col2im_by_convolution(node: ir.Node, build: Builder) -> Replacement:
    """Each element of a block is put in its place by a transposed convolution with a kernel that is 1 there only."""
    blocks = Blocks(node, build)
    if blocks.block is None:
        raise NotApplicable("the block's size is known at run time only")
    if len(blocks.image) not in (2, 3):
        raise NotApplicable("the image has neither two nor three axes")
    block = [int(size) for size in blocks.block]
    counts = blocks.counts(block)
    axes = range(len(block))
    if constant(node.inputs[1]) is None and node.inputs[1] is not None:
        build.assume(node.inputs[1], np.asarray(blocks.image))
    kind = dtype(node.inputs[0])
    if kind is None or not kind.is_floating_point():
        raise NotApplicable("its elements are no floating-point numbers")
    kernel = np.eye(blocks.elements, dtype=kind.numpy()).reshape(blocks.elements, 1, *block)
    reached = [(counts[i] - 1) * blocks.strides[i] + (block[i] - 1) * blocks.dilations[i] + 1 for i in axes]
    # What lies between the last block and the border stays empty: less is cut off there, or something added.
    after = [reached[i] - blocks.pads[i] - blocks.image[i] for i in axes]
    x = build.op("Reshape", node.inputs[0], np.asarray([-1, blocks.elements, *counts]))
    pads = [*(blocks.pads[i] for i in axes), *(max(n, 0) for n in after)]
    y = build.op("ConvTranspose", x, kernel, strides=blocks.strides, dilations=blocks.dilations, pads=pads)
    if min(after) < 0:
        missing = np.asarray([0, 0, *(0 for _ in axes), 0, 0, *(max(-n, 0) for n in after)])
        y = build.op("Pad", y, missing, build.op("CastLike", 0.0, node.inputs[0]))
    return build.op("Reshape", y, np.asarray([-1, blocks.channels, *blocks.image]))


@repair(
    "col2im-by-matrix",
    ops="Col2Im",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
image (float[1, 5, 5] x) => (float[1, 1, 5, 5] y) <int64[2] size = {5, 5}, int64[2] block = {1, 5}> {
  y = Col2Im (x, size, block)
}
""",
)
def col2im_by_matrix(node: ir.Node, build: Builder) -> Replacement:
    """A product with a matrix of zeros and ones, which follows from the block's size, at run time if need be."""
    blocks, calc = Blocks(node, build), Arithmetic(build)
    assert blocks.columns is not None
    if blocks.columns[1] // blocks.channels * blocks.columns[2] * math.prod(blocks.image) > MAX_MATRIX:
        raise NotApplicable("the matrix would have too many elements")
    if dtype(node.inputs[0]) != ir.DataType.FLOAT:
        raise NotApplicable("its elements are no float32")
    given = node.inputs[2]
    if blocks.block is None and given is not None:
        build.assume(given, *blocks.possible())
    if constant(node.inputs[1]) is None and node.inputs[1] is not None:
        build.assume(node.inputs[1], np.asarray(blocks.image))
    op, count = calc.op, len(blocks.image)
    element: Operand = np.arange(blocks.elements)
    block: Operand = np.arange(blocks.columns[2])
    matrix: Operand = np.ones((1, 1), np.float32)
    # Elements and blocks are counted with the last axis running fastest.
    for i in reversed(range(count)):
        size = op("Gather", given, [i])
        room = blocks.image[i] + blocks.pads[i] + blocks.pads[i + count] - 1
        many = op(
            "Add", op("Div", op("Sub", room, op("Mul", op("Sub", size, 1), blocks.dilations[i])), blocks.strides[i]), 1
        )
        inner, outer = op("Mod", element, size), op("Mod", block, many)
        element, block = op("Div", element, size), op("Div", block, many)
        shifts = op("Reshape", op("Mul", inner, blocks.dilations[i]), [-1, 1, 1])
        starts = op("Reshape", op("Sub", op("Mul", outer, blocks.strides[i]), blocks.pads[i]), [1, -1, 1])
        here = op("Equal", op("Add", shifts, starts), np.arange(blocks.image[i]).reshape(1, 1, -1))
        places = op("Reshape", op("Cast", here, to=1), [-1, blocks.image[i], 1])
        matrix = (
            places
            if i == count - 1
            else op("Mul", places, op("Reshape", matrix, [blocks.elements * blocks.columns[2], 1, -1]))
        )
        matrix = op("Reshape", matrix, [blocks.elements * blocks.columns[2], -1])
    x = build.op("Reshape", node.inputs[0], np.asarray([-1, blocks.elements * blocks.columns[2]]))
    return build.op("Reshape", build.op("MatMul", x, matrix), np.asarray([-1, blocks.channels, *blocks.image]))
