"""Pad, Slice and Split for TensorRT and TensorRT-RTX."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.origin import origin
from enginesmith.compat.checks.rule import rule
from enginesmith.compat.checks.sources import CHECKERS
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import argument, attribute, constant, opset_of, shape, static_shape


@rule(
    "pad-mode",
    ops="Pad",
    backends=TENSORRT,
    remedy="write the padding with Slice and Concat",
    source=f"{CHECKERS}, Pad",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
none (float[4] x) => (float[6] y) <int64[2] p = {1, 1}> { y = Pad <mode = "mirror"> (x, p) }
""",
)
def pad_mode(node: ir.Node, target: Target) -> str | None:
    """Modes are constant, reflect, edge, and from 10.0 wrap."""
    mode = attribute(node, "mode", "constant")
    known = ["constant", "reflect", "edge"]
    if target.backend == "tensorrt-rtx" or target.within(">=10"):
        known.append("wrap")
    return None if mode in known else f"mode is {mode}"


@rule(
    "pad-inner-zeros",
    ops="Pad",
    backends=("tensorrt",),
    versions="<8.2",
    remedy="use TensorRT 8.2 or later, or concatenate constants",
    source="onnx-tensorrt docs/operators.md, branches 7.2.1 and 8.0-GA",
    example="""
<ir_version: 10, opset_import: ["" : 13]>
edge (float[1, 1, 4, 4] x) => (float[1, 1, 4, 6] y) <int64[8] p = {0, 0, 0, 1, 0, 0, 0, 1}> { y = Pad <mode = "edge"> (x, p) }
""",
)
def pad_inner_zeros(node: ir.Node, target: Target) -> str | None:
    """Before 8.2 Pad adds zeros, around the two innermost dimensions."""
    mode = attribute(node, "mode", "constant")
    if mode != "constant":
        return f"mode is {mode}"
    filling = constant(argument(node, 2)) if opset_of(node.graph) >= 11 else attribute(node, "value", 0.0)
    if filling is not None and (value := float(getattr(filling, "flat", [filling])[0])) != 0:
        return f"it pads with {value:g}"
    pads = constant(argument(node, 1)) if opset_of(node.graph) >= 11 else attribute(node, "pads")
    if pads is None:
        return None
    sides = list(pads)
    outer = [*sides[: max(len(sides) // 2 - 2, 0)], *sides[len(sides) // 2 : -2]]
    return "it pads more than the two innermost dimensions" if any(outer) else None


@rule(
    "pad-run-time-axes",
    ops="Pad",
    backends=("tensorrt",),
    versions="<10.4",
    remedy="give pads for every dimension, and no axes",
    source="onnx-tensorrt docs/Changelog.md, 10.4",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
padded (float[4] x, int64[1] a) => (float[n] y) <int64[2] p = {1, 1}> { y = Pad (x, p, , a) }
""",
)
def pad_run_time_axes(node: ir.Node, target: Target) -> str | None:
    """Before 10.4 the axes must be constant."""
    return None if origin(argument(node, 3)) == "constant" else "its axes are known at run time only"


@rule(
    "pad-repeated-axes",
    ops="Pad",
    backends=TENSORRT,
    remedy="add up the pads of each axis",
    source=f"{CHECKERS}, Pad",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
twice (float[4, 4] x) => (float[4, n] y) <int64[4] p = {0, 1, 0, 1}, int64[2] a = {1, -1}> { y = Pad (x, p, , a) }
""",
)
def pad_repeated_axes(node: ir.Node, target: Target) -> str | None:
    """An axis may be named once."""
    axes, sizes = constant(argument(node, 3)), shape(argument(node, 0))
    if axes is None or not sizes:
        return None
    positive = [int(axis) % len(sizes) for axis in axes]
    return f"its axes {axes.tolist()} repeat" if len(set(positive)) < len(positive) else None


@rule(
    "slice-lengths",
    ops="Slice",
    backends=TENSORRT,
    remedy="give starts, ends and axes of one length, and each axis once",
    source=f"{CHECKERS}, Slice",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
part (float[4, 4] x) => (float[m, n] y) <int64[2] b = {0, 1}, int64[2] e = {3, 2}, int64[2] a = {0, 0}> { y = Slice (x, b, e, a) }
""",
)
def slice_lengths(node: ir.Node, target: Target) -> str | None:
    """starts, ends and axes go together, and an axis may be named once."""
    lengths = {static[0] for i in (1, 2, 3) if (static := static_shape(argument(node, i))) and len(static) == 1}
    if len(lengths) > 1:
        return f"starts, ends and axes have lengths {sorted(lengths)}"
    axes, sizes = constant(argument(node, 3)), shape(argument(node, 0))
    if axes is None or not sizes:
        return None
    positive = [int(axis) % len(sizes) for axis in axes]
    return f"its axes {axes.tolist()} repeat" if len(set(positive)) < len(positive) else None


@rule(
    "split-last-chunk",
    ops="Split",
    backends=TENSORRT,
    remedy="give the sizes of the parts",
    source="onnx-tensorrt onnxOpImporters.cpp, Split; onnx/onnx#5766",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
parts (float[5] x) => (float[2] a, float[2] b, float[2] c, float[0] d) { a, b, c, d = Split <num_outputs = 4> (x) }
""",
)
def split_last_chunk(node: ir.Node, target: Target) -> str | None:
    """With num_outputs, all parts but the last have the size rounded up: there must be that much to divide."""
    count, sizes = attribute(node, "num_outputs"), shape(argument(node, 0))
    if count is None or not sizes:
        return None
    if count != len(node.outputs):
        return f"num_outputs is {count}, and it has {len(node.outputs)} outputs"
    size = sizes[attribute(node, "axis", 0)]
    if size is None or size - (count - 1) * -(-size // count) >= 0:
        return None
    return f"it divides {size} elements into {count} parts"
