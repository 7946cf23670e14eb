"""Operators that a backend doesn't have at all."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.rule import rule
from enginesmith.compat.target import TVM, Target


@rule("celu", ops="Celu", backends=TVM, remedy="x", source="x", example="")
def celu(node: ir.Node, target: Target) -> str | None:
    """TVM has none."""
    return "no converter"
