"""Convolutions and their transposes, in the forms that backends refuse or compute in another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import modern
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, constant, shape


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
