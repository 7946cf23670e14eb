"""Axes and sizes that must be known when TensorRT builds: of reductions, Squeeze, Range, OneHot and others."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.origin import origin
from enginesmith.compat.checks.rule import rule
from enginesmith.compat.checks.sources import CHECKERS
from enginesmith.compat.operators import REDUCTIONS
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import (
    argument,
    attribute,
    constant_tensor,
    dtype,
    opset_of,
    shape,
)


@rule(
    "run-time-axes",
    ops=(*REDUCTIONS, "Squeeze", "Unsqueeze"),
    backends=TENSORRT,
    remedy="give the axes as a constant",
    source="onnx-tensorrt importerUtils.cpp: the axes must resolve to a build-time constant",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sums (float[2, 3] x, int64[1] axes) => (float[a, b] y) { y = ReduceSum (x, axes) }
""",
)
def run_time_axes(node: ir.Node, target: Target) -> str | None:
    """The axes decide on the rank of the result, which TensorRT must know when it builds."""
    return None if origin(argument(node, 1)) == "constant" else "its axes are known at run time only"


@rule(
    "constant-axes",
    ops=("Slice", "Split", "CumSum"),
    backends=("tensorrt",),
    versions="<10.3",
    remedy="give it as a constant",
    source="onnx-tensorrt docs/operators.md, by branch",
    example="""
<ir_version: 10, opset_import: ["" : 13]>
part (float[4, 3] x, int64[1] b, int64[1] e, int64[1] axes) => (float[m, n] y) { y = Slice (x, b, e, axes) }
""",
)
def constant_axes(node: ir.Node, target: Target) -> str | None:
    """Before 10.3 a Slice's axes must be constant, before 8.2 a Split's sizes too, and always a CumSum's axis."""
    index, until = {"Slice": (3, "<10.3"), "Split": (1, "<8.2"), "CumSum": (1, "<11")}[node.op_type]
    if not target.within(until) or origin(argument(node, index)) == "constant":
        return None
    return f"its {'sizes are' if node.op_type == 'Split' else 'axes are'} known at run time only"


@rule(
    "squeeze-without-axes",
    ops="Squeeze",
    backends=TENSORRT,
    remedy="name the axes",
    source=f"{CHECKERS}, Squeeze; accepted from TensorRT 11.5",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
squeezed (float[n, 1] x) => (float[m] y) { y = Squeeze (x) }
""",
)
def squeeze_without_axes(node: ir.Node, target: Target) -> str | None:
    """Which dimensions have size 1 must be known when TensorRT builds."""
    if target.backend == "tensorrt" and target.within(">=11.5"):
        return None
    given = argument(node, 1) if opset_of(node.graph) >= 13 else attribute(node, "axes")
    sizes = shape(argument(node, 0))
    return None if given is not None or sizes is None or None not in sizes else "it has no axes, and a dynamic input"


@rule(
    "computed-axes",
    ops=REDUCTIONS,
    backends=TENSORRT,
    remedy="fold the axes into a constant, as a simplifier does",
    source="onnx-tensorrt importerUtils.cpp: the axes must resolve to a build-time constant",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sums (float[2, 3] x) => (float[2, 1] y) <int64[1] a = {0}, int64[1] b = {1}> { axes = Add (a, b)  y = ReduceSum (x, axes) }
""",
)
def computed_axes(node: ir.Node, target: Target) -> str | None:
    """The parser does not compute the axes of a reduction, however simple that is: they are an initializer or a
    Constant, perhaps behind Identity and Cast."""
    value = axes = argument(node, 1)
    while value is not None and constant_tensor(value) is None:
        producer = value.producer()
        if producer is None or producer.op_type not in ("Identity", "Cast"):
            return "its axes are computed in the graph" if origin(axes) == "constant" else None
        value = producer.inputs[0]
    return None


@rule(
    "run-time-depth",
    ops="OneHot",
    backends=TENSORRT,
    remedy="give the depth as a constant",
    source="onnx-tensorrt docs/operators.md of 10.1: the depth must be known at build time",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
hot (int64[3] i, int64 depth, float[2] v) => (float[3, n] y) { y = OneHot (i, depth, v) }
""",
)
def run_time_depth(node: ir.Node, target: Target) -> str | None:
    """How many classes there are must be known when TensorRT builds."""
    return "its depth is known at run time only" if origin(argument(node, 1)) == "data" else None


@rule(
    "range-type",
    ops="Range",
    backends=TENSORRT,
    remedy="compute it in float32 and cast the result",
    source="onnx-tensorrt onnxOpImporters.cpp, Range",
    example="""
<ir_version: 10, opset_import: ["" : 27]>
steps (float16[3] x) => (float16[3] y) <float16 a = {0}, float16 b = {3}, float16 c = {1}> { r = Range (a, b, c)  y = Add (x, r) }
""",
)
def range_type(node: ir.Node, target: Target) -> str | None:
    """A Range counts in float32, int32 or int64."""
    found = dtype(argument(node, 0))
    taken = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT32, ir.DataType.INT64, None)
    return None if found in taken else f"it counts in {found.name.lower()}"


@rule(
    "run-time-range",
    ops="Range",
    backends=("tensorrt",),
    versions="<8.4",
    remedy="give start, limit and delta as constants, or count in int32",
    source="onnx-tensorrt docs/operators.md, branches 7.2.1 to 8.2-GA",
    example="""
<ir_version: 10, opset_import: ["" : 13]>
steps (float a, float b, float c) => (float[n] y) { y = Range (a, b, c) }
""",
)
def run_time_range(node: ir.Node, target: Target) -> str | None:
    """Before 8.4 a Range of floats has constant limits."""
    if dtype(argument(node, 0)) != ir.DataType.FLOAT:
        return None
    run_time = [index for index in range(3) if origin(argument(node, index)) != "constant"]
    return "it counts in float, with limits known at run time only" if run_time else None


@rule(
    "eyelike-dynamic",
    ops="EyeLike",
    backends=TENSORRT,
    remedy="let `doctor --fix` compare the numbers of rows and columns, or give the input a static shape",
    source="onnx-tensorrt docs/operators.md of 10.1",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
eye (float[n, n] x) => (float[n, n] y) { y = EyeLike (x) }
""",
)
def eyelike_dynamic(node: ir.Node, target: Target) -> str | None:
    """The matrix becomes a constant, so that its size must be known."""
    sizes = shape(argument(node, 0))
    return "its shape is dynamic" if sizes is not None and None in sizes else None
