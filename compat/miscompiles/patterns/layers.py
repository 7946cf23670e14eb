"""Layers whose form, or whose company, makes the builder or the parser go wrong."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.miscompiles.patterns.around import (
    ancestors,
    following,
    is_half,
    maker,
    siblings,
    weighted,
)
from enginesmith.compat.miscompiles.patterns.registry import pattern
from enginesmith.compat.values import argument, attribute, constant, shape, static_shape

NORMALIZATIONS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
WRITTEN_OUT = ("Mul", "Div", "Sqrt", "Reciprocal", "Add", "Sub", "Pow", "Cast", "Identity")
"""Operators of a normalization that is written out."""
ACTIVATIONS = ("Relu", "Gelu", "Sigmoid", "Tanh", "LeakyRelu", "HardSwish", "Erf", "Mul", "Add", "Identity")


@pattern("Resize")
def conditional_transposed_resize(node: ir.Node) -> str | None:
    """If, Transpose, Resize."""
    turned = maker(argument(node, 0), "Transpose", through=())
    chosen = maker(argument(turned, 0), "If", through=()) if turned is not None else None
    return "the result of an If is transposed and resized" if chosen is not None else None


@pattern("CumSum")
def sums_of_other_axes(node: ir.Node) -> str | None:
    """CumSum beside another one that sums along another axis."""
    own = _axis(node)
    others = {_axis(other) for other in siblings(node)} - {own, None}
    return (
        f"it sums along axis {own}, and another CumSum along {sorted(map(str, others))[0]}"
        if own is not None and others
        else None
    )


@pattern("CumSum")
def sums_the_other_way(node: ir.Node) -> str | None:
    """CumSum beside another one of the other direction."""
    own = attribute(node, "reverse", 0)
    if all(attribute(other, "reverse", 0) == own for other in siblings(node)):
        return None
    return f"reverse is {own} here, and {1 - own} in another CumSum"


@pattern("ConvTranspose")
def odd_padding(node: ir.Node) -> str | None:
    """A ConvTranspose by `output_shape` that leaves out an odd number of elements along an axis: ONNX takes the odd one from
    the beginning."""
    wanted, image, kernel = attribute(node, "output_shape"), static_shape(node.inputs[0]), static_shape(node.inputs[1])
    if not wanted or image is None or kernel is None or attribute(node, "auto_pad", "NOTSET") != "NOTSET":
        return None
    count = len(image) - 2
    sizes = zip(
        image[2:],
        kernel[2:],
        attribute(node, "strides") or [1] * count,
        attribute(node, "dilations") or [1] * count,
        attribute(node, "output_padding") or [0] * count,
        wanted[-count:],
        strict=True,
    )
    cut = [stride * (size - 1) + more + (taps - 1) * gap + 1 - out for size, taps, stride, gap, more, out in sizes]
    if not any(left > 0 and left % 2 for left in cut):
        return None
    return f"its output_shape leaves out {' and '.join(map(str, cut))} elements, of which the odd one is the first"


@pattern("MatMul")
def products_of_one_input(node: ir.Node) -> str | None:
    """Several products with weights of one normalized input, in half precision and for a batch of 1, which the builder makes
    one product of. What is an output of the graph stays out of it."""
    x, batch = argument(node, 0), (shape(node.outputs[0]) or [None])[0]
    if x is None or batch != 1 or not is_half(node.outputs[0]) or not weighted(node) or not _normalized(x):
        return None
    fused = [
        user
        for user, place in x.uses()
        if place == 0 and user.op_type == "MatMul" and weighted(user) and not user.outputs[0].is_graph_output()
    ]
    return f"{len(fused)} products of one normalized input" if len(fused) > 1 and fused[0] is node else None


@pattern("MatMul", "Gemm")
def vector_products(node: ir.Node) -> str | None:
    """Two products of a vector, one after the other."""
    if not _of_a_vector(node):
        return None
    before = maker(argument(node, 0), "MatMul", "Gemm", through=ACTIVATIONS)
    return "it follows another product of a vector" if before is not None and _of_a_vector(before) else None


@pattern("GroupNormalization")
def one_group(node: ir.Node) -> str | None:
    """GroupNormalization over all channels."""
    return "num_groups is 1" if attribute(node, "num_groups") == 1 else None


@pattern("GridSample")
def new_grid_sample_mode(node: ir.Node) -> str | None:
    """A GridSample whose mode has the name that it has since opset 20."""
    mode = attribute(node, "mode", "linear" if node.version and node.version >= 20 else "bilinear")
    return f"mode is {mode}" if mode in ("linear", "cubic") else None


@pattern("Gelu")
def returned_gelu(node: ir.Node) -> str | None:
    """A Gelu of a Concat, whose result is an output, resized, and compared with what it was made of."""
    joined = maker(argument(node, 0), "Concat", through=())
    if joined is None or not node.outputs[0].is_graph_output():
        return None
    resized = next(following(node, "Resize", through=()), None)
    compared = resized is not None and any(
        joined.outputs[0] in user.inputs for user in following(resized, "Greater", "Less", through=())
    )
    return "a Gelu of a Concat is an output, resized and compared with it" if compared else None


def _axis(node: ir.Node) -> int | None:
    known = constant(argument(node, 1))
    return int(known.reshape(-1)[0]) if known is not None and known.size else None


def _normalized(value: ir.Value) -> bool:
    """Is it what a normalization makes, one node or written out?"""
    if maker(value, *NORMALIZATIONS, through=("Cast", "Identity", "Reshape")) is not None:
        return True
    return any(made.op_type == "ReduceMean" for made in ancestors(value, 10, through=WRITTEN_OUT))


def _of_a_vector(node: ir.Node) -> bool:
    """Has the product one row, or one column?"""
    sizes = shape(node.outputs[0])
    return sizes is not None and len(sizes) > 1 and 1 in sizes[-2:]
