"""What TVM's ONNX frontend refuses: operators without a converter, and restrictions that its converters state.

Source of every rule: tvm/relax/frontend/onnx/onnx_frontend.py of 0.27, and what it said to ONNX's node tests.
"""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.rule import rule
from enginesmith.compat.checks.sources import FRONTEND
from enginesmith.compat.operators import REDUCTIONS
from enginesmith.compat.target import TVM, Target
from enginesmith.compat.values import argument, attribute, constant, dtype, rank, used

CONSTANT = {
    **{op: {1: "axes"} for op in REDUCTIONS},
    "CumSum": {1: "axis"},
    "OneHot": {1: "depth", 2: "values"},
    "Pad": {1: "pads", 2: "constant_value", 3: "axes"},
    "SequenceAt": {1: "position"},
    "SequenceErase": {1: "position"},
    "SequenceInsert": {2: "position"},
    "SplitToSequence": {1: "split"},
    "Split": {1: "split"},
    "TopK": {1: "K"},
}
"""Operator to its inputs that must be constants, by their place."""
SIZES = {
    "AffineGrid": {1: "size"},
    "Resize": {2: "scales", 3: "sizes"},
    "Reshape": {1: "shape"},
    "Upsample": {1: "scales"},
}
"""The same; these may also come from Shape by an arithmetic that the frontend follows."""
TAKE_SHAPES = {"Reshape", "Resize", "ConstantOfShape", "Gather", "Slice", "Shape", "Expand", "Concat", "Equal", "Where",
               "Cast", "CastLike", "Squeeze"}  # fmt: skip
