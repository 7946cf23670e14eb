"""TopK: what TensorRT's sort holds, and how to sort beyond it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.checks.origin import origin
from enginesmith.compat.checks.rule import rule
from enginesmith.compat.operators import MAX_K
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import argument, attribute, constant, dtype, opset_of, required, shape

MAX_PARTS = 16
FOUR_THOUSAND = """
<ir_version: 10, opset_import: ["" : 18]>
best (float[1, 5000] x) => (float[1, 4000] y, int64[1, 4000] where) <int64[1] k = {4000}> { y, where = TopK (x, k) }
"""


@rule(
    "topk-limit",
    ops="TopK",
    backends=TENSORRT,
    remedy="keep fewer elements, or let `doctor --fix` sort in parts",
    source="onnx-tensorrt docs/operators.md; NVIDIA/TensorRT#4244",
    example=FOUR_THOUSAND,
)
def topk_limit(node: ir.Node, target: Target) -> str | None:
    """TensorRT's TopK returns 3840 elements at most; the parser lets more through, and the build fails. torch.sort and
    argsort are TopK with all elements."""
    k = constant(argument(node, 1)) if opset_of(node.graph) >= 10 else attribute(node, "k")
    if k is None:
        sizes = shape(node.outputs[0])
        axis = attribute(node, "axis", -1)
        k = sizes[axis] if sizes and -len(sizes) <= axis < len(sizes) else None
    count = None if k is None else int(getattr(k, "flat", [k])[0])
    return f"K is {count}, and may be {MAX_K}" if count is not None and count > MAX_K else None


@rule(
    "topk-run-time-k",
    ops="TopK",
    backends=("tensorrt",),
    versions="<8.6",
    remedy="give K as a constant, or use TensorRT 8.6 or later",
    source="onnx-tensorrt docs/operators.md, branches 8.2-GA to 8.6-GA",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
some (float[8] x, int64[1] k) => (float[n] y, int64[n] i) { y, i = TopK (x, k) }
""",
)
def topk_run_time_k(node: ir.Node, target: Target) -> str | None:
    """Before 8.6 TensorRT needs to know K when it builds."""
    if opset_of(node.graph) < 10 or origin(argument(node, 1)) == "constant":
        return None
    return "K is known at run time only"


@rule(
    "topk-unsorted",
    ops="TopK",
    backends=TENSORRT,
    severity="warning",
    remedy="none is needed where the order does not matter",
    source="onnx-tensorrt docs/operators.md",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
unsorted (float[8] x) => (float[3] y, int64[3] i) <int64[1] k = {3}> { y, i = TopK <sorted = 0> (x, k) }
""",
)
def topk_unsorted(node: ir.Node, target: Target) -> str | None:
    """TensorRT sorts all the same."""
    return "sorted is 0, and TensorRT sorts" if attribute(node, "sorted", 1) == 0 else None


@repair(
    "topk-in-parts",
    ops="TopK",
    backends=TENSORRT,
    example=FOUR_THOUSAND,
)
def topk_in_parts(node: ir.Node, build: Builder) -> Replacement:
    """The best 3840 are taken, then put behind all others, and the next taken, until there are K.

    Equal elements keep the order of their indices. What lies beyond the finite numbers (an infinity, the end of an
    integer's range) counts as the last number before it in the order, and keeps its value.
    """
    x, k = required(node, 2)
    count, kind = constant(k), dtype(x)
    if count is None or kind is None:
        raise NotApplicable("its K is known at run time only")
    total = int(count.reshape(()))
    if not MAX_K < total <= MAX_K * MAX_PARTS or not attribute(node, "sorted", 1):
        raise NotApplicable(f"its K of {total} is none to take in parts")
    axis, largest = attribute(node, "axis", -1), attribute(node, "largest", 1)
    number = kind.numpy().type
    last, first = (-np.inf, kind.min) if kind.is_floating_point() else (kind.min, kind.min + 1)
    if not largest:
        last, first = (np.inf, kind.max) if kind.is_floating_point() else (kind.max, kind.max - 1)
    left = build.op("Max" if largest else "Min", x, number(first))
    found = []
    for start in range(0, total, MAX_K):
        part = np.array([min(MAX_K, total - start)], np.int64)
        where = build.ops("TopK", left, part, outputs=2, axis=axis, largest=largest, sorted=1)[1]
        found.append(where)
        if start + MAX_K < total:
            taken = build.op("Expand", number(last), build.op("Shape", where))
            left = build.op("ScatterElements", left, where, taken, axis=axis)
    indices = build.op("Concat", *found, axis=axis)
    return [build.op("GatherElements", x, indices, axis=axis), indices]
