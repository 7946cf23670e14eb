"""Einsum for TensorRT and TensorRT-RTX."""

from __future__ import annotations

import re

import onnx_ir as ir

from enginesmith.compat.checks.rule import rule
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import attribute

REMEDY = "write it with MatMul, Transpose and ReduceSum, or let `doctor --fix` do so"


@rule(
    "einsum-labels",
    ops="Einsum",
    backends=TENSORRT,
    remedy="use lower-case letters",
    source="onnx-tensorrt importerUtils.cpp: what an equation may contain",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
product (float[2, 3] x, float[3, 4] w) => (float[2, 4] y) { y = Einsum <equation = "Ij,jK->IK"> (x, w) }
""",
)
def einsum_labels(node: ir.Node, target: Target) -> str | None:
    """Labels are lower-case letters."""
    equation = str(attribute(node, "equation", ""))
    found = re.findall(r"[^a-z\->., ]", equation)
    return f"the equation {equation} contains {found[0]}" if found else None


@rule(
    "einsum-features",
    ops="Einsum",
    backends=("tensorrt",),
    versions="<10.12",
    remedy=REMEDY,
    source="onnx-tensorrt docs/operators.md, branches 8.2-GA to 10.1-GA; docs/Changelog.md, 10.12",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
diagonal (float[3, 3] x) => (float[3] y) { y = Einsum <equation = "ii->i"> (x) }
""",
)
def einsum_features(node: ir.Node, target: Target) -> str | None:
    """Ellipses, diagonals and more than two operands came late."""
    equation = str(attribute(node, "equation", "")).replace(" ", "")
    terms = equation.split("->")[0].split(",")
    if "..." in equation:
        return f"the equation {equation} has an ellipsis"
    if any(len(set(term)) < len(term) for term in terms):
        return f"the equation {equation} takes a diagonal"
    return f"it has {len(terms)} operands" if len(terms) > 2 and target.within("<9") else None
