"""Operators of quantized arithmetic, written with what backends have."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.repairs.repair import Builder, Replacement, repair


@repair(
    "celu-by-elu",
    ops="Celu",
    tolerance=1e-6,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
celu (float[2, 3] x) => (float[2, 3] y) { y = Celu <alpha = 2.0> (x) }
""",
)
def celu(node: ir.Node, build: Builder) -> Replacement:
    """Celu(x) is max(0, x) + min(0, alpha (exp(x / alpha) - 1))."""
    from enginesmith.compat.values import attribute

    alpha = float(attribute(node, "alpha", 1.0))
    x = node.inputs[0]
    zero = build.constant(0.0)
    tail = build.op("Mul", build.op("Sub", build.op("Exp", build.op("Div", x, alpha)), 1.0), alpha)
    return build.op("Add", build.op("Max", x, zero), build.op("Min", zero, tail))