"""Operators whose converters read what Shape gives; the frontend refuses it for any other."""
SAME_TYPE = ("Add", "Sub", "Mul", "Div", "Pow", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal")


@rule(
    "tvm-strings",
    ops="*",
    backends=TVM,
    remedy="take the part that works on strings out of the model",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
same (string[2] x) => (string[2] y) { y = Identity (x) }
""",
)
def strings(node: ir.Node, target: Target) -> str | None:
    """TVM has no strings."""
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    return "TVM has no strings" if any(dtype(value) == ir.DataType.STRING for value in values) else None


@rule(
    "tvm-sequence-input",
    ops="*",
    backends=TVM,
    remedy="give the model its tensors one by one",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
first (seq(float[2]) x) => (float[2] y) <int64 zero = {0}> { y = SequenceAt (x, zero) }
""",
)
def sequence_input(node: ir.Node, target: Target) -> str | None:
    """A graph's inputs must be tensors: TVM knows no sequence whose length is only known at run time."""
    for value in node.inputs:
        if value is not None and value.is_graph_input() and isinstance(value.type, ir.SequenceType | ir.OptionalType):
            return f"the graph's input {value.name} is no tensor"
    return None


@rule(
    "tvm-constant-inputs",
    ops=CONSTANT,
    backends=TVM,
    remedy="fold it into a constant",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sums (float[2, 3] x, int64[1] axes) => (float[a, b] y) { y = ReduceSum (x, axes) }
""",
)
def constant_inputs(node: ir.Node, target: Target) -> str | None:
    """Some inputs decide on the graph that the frontend makes, and must be constants."""
    names = CONSTANT[node.op_type]
    for index, name in names.items():
        value = argument(node, index)
        if value is not None and constant(value) is None:
            return f"{name} must be constant"
    return None


@rule(
    "tvm-constant-sizes",
    ops=SIZES,
    backends=TVM,
    remedy="fold it into a constant",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
reshaped (float[2, 3] x, int64[2] sizes) => (float[a, b] y) { y = Reshape (x, sizes) }
""",
)
def constant_sizes(node: ir.Node, target: Target) -> str | None:
    """A new size must be a constant, or computed from other tensors' sizes."""
    for index, name in SIZES[node.op_type].items():
        value = argument(node, index)
        if value is not None and constant(value) is None and not _is_shape(value):
            return f"{name} must be constant"
    return None


@rule(
    "tvm-shape-arithmetic",
    ops="*",
    backends=TVM,
    remedy="fold the arithmetic on sizes: give the inputs static shapes and simplify the graph",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sizes (float[2, 3] x) => (float[2] y) { s = Shape (x)  t = Neg (s)  y = Cast <to = 1> (t) }
""",
)
def shape_arithmetic(node: ir.Node, target: Target) -> str | None:
    """Sizes are a kind of their own in TVM, which only some operators take."""
    if node.op_type in TAKE_SHAPES:
        return None
    return "it can't take sizes that come from Shape" if any(map(_is_shape, node.inputs)) else None


def _is_shape(value: ir.Value | None, depth: int = 16) -> bool:
    """Does the frontend hold a value as sizes (a ShapeExpr), not as a tensor?"""
    node = value.producer() if value is not None else None
    if node is None or depth == 0:
        return False
    match node.op_type:
        case "Shape":
            return True
        case "Reshape":
            target = constant(argument(node, 1))
            return _is_shape(node.inputs[0], depth - 1) and target is not None and target.tolist() == [-1]
        case "Concat":
            return all(_is_shape(part, depth - 1) or _is_vector(part) for part in node.inputs)
        case "Unsqueeze":
            return _is_size(node.inputs[0], depth - 1)
        case "Where":
            parts = node.inputs[1:]
            return any(_is_shape(part, depth - 1) for part in parts) and all(
                _is_shape(part, depth - 1) or constant(part) is not None for part in parts
            )
    return False


def _is_size(value: ir.Value | None, depth: int) -> bool:
    """Is it one element of sizes, which the frontend holds as a number?"""
    node = value.producer() if value is not None else None
    if node is None or depth == 0:
        return False
    if node.op_type == "Gather":
        index = constant(argument(node, 1))
        return index is not None and index.ndim == 0 and _is_shape(node.inputs[0], depth - 1)
    return node.op_type == "Squeeze" and _is_shape(node.inputs[0], depth - 1)


def _is_vector(value: ir.Value | None) -> bool:
    array = constant(value)
    return array is not None and array.ndim == 1 and array.dtype == "int64"


@rule(
    "tvm-constant-form",
    ops="Constant",
    backends=TVM,
    remedy="give it by the attribute value",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
half (float[3] x) => (float[3] y) { h = Constant <value_float = 0.5> ()  y = Mul (x, h) }
""",
)
def constant_form(node: ir.Node, target: Target) -> str | None:
    """Of the forms of a Constant the frontend reads the tensor alone."""
    return None if "value" in node.attributes else f"it is given by {', '.join(node.attributes)}"


@rule(
    "tvm-attention",
    ops="Attention",
    backends=TVM,
    remedy="write it as MatMul and Softmax",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 23]>
attend (float[1, 2, 4, 8] q, float[1, 2, 4, 8] k, float[1, 2, 4, 8] v) => (float[1, 2, 4, 8] y) { y = Attention (q, k, v) }
""",
)
def attention(node: ir.Node, target: Target) -> str | None:
    """The frontend takes an Attention of ONNX for ONNX Runtime's own operator of that name."""
    return "TVM takes it for the operator of com.microsoft"


@rule(
    "tvm-mixed-types",
    ops=SAME_TYPE,
    backends=TVM,
    remedy="cast one of its inputs",
    source="tvm/src/relax/op/tensor/binary.cc",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
power (float[3] x, int64[3] n) => (float[3] y) { y = Pow (x, n) }
""",
)
def mixed_types(node: ir.Node, target: Target) -> str | None:
    """Both inputs of an arithmetic operator must have the same element type."""
    left, right = map(dtype, node.inputs[:2])
    return f"its inputs are {left.name.lower()} and {right.name.lower()}" if left and right and left != right else None


@rule(
    "tvm-integer-power",
    ops="Pow",
    backends=TVM,
    remedy="cast its inputs to float, or write it as products",
    source="tvm/src/tirx/op/op.cc",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
power (int64[3] x, int64[3] n) => (int64[3] y) { y = Pow (x, n) }
""",
)
def integer_power(node: ir.Node, target: Target) -> str | None:
    """Powers are of floating-point numbers only."""
    kind = dtype(node.inputs[0])
    return "TVM has no powers of integers" if kind is not None and kind.is_integer() else None


@rule(
    "tvm-eyelike-type",
    ops="EyeLike",
    backends=TVM,
    remedy="cast its result",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
eye (int32[3, 3] x) => (float[3, 3] y) { y = EyeLike <dtype = 1> (x) }
""",
)
def eyelike_type(node: ir.Node, target: Target) -> str | None:
    """EyeLike can't have another element type than its input."""
    asked, given = attribute(node, "dtype"), dtype(node.inputs[0])
    return f"dtype differs from the input's {given.name.lower()}" if asked and given and asked != given.value else None


@rule(
    "tvm-pool-indices",
    ops="MaxPool",
    backends=TVM,
    remedy="leave them out, or compute them apart",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
pool (float[1, 1, 4, 4] x) => (float[1, 1, 2, 2] y, int64[1, 1, 2, 2] i) { y, i = MaxPool <kernel_shape = [3, 3]> (x) }
""",
)
def pool_indices(node: ir.Node, target: Target) -> str | None:
    """A MaxPool has one output in TVM, its indices are missing."""
    return "TVM doesn't give its indices" if used(node, 1) else None


@rule(
    "tvm-topk-unsorted",
    ops="TopK",
    backends=TVM,
    remedy="set sorted to 1",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
top (float[5] x) => (float[2] y, int64[2] i) <int64[1] k = {2}> { y, i = TopK <sorted = 0> (x, k) }
""",
)
def topk_unsorted(node: ir.Node, target: Target) -> str | None:
    """TopK's results are always sorted, and sorted = 0 is refused."""
    return "sorted is 0" if attribute(node, "sorted", 1) == 0 else None


@rule(
    "tvm-spatial-rank",
    ops=("Conv", "ConvTranspose", "Resize", "LRN", "GridSample"),
    backends=TVM,
    remedy="move the other axes into the batch",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
up (float[2, 4] x) => (float[4, 8] y) <float[2] scales = {2, 2}> { y = Resize <mode = "linear"> (x, , scales) }
""",
)
def spatial_rank(node: ir.Node, target: Target) -> str | None:
    """Operators on pictures take one to three spatial axes after batch and channels; LRN up to two, GridSample two or three."""
    allowed = {"LRN": (3, 4), "GridSample": (4, 5)}.get(node.op_type, (3, 4, 5))
    found = rank(node.inputs[0])
    return f"its input has {found} axes" if found is not None and found not in allowed else None


@rule(
    "tvm-quantize-blocked",
    ops=("QuantizeLinear", "DequantizeLinear"),
    backends=TVM,
    remedy="use a scale for each tensor or channel",
    source=FRONTEND,
    example="""
<ir_version: 10, opset_import: ["" : 21]>
blocks (int8[2, 4] x, float[2, 2] s) => (float[2, 4] y) { y = DequantizeLinear <axis = 1, block_size = 2> (x, s) }
""",
)
def quantize_blocked(node: ir.Node, target: Target) -> str | None:
    """Quantization with a scale for each block of an axis is refused."""
    return f"block_size is {attribute(node, 'block_size')}" if attribute(node, "block_size", 0) else None


@rule(
    "tvm-rms-whole",
    ops="RMSNormalization",
    backends=TVM,
    remedy="write it as Mul, ReduceMean and Sqrt",
    source="a trial with TVM 0.27",
    example="""
<ir_version: 11, opset_import: ["" : 23]>
norm (float[2, 3] x, float[2, 3] s) => (float[2, 3] y) { y = RMSNormalization <axis = 0> (x, s) }
""",
)
def rms_whole(node: ir.Node, target: Target) -> str | None:
    """An RMSNormalization over every axis can't be lowered: its statistics have no axis left."""
    axes = rank(node.inputs[0])
    return "it normalizes over every axis" if axes and attribute(node, "axis", -1) in (0, -axes) else None


@rule(
    "tvm-split-empty",
    ops="Split",
    backends=TVM,
    remedy="leave the empty parts out",
    source="tvm/src/relax/op/tensor/manipulate.cc",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
parts (float[4, 2] x) => (float[0, 2] none, float[4, 2] y) <int64[2] sizes = {0, 4}> { none, y = Split <axis = 0> (x, sizes) }
""",
)
def split_empty(node: ir.Node, target: Target) -> str | None:
    """A Split can't have empty parts."""
    sizes = constant(argument(node, 1))
    return "one of its parts is empty" if sizes is not None and not sizes.all() else None
