"""Elementwise operators and the element types that they can't take, for TensorRT and TensorRT-RTX."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.origin import origin
from enginesmith.compat.checks.rule import rule
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import FLOATS, argument, attribute, constant, constant_tensor, dtype, opset_of, rank

INTEGERS = (ir.DataType.INT32, ir.DataType.INT64)
ARITHMETIC = (
    "Add", "Div", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "Sum",
)  # fmt: skip
LOGIC = ("And", "Equal", "Or", "Xor")
INT32_RANGE = (-(2**31), 2**31 - 1)


@rule(
    "mod-of-floats",
    ops="Mod",
    backends=TENSORRT,
    remedy="write it as x - y * Floor(x / y)",
    source="onnx-tensorrt onnxOpImporters.cpp, Mod",
    example="""
<ir_version: 11, opset_import: ["" : 28]>
rest (float[4] x, float[4] z) => (float[4] y) { y = Mod (x, z) }
""",
)
def mod_of_floats(node: ir.Node, target: Target) -> str | None:
    """With fmod 0, both inputs are int32 or int64."""
    found = dtype(argument(node, 0))
    if attribute(node, "fmod", 0) or found is None or found in INTEGERS:
        return None
    return f"fmod is 0, and its input {found.name.lower()}"


@rule(
    "clip-type",
    ops="Clip",
    backends=TENSORRT,
    remedy="write it with Max and Min, or cast to int32",
    source="onnx-tensorrt onnxOpImporters.cpp, Clip",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
limited (int8[4] x, int8 lo) => (int8[4] y) { y = Clip (x, lo) }
""",
)
def clip_type(node: ir.Node, target: Target) -> str | None:
    """Types other than float, int32 and int64 are limited only where each limit that is mentioned is a constant: an
    empty name for one is enough to be refused."""
    found = dtype(argument(node, 0))
    if found is None or found in (*FLOATS, *INTEGERS):
        return None
    limits = node.inputs[1:]
    if all(limit is not None and constant_tensor(limit) is not None for limit in limits):
        return None
    return f"it limits {found.name.lower()}, not by constants"


@rule(
    "clip-limits",
    ops="Clip",
    backends=("tensorrt",),
    versions="<8.2",
    remedy="give min and max as constants, or write it with Max and Min",
    source="onnx-tensorrt docs/operators.md, branches 7.2.1 and 8.0-GA",
    example="""
<ir_version: 10, opset_import: ["" : 13]>
limited (float[4] x, float lo) => (float[4] y) { y = Clip (x, lo) }
""",
)
def clip_limits(node: ir.Node, target: Target) -> str | None:
    """Before 8.2 the limits must be constant."""
    run_time = [name for index, name in ((1, "min"), (2, "max")) if origin(argument(node, index)) != "constant"]
    return f"its {run_time[0]} is no constant" if run_time else None


@rule(
    "integer-power",
    ops="Pow",
    backends=("tensorrt",),
    versions="<10.12",
    remedy="cast base and exponent to float",
    source="onnx-tensorrt docs/Changelog.md, 10.8 and 10.12",
    example="""
<ir_version: 10, opset_import: ["" : 15]>
square (int32[4] x) => (int32[4] y) <int32 two = {2}> { y = Pow (x, two) }
""",
)
def integer_power(node: ir.Node, target: Target) -> str | None:
    """An integer exponent came with 10.8, an integer base with 10.12."""
    if dtype(argument(node, 0)) in INTEGERS:
        return "its base is an integer"
    return "its exponent is an integer" if dtype(argument(node, 1)) in INTEGERS and target.within("<10.8") else None


@rule(
    "old-broadcast",
    ops=(*ARITHMETIC, *LOGIC),
    backends=TENSORRT,
    remedy="let `doctor --fix` raise the opset",
    source="onnx-tensorrt importerUtils.cpp, elementwiseHelper: «Pre-opset 7 broadcasting is unsupported»",
    example="""
<ir_version: 3, opset_import: ["" : 6]>
sum (float[2, 2] x) => (float[2, 2] y) { y = Add (x, x) }
""",
)
def old_broadcast(node: ir.Node, target: Target) -> str | None:
    """Before opset 7 these operators broadcast by an attribute. The parser takes none of them, with or without it."""
    version = opset_of(node.graph)
    return f"the opset is {version}" if 0 < version < 7 else None


