"""Products and convolutions into which ONNX Runtime's optimizer has put what lay around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.fused_activations import MICROSOFT, PARAMETERS, activated
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, dtype, rank, required

CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
EXPANDED = 1e-3
"""ONNX Runtime takes a distance from a² + b² - 2ab, which cancels."""
GEMM = ("alpha", "beta", "transA", "transB")


def given(node: ir.Node, names: tuple[str, ...]) -> dict[str, Any]:
    """Those of a node's attributes, as they are."""
    return {name: node.attributes[name].value for name in names if name in node.attributes}


@repair(
    "fused-conv",
    ops=MICROSOFT + "FusedConv",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
convolve (float[1, 2, 4, 4] x, float[3, 2, 3, 3] w, float[3] b, float[1, 3, 2, 2] z) => (float[1, 3, 2, 2] y) {
  y = com.microsoft.FusedConv <activation = "LeakyRelu", activation_params = [0.25]> (x, w, b, z)
}
""",
)
def fused_conv(node: ir.Node, build: Builder) -> Replacement:
    """The convolution, the sum with another tensor, if any, and the activation are written as what they are."""
    x, w = required(node, 2)
    bias, other = argument(node, 2), argument(node, 3)
    result = build.op("Conv", x, w, *([bias] if bias is not None else []), **given(node, CONV))
    if other is not None:
        result = build.op("Add", result, other)
    return activated(build, result, attribute(node, "activation", ""), attribute(node, "activation_params", []))


@repair(
    "fused-gemm",
    ops=MICROSOFT + "FusedGemm",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
product (float[2, 3] a, float[3, 4] b, float[4] c) => (float[2, 4] y) {
  y = com.microsoft.FusedGemm <activation = "Relu", alpha = 0.5> (a, b, c)
}
""",
)
def fused_gemm(node: ir.Node, build: Builder) -> Replacement:
    """The product and the activation are written as what they are."""
    name = attribute(node, "activation", "")
    parameters = [attribute(node, f"activation_{each}") for each in PARAMETERS.get(name, ())]
    known = [value for value in parameters if value is not None]
    return activated(build, build.op("Gemm", *node.inputs, **given(node, GEMM)), name, known)


@repair(
    "fused-matmul",
    ops=[MICROSOFT + op for op in ("FusedMatMul", "TransposeMatMul")],
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
product (float[2, 3, 4] a, float[5, 4] b) => (float[2, 3, 5] y) {
  y = com.microsoft.FusedMatMul <alpha = 0.5, transB = 1> (a, b)
}
""",
)
def fused_matmul(node: ir.Node, build: Builder) -> Replacement:
    """The factors are transposed, and their product scaled, outside of the product."""
    a, b = required(node, 2)
    product = build.op("MatMul", _turned(node, build, a, "A"), _turned(node, build, b, "B"))
    alpha, kind = float(attribute(node, "alpha", 1.0)), dtype(a)
    if alpha == 1:
        return product
    if kind is None:
        raise NotApplicable("its type is unknown")
    return build.op("Mul", product, np.array(alpha, kind.numpy()))


def _turned(node: ir.Node, build: Builder, factor: ir.Value, side: str) -> ir.Value:
    """With `transBatch` the first axis comes last of those of the batch, and is the rows; with `trans` rows are columns."""
    batch, matrix = attribute(node, f"transBatch{side}", 0), attribute(node, f"trans{side}", 0)
    dimensions = rank(factor)
    if not batch and not matrix:
        return factor
    if dimensions is None:
        raise NotApplicable("the rank of its inputs is unknown")
    if dimensions < 2:
        return factor
    order = list(range(dimensions))
    if batch:
        order[:-1] = [*order[1:-1], 0]
    if matrix:
        order[-2:] = order[:-3:-1]
    return build.op("Transpose", factor, perm=order)


@repair(
    "distances",
    ops=MICROSOFT + "CDist",
    tolerance=EXPANDED,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
measure (float[2, 3] a, float[4, 3] b) => (float[2, 4] y) { y = com.microsoft.CDist <metric = "euclidean"> (a, b) }
""",
)
def distances(node: ir.Node, build: Builder) -> Replacement:
    """The distances of all pairs of rows are sums of squared differences."""
    a, b = required(node, 2)
    apart = build.op("Sub", build.op("Unsqueeze", a, [1]), build.op("Unsqueeze", b, [0]))
    squares = build.op("ReduceSumSquare", apart, [2], keepdims=0)
    return build.op("Sqrt", squares) if attribute(node, "metric", "sqeuclidean") == "euclidean" else squares
