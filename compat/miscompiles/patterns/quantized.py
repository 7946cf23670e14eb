"""Products of numbers of 4 and 8 bits."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.miscompiles.patterns.around import following
from enginesmith.compat.miscompiles.patterns.registry import pattern
from enginesmith.compat.values import argument, dtype, shape

FP4 = ir.DataType.FLOAT4E2M1


@pattern("DequantizeLinear")
def fp4_product(node: ir.Node) -> str | None:
    """A product with weights of FP4."""
    return "a product of FP4" if _product(node) is not None else None


@pattern("DequantizeLinear")
def fp4_product_of_one_row(node: ir.Node) -> str | None:
    """A product with weights of FP4 for a batch of 1, with something behind it that is computed in the same kernel."""
    product = _product(node)
    batch = (shape(product.outputs[0]) or [None])[0] if product is not None else None
    fused = product is not None and any(following(product, "Add", "Mul", "Sigmoid", "Relu", "Gelu", "Swish", steps=2))
    return "a product of FP4 for a batch of 1" if batch == 1 and fused else None


@pattern("trt::TRT_MXFP8DynamicQuantize")
def mxfp8_blocks(node: ir.Node) -> str | None:
    """Blocks of MXFP8, which get their scales at run time."""
    return "MXFP8 with scales of its own for each block"


def _product(node: ir.Node) -> ir.Node | None:
    if dtype(argument(node, 0)) != FP4:
        return None
    return next(following(node, "MatMul", "Gemm", steps=2, through=("Transpose",)), None)