@rule(
    "boolean-arithmetic",
    ops=ARITHMETIC,
    backends=("tensorrt",),
    remedy="cast to int32 first",
    source="onnx-tensorrt importerUtils.cpp, elementwiseHelper",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
largest (bool[4] x, bool[4] z) => (bool[4] y) { y = Max (x, z) }
""",
)
def boolean_arithmetic(node: ir.Node, target: Target) -> str | None:
    """There is no arithmetic with bool."""
    return "its input is bool" if dtype(argument(node, 0)) == ir.DataType.BOOL else None


@rule(
    "int64-constant",
    ops="*",
    backends=("tensorrt",),
    versions="<9",
    severity="warning",
    remedy="use constants within int32, or TensorRT 10 or later",
    source="onnx-tensorrt ShapedWeights and WeightsContext up to 8.6: int64 is narrowed, with clamping",
    example="""
<ir_version: 10, opset_import: ["" : 13]>
far (int64[4] x) => (int64[4] y) <int64 big = {5000000000}> { y = Add (x, big) }
""",
)
def int64_constant(node: ir.Node, target: Target) -> str | None:
    """Up to 8.6 an int64 is an int32, and constants beyond its range are clamped. As the end of a Slice this does no
    harm."""
    for index, value in enumerate(node.inputs):
        tensor = constant_tensor(value)
        if tensor is None or tensor.dtype != ir.DataType.INT64 or node.op_type == "Slice":
            continue
        numbers = constant(value)
        if numbers is None or not numbers.size:
            continue
        for limit in (int(numbers.min()), int(numbers.max())):
            if not INT32_RANGE[0] <= limit <= INT32_RANGE[1]:
                return f"its input {index} holds {limit}, which is clamped to int32"
    return None


@rule(
    "float64-narrowed",
    ops="*",
    backends=TENSORRT,
    severity="warning",
    remedy="export in float32",
    source="onnx-tensorrt docs/operators.md: double is cast down to float",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
double (double[4] x) => (double[4] y) { y = Exp (x) }
""",
)
def float64_narrowed(node: ir.Node, target: Target) -> str | None:
    """TensorRT computes a double as a float, with values beyond its range clamped."""
    if any(dtype(value) == ir.DataType.DOUBLE for value in node.outputs):
        return "its result is double, computed as float"
    return None


@rule(
    "vector-times-batch",
    ops="MatMul",
    backends=TENSORRT,
    remedy="unsqueeze the vector, and squeeze the result, or let `doctor --fix` do so",
    source="measured with tensorrt-rtx 1.7: «reshape changes volume»",
    example="""
<ir_version: 10, opset_import: ["" : 13]>
product (float[3] x, float[2, 3, 1] w) => (float[2, 1] y) { y = MatMul (x, w) }
""",
)
def vector_times_batch(node: ir.Node, target: Target) -> str | None:
    """A vector times a stack of matrices loses the stack's dimension when the parser takes the added one away."""
    left, right = rank(argument(node, 0)), rank(argument(node, 1))
    return f"it multiplies 1 by {right} dimensions" if left == 1 and right is not None and right > 2 else None


@rule(
    "random-type",
    ops=("RandomUniformLike", "RandomNormalLike", "RandomUniform", "RandomNormal"),
    backends=TENSORRT,
    remedy="make float32 numbers, and cast them",
    source="messages of the parser of tensorrt-rtx 1.7: «Unsupported data type in randomUniform»",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
noise (float[4] x) => (double[4] y) { y = RandomUniformLike <dtype = 11> (x) }
""",
)
def random_type(node: ir.Node, target: Target) -> str | None:
    """Random numbers are float or float16."""
    wanted = attribute(node, "dtype")
    if wanted is None or wanted in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return None
    return f"dtype is {ir.DataType(wanted).name.lower()}"
