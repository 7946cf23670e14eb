"""ONNX's Attention for TensorRT and TensorRT-RTX."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.rule import rule
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import argument, attribute, dtype, rank, shape

MESSAGES = "messages of the parser of tensorrt-rtx 1.7; onnx-tensorrt docs/operators.md of 10.14"
REMEDY = "let `doctor --fix` write it with MatMul and Softmax"
FUSED_HEADS = (9, 256)
"""Sizes of a head for which there is a fused kernel in float16 and bfloat16, measured with tensorrt-rtx 1.7 for sm_89."""


@rule(
    "attention-outputs",
    ops="Attention",
    backends=TENSORRT,
    remedy=REMEDY,
    source=MESSAGES,
    example="""
<ir_version: 10, opset_import: ["" : 23]>
cache (float[1, 2, 1, 8] q, float[1, 2, 1, 8] k, float[1, 2, 4, 8] p) => (float[1, 2, 1, 8] y, float[1, 2, 5, 8] a, float[1, 2, 5, 8] b) {
  y, a, b = Attention (q, k, k, , p, p)
}
""",
)
def attention_outputs(node: ir.Node, target: Target) -> str | None:
    """Attention has one output and no cache: past keys and values, and what comes of them, are refused."""
    named = [value for value in node.outputs if value.name]
    if len(named) > 1:
        return f"it has {len(named)} outputs"
    return "it has past keys and values" if argument(node, 4) is not None or argument(node, 5) is not None else None


@rule(
    "attention-options",
    ops="Attention",
    backends=TENSORRT,
    remedy=REMEDY,
    source=MESSAGES,
    example="""
<ir_version: 10, opset_import: ["" : 23]>
capped (float16[1, 2, 4, 16] q) => (float16[1, 2, 4, 16] y) { y = Attention <softcap = 2.0> (q, q, q) }
""",
)
def attention_options(node: ir.Node, target: Target) -> str | None:
    """softcap and softmax_precision are refused, and a mask together with is_causal."""
    if attribute(node, "softcap", 0.0):
        return f"softcap is {attribute(node, 'softcap'):g}"
    if attribute(node, "softmax_precision") is not None:
        return "softmax_precision is given"
    if attribute(node, "is_causal", 0) and argument(node, 3) is not None:
        return "is_causal is 1, and it has a mask"
    return None


@rule(
    "attention-shapes",
    ops="Attention",
    backends=TENSORRT,
    remedy=REMEDY,
    source=MESSAGES,
    example="""
<ir_version: 10, opset_import: ["" : 23]>
heads (float16[1, 2, 4, 16] q, float16[1, 2, 4, 32] v) => (float16[1, 2, 4, 32] y) { y = Attention (q, q, v) }
""",
)
def attention_shapes(node: ir.Node, target: Target) -> str | None:
    """Keys and values have one shape, and a mask is broadcast to [batch, heads, queries, keys]: a shorter one is not
    padded."""
    keys, values, mask = (shape(argument(node, index)) for index in (1, 2, 3))
    if keys and values and any(None not in (a, b) and a != b for a, b in zip(keys, values, strict=False)):
        return f"keys are {keys} and values {values}"
    if keys and mask and None not in (keys[-2], mask[-1]) and mask[-1] not in (1, keys[-2]):
        return f"the mask is for {mask[-1]} keys, of which there are {keys[-2]}"
    return None


@rule(
    "attention-rank",
    ops="Attention",
    backends=("tensorrt",),
    versions=">=10.14",
    remedy="split the heads with Reshape and Transpose, or let `doctor --fix` do so",
    source="onnx-tensorrt docs/operators.md of 10.14 to 11.1",
    example="""
<ir_version: 10, opset_import: ["" : 23]>
flat (float16[1, 4, 32] q) => (float16[1, 4, 32] y) { y = Attention <q_num_heads = 2, kv_num_heads = 2> (q, q, q) }
""",
)
def attention_rank(node: ir.Node, target: Target) -> str | None:
    """Queries, keys and values have four dimensions: [batch, heads, length, size]."""
    return "its input has 3 dimensions, and must have 4" if rank(argument(node, 0)) == 3 else None


@rule(
    "attention-kernel",
    ops="Attention",
    backends=("tensorrt-rtx",),
    remedy=f"compute it in float16, or {REMEDY}",
    source="measured with tensorrt-rtx 1.7 for sm_89: «Attention operation was not supported by a dedicated kernel»",
    example="""
<ir_version: 10, opset_import: ["" : 23]>
single (float[1, 2, 4, 64] q, float[1, 2, 6, 64] k) => (float[1, 2, 4, 64] y) { y = Attention (q, k, k) }
""",
)
def attention_kernel(node: ir.Node, target: Target) -> str | None:
    """Attention is built only where a fused kernel fits: in float16 and bfloat16 for heads of 9 to 256 elements; for a
    single query and heads of a multiple of 8; or from inputs of three dimensions, without mask, causality or shared
    heads. It is never split into its parts."""
    queries = shape(argument(node, 0))
    if queries is None or len(queries) not in (3, 4):
        return None
    flat = len(queries) == 3
    heads = attribute(node, "q_num_heads", 1) if flat else queries[1]
    groups = attribute(node, "kv_num_heads", 1) if flat else (shape(argument(node, 1)) or [None] * 4)[1]
    plain = argument(node, 3) is None and argument(node, 6) is None and not attribute(node, "is_causal", 0)
    if flat and plain and heads == groups:
        return None
    size = queries[-1]
    if size is not None and flat:
        size //= heads or 1
    if size is None or queries[-2] is None or (queries[-2] == 1 and size % 8 == 0):
        return None
    found = dtype(argument(node, 0))
    if found in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
        return None if FUSED_HEADS[0] <= size <= FUSED_HEADS[1] else f"there is no kernel for heads of {size} elements"
    return f"there is no kernel for {found.name.lower()} in this form" if found is not None else None
