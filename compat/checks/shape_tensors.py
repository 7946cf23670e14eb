"""Shape tensors: values that decide on the shape of a result. TensorRT computes them apart from the other tensors, by fewer
layers and with fewer axes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import onnx_ir as ir

from enginesmith.compat.checks.origin import MAX_WALK, SIZES, inputs_behind, origin
from enginesmith.compat.checks.rule import rule
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import argument, constant_tensor, dtype, label, rank

SHAPE_OPERANDS = {
    "ConstantOfShape": (0,), "Expand": (1,), "Loop": (0,), "OneHot": (1,), "Pad": (1,), "Range": (0, 1, 2),
    "Reshape": (1,), "Resize": (3,), "Slice": (1, 2, 4), "Split": (1,), "Tile": (1,), "TopK": (1,),
}  # fmt: skip
"""The inputs of operators that decide on the shape of their results."""


@rule(
    "float-decides-on-shape",
    ops=tuple(SHAPE_OPERANDS),
    backends=TENSORRT,
    remedy="give it as a constant, or as an integer",
    source="TensorRT: «Network input is a shape tensor and must have type Int32 or Int64»",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
steps (float a, float b, float c) => (float[n] y) { y = Range (a, b, c) }
""",
)
def float_decides_on_shape(node: ir.Node, target: Target) -> str | None:
    """What decides on the shape of a result may come from constants, from shapes, and from inputs of the network that
    are integers. It may not come from other inputs, however it is computed."""
    for index, value in _content_behind(node):
        if dtype(value) not in (ir.DataType.INT32, ir.DataType.INT64, ir.DataType.BOOL, None):
            return f"its input {index} follows from the content of {value.name}, which is no integer"
    return None


@rule(
    "shape-input",
    ops=tuple(SHAPE_OPERANDS),
    backends=TENSORRT,
    severity="info",
    remedy="give the input's least, usual and greatest values when building, or make it a constant",
    source="TensorRT: inputs that are shape tensors need an optimization profile of their values",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
shaped (float[4] x, int64[2] size) => (float[a, b] y) { y = Reshape (x, size) }
""",
)
def shape_input(node: ir.Node, target: Target) -> str | None:
    """What an integer input holds decides on a shape: the builder must be told the range of its values."""
    for _, value in _content_behind(node):
        if dtype(value) in (ir.DataType.INT32, ir.DataType.INT64):
            return f"the values of {value.name} decide on its shape"
    return None


def _content_behind(node: ir.Node) -> Iterator[tuple[int, ir.Value]]:
    """Inputs of the network whose content decides on the shape of a node's result, with the node's own input that they do it by;
    for each in the order of their names."""
    for index in SHAPE_OPERANDS[node.op_type]:
        operand = argument(node, index)
        if operand is not None and origin(operand) != "constant":
            yield from ((index, value) for value in sorted(inputs_behind(operand), key=lambda found: found.name or ""))


class Layer(NamedTuple):
    """A layer of TensorRT that computes no shape tensor, by its name in TensorRT's messages, and in which versions not."""

    name: str
    versions: str


ONE_HOT, TOP_K, SCATTER, UNARY, FILL = (
    Layer("IOneHotLayer", "<11"),
    Layer("ITopKLayer", "<9"),
    Layer("IScatterLayer", "<9"),
    Layer("IUnaryLayer", "<8.6"),
    Layer("IFillLayer", "<9"),
)
NO_SHAPES = {
    "OneHot": ONE_HOT,
    **dict.fromkeys(("TopK", "ArgMax", "ArgMin"), TOP_K),
    **dict.fromkeys(("Scatter", "ScatterElements", "ScatterND"), SCATTER),
    **dict.fromkeys(("Round", "Ceil", "Sqrt", "Not"), UNARY),
    **dict.fromkeys(("RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike"), FILL),
}
"""Those that public reports name. Others may be refused too; what none was reported of is not predicted."""


@rule(
    "shape-tensor-layer",
    ops=tuple(SHAPE_OPERANDS),
    backends=("tensorrt",),
    versions="<11",
    remedy="fold it into a constant where it is one, or compute the size by Gather, Concat and arithmetic on the results of Shape",
    source="TensorRT: «cannot be used to compute a shape tensor»; NVIDIA/TensorRT#1890, #3706, #4474, mit-han-lab/efficientvit#70, "
    "NVIDIA-AI-IOT/nanosam#40 (10.x); TensorRT-RTX 1.7 takes all of them",
    example="""
<ir_version: 10, opset_import: ["" : 13]>
repeated (float[1, 4] x, float[n, 2] p) => (float[a, 4] y) <int64 z = {0}, int64 two = {2}, int64[2] v = {0, 1}, int64[2] ones = {1, 1}> {
  s = Shape (p)  h = OneHot (z, two, v)  m = Mul (s, h)  r = Max (m, ones)  y = Tile (x, r)
}
""",
)
def shape_tensor_layer(node: ir.Node, target: Target) -> str | None:
    """Some layers compute no shape tensor, whatever they are computed from: constants too, as the parser folds nothing."""
    for behind in _computing_shape(node):
        layer = NO_SHAPES.get(behind.op_type)
        if layer is not None and target.within(layer.versions):
            return f"{label(behind)} decides on its shape, and an {layer.name} can't compute a shape tensor"
    return None


@rule(
    "shape-tensor-axes",
    ops=tuple(SHAPE_OPERANDS),
    backends=("tensorrt",),
    versions="<9",
    remedy="fold it into a constant, as a simplifier does, or write the padding with Concat",
    source="TensorRT: «IShuffleLayer applied to shape tensor must have 0 or 1 reshape dimensions»; "
    "NVIDIA/TensorRT#2088, #2487, #2618 (fixed in 9.0), #2755",
    example="""
<ir_version: 10, opset_import: ["" : 13]>
padded (float[4, 4] x) => (float[a, b] y) <int64[4] p = {1, 1, 1, 1}, int64[2] pairs = {-1, 2}, int64[1] flat = {-1}> {
  m = Reshape (p, pairs)  t = Transpose <perm = [1, 0]> (m)  r = Reshape (t, flat)  y = Pad (x, r)
}
""",
)
def shape_tensor_axes(node: ir.Node, target: Target) -> str | None:
    """Before 9 a shape tensor is a scalar or a vector. torch's F.pad, exported by tracing, lays its sizes out in a matrix."""
    for behind in _computing_shape(node):
        if behind.op_type in ("Reshape", "Transpose") and (axes := rank(behind.outputs[0])) is not None and axes > 1:
            return f"{label(behind)} lays the sizes that decide on its shape out in {axes} axes"
    return None


def _computing_shape(node: ir.Node) -> Iterator[ir.Node]:
    """The nodes that compute what decides on the shape of a node's result, back to constants, inputs and sizes."""
    seen: set[ir.Value] = set()
    stack = [argument(node, index) for index in SHAPE_OPERANDS[node.op_type]]
    while stack and len(seen) < MAX_WALK:
        value = stack.pop()
        if value is None or value in seen or constant_tensor(value) is not None:
            continue
        seen.add(value)
        behind = value.producer()
        if behind is not None and behind.op_type not in SIZES:
            yield behind
            stack += behind.inputs
