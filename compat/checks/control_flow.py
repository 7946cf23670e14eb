"""If, Loop and Scan for TensorRT and TensorRT-RTX."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.origin import origin
from enginesmith.compat.checks.rule import rule
from enginesmith.compat.target import EVERY, TENSORRT, Target
from enginesmith.compat.values import argument, attribute, rank, shape, static_shape


@rule(
    "if-branch-ranks",
    ops="If",
    backends=EVERY,
    remedy="give both branches results of one rank, or make the condition constant",
    source="TensorRT, IConditionalOutputLayer: «Must have inputs with equal ranks when condition is not a build-time constant»; "
    "TVM 0.27's frontend: nothing is computed from a tensor of unknown rank",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
either (bool c, float[2] x, float[1, 2] z) => (float y) {
  i = If (c) <then_branch = t () => (float[2] a) { a = Neg (x) }, else_branch = e () => (float[1, 2] b) { b = Neg (z) }>
  y = ReduceSum <keepdims = 0> (i)
}
""",
)
def if_branch_ranks(node: ir.Node, target: Target) -> str | None:
    """What the branches return is one tensor afterwards, so that both must have its rank. Where the condition is known
    when the engine is built, only one branch is left."""
    if origin(argument(node, 0)) == "constant":
        return None
    branches = [attribute(node, name) for name in ("then_branch", "else_branch")]
    if not all(isinstance(branch, ir.Graph) for branch in branches):
        return None
    then, other = branches
    if len(then.outputs) != len(other.outputs):
        return f"its branches have {len(then.outputs)} and {len(other.outputs)} outputs"
    for a, b in zip(then.outputs, other.outputs, strict=True):
        if None not in (rank(a), rank(b)) and rank(a) != rank(b):
            return f"its branches return {rank(a)} and {rank(b)} dimensions"
    return None


@rule(
    "if-condition",
    ops="If",
    backends=TENSORRT,
    remedy="reduce the condition to one element",
    source="onnx-tensorrt onnxOpImporters.cpp, If",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
either (bool[2] c, float[2] x) => (float[2] y) {
  y = If (c) <then_branch = t () => (float[2] a) { a = Neg (x) }, else_branch = e () => (float[2] b) { b = Abs (x) }>
}
""",
)
def if_condition(node: ir.Node, target: Target) -> str | None:
    """The condition is one element."""
    sizes = static_shape(argument(node, 0))
    if sizes is None:
        return None
    count = 1
    for size in sizes:
        count *= size
    return None if count == 1 else f"its condition has shape {sizes}"


@rule(
    "loop-carried-shapes",
    ops="Loop",
    backends=TENSORRT,
    remedy="keep a tensor of the final size, and write each step's part into it; or unroll the loop",
    source="onnx-tensorrt docs/operators.md of 10.1: loop-carried tensors may not change their shape",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
growing (int64 n, bool c, float[1] x) => (float[m] y) {
  y = Loop (n, c, x) <body = b (int64 i, bool p, float[k] v) => (bool q, float[j] w) { q = Identity (p)  w = Concat <axis = 0> (v, v) }>
}
""",
)
def loop_carried_shapes(node: ir.Node, target: Target) -> str | None:
    """What a loop carries from step to step must keep its shape."""
    body = attribute(node, "body")
    if not isinstance(body, ir.Graph):
        return None
    for before, after in zip(body.inputs[2:], body.outputs[1:], strict=False):
        a, b = shape(before), shape(after)
        given = shape(argument(node, 2 + list(body.inputs[2:]).index(before)))
        start = a if a and None not in a else given or a
        if start is None or b is None:
            continue
        if len(start) != len(b) or any(None not in (x, y) and x != y for x, y in zip(start, b, strict=False)):
            return f"it carries {before.name}, which changes from {start} to {b}"
        producer = after.producer()
        if producer is not None and producer.op_type == "Concat" and before in producer.inputs:
            return f"it carries {before.name}, which a Concat makes longer in each step"
    return None


@rule(
    "loop-empty-condition",
    ops="Loop",
    backends=TENSORRT,
    remedy="give it a constant true, which is what an empty condition means",
    source="onnx-tensorrt onnxOpImporters.cpp, Loop: the body's condition is registered only where one is given",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
halved (int64 n, float[2] x) => (float[2] y) {
  y = Loop (n, , x) <body = b (int64 i, bool p, float[2] v) => (bool q, float[2] w) { q = Identity (p)  w = Add (v, v) }>
}
""",
)
def loop_empty_condition(node: ir.Node, target: Target) -> str | None:
    """A body that reads the condition finds none where the Loop has an empty one."""
    body = attribute(node, "body")
    if argument(node, 1) is not None or not isinstance(body, ir.Graph) or len(body.inputs) < 2:
        return None
    return "its condition is empty, and its body reads it" if body.inputs[1].uses() else None


@rule(
    "loop-without-trip-count",
    ops="Loop",
    backends=TENSORRT,
    remedy="give the greatest number of steps as the trip count",
    source="messages of the parser of tensorrt-rtx 1.7: «cannot infer the shape of scan output»",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
until (float[2] x, bool c) => (float[2] y, float[k, 2] u) {
  y, u = Loop (, c, x) <body = b (int64 i, bool p, float[2] v) => (bool q, float[2] w, float[2] s) {
    w = Add (v, v)  m = ReduceMax <keepdims = 0> (w)  h = Constant <value_float = 9.0> ()  q = Less (m, h)  s = Neg (v)
  }>
}
""",
)
def loop_without_trip_count(node: ir.Node, target: Target) -> str | None:
    """How long a scan output becomes follows from the trip count."""
    body = attribute(node, "body")
    if argument(node, 0) is not None or not isinstance(body, ir.Graph):
        return None
    return "it has scan outputs and no trip count" if len(body.outputs) > len(body.inputs) - 1 else None
