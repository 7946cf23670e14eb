"""TopK beyond what TensorRT's sort holds."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.repairs.repair import Builder, NotApplicable, Replacement, repair
from enginesmith.compat.target import TENSORRT
from enginesmith.compat.values import attribute, constant, dtype, required

LARGEST = 3840
"""The largest K that TensorRT's TopK has."""
MAX_PARTS = 16


@repair(
    "topk-in-parts",
    ops="TopK",
    backends=TENSORRT,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
best (float[1, 5000] x) => (float[1, 4000] y, int64[1, 4000] where) <int64[1] k = {4000}> { y, where = TopK (x, k) }
""",
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
    if not LARGEST < total <= LARGEST * MAX_PARTS or not attribute(node, "sorted", 1):
        raise NotApplicable(f"its K of {total} is none to take in parts")
    axis, largest = attribute(node, "axis", -1), attribute(node, "largest", 1)
    number = kind.numpy().type
    last, first = (-np.inf, kind.min) if kind.is_floating_point() else (kind.min, kind.min + 1)
    if not largest:
        last, first = (np.inf, kind.max) if kind.is_floating_point() else (kind.max, kind.max - 1)
    left = build.op("Max" if largest else "Min", x, number(first))
    found = []
    for start in range(0, total, LARGEST):
        part = np.array([min(LARGEST, total - start)], np.int64)
        where = build.ops("TopK", left, part, outputs=2, axis=axis, largest=largest, sorted=1)[1]
        found.append(where)
        if start + LARGEST < total:
            taken = build.op("Expand", number(last), build.op("Shape", where))
            left = build.op("ScatterElements", left, where, taken, axis=axis)
    indices = build.op("Concat", *found, axis=axis)
    return [build.op("GatherElements", x, indices, axis=axis), indices]
