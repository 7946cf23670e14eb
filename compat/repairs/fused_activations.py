"""Activations that ONNX Runtime's optimizer writes as one operator, and those that it puts into the operator before."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, dtype, required

MICROSOFT = "com.microsoft::"
PARAMETERS = {
    "Relu": (), "Sigmoid": (), "Tanh": (), "Softplus": (), "Softsign": (), "Selu": (), "HardSwish": (), "Gelu": (),
    "LeakyRelu": ("alpha",), "Elu": ("alpha",), "ThresholdedRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"),
    "Clip": ("min", "max"),
}  # fmt: skip
"""What may follow a product within one operator, with the parameters that it takes there."""


def activated(build: Builder, x: ir.Value, name: str, parameters: list[float]) -> ir.Value:
    """The activation `name` of x, an empty name for none, with its parameters in the order of `PARAMETERS`."""
    if not name:
        return x
    if name not in PARAMETERS:
        raise NotApplicable(f"its activation is {name}")
    if name == "Clip":
        kind = _kind(build.node.inputs[0])
        return build.op("Clip", x, *(np.array(bound, kind) for bound in parameters))
    if name == "Gelu":
        return gelu(build, x, _kind(build.node.inputs[0]))
    named: dict[str, Any] = dict(zip(PARAMETERS[name], map(float, parameters), strict=False))
    return build.op(name, x, **named)


def gelu(build: Builder, x: ir.Value, kind: np.dtype[np.generic]) -> ir.Value:
    """x · Φ(x), Φ the distribution function of the normal distribution."""
    part = build.op("Erf", build.op("Mul", x, np.array(1 / sqrt(2), kind)))
    half = build.op("Mul", x, np.array(0.5, kind))
    return build.op("Mul", half, build.op("Add", part, np.array(1, kind)))


def _kind(value: ir.Value | None) -> np.dtype[np.generic]:
    found = dtype(value)
    if found is None or not found.is_floating_point():
        raise NotApplicable("its type is unknown, or no float")
    return found.numpy()


@repair(
    "fused-gelu",
    ops=[MICROSOFT + op for op in ("Gelu", "BiasGelu", "FastGelu", "QuickGelu")],
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
activate (float[2, 3] x, float[3] b) => (float[2, 3] y) { y = com.microsoft.FastGelu (x, b) }
""",
)
def fused_gelu(node: ir.Node, build: Builder) -> Replacement:
    """Gelu and its approximations (by tanh: FastGelu; by a sigmoid: QuickGelu), with the bias that is added before."""
    (x,) = required(node, 1)
    kind = _kind(x)
    bias = argument(node, 1)
    if bias is not None:
        x = build.op("Add", x, bias)
    if node.op_type in ("Gelu", "BiasGelu"):
        return gelu(build, x, kind)
    if node.op_type == "QuickGelu":
        scaled = build.op("Mul", x, np.array(attribute(node, "alpha", 1.702), kind))
        return build.op("Mul", x, build.op("Sigmoid", scaled))
    # sqrt(2/pi) · (x + 0.044715 · x³)
    cubic = build.op("Mul", build.op("Mul", x, x), np.array(0.044715 * sqrt(2 / np.pi), kind))
    inner = build.op("Mul", x, build.op("Add", cubic, np.array(sqrt(2 / np.pi), kind)))
    bent = build.op("Add", build.op("Tanh", inner), np.array(1, kind))
    return build.op("Mul", build.op("Mul", x, np.array(0.5, kind)), bent)
