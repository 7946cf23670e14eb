"""Does an engine compute in the types that its graph asks for? The counts of the parsed network say so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

KINDS = {
    "Conv": "convolutions",
    "ConvTranspose": "transposed convolutions",
    "Gemm": "matrix products",
    "MatMul": "matrix products",
}
"""ONNX operators that a parser turns into one layer each, and what they are called together."""
PRECISIONS = {"int8": "int8", "int8 weights": "int8", "int4 weights": "int4", "float16": "fp16", "bfloat16": "bf16"}
"""What a user calls a dtype below float32."""

Products = dict[str, dict[str, int]]
"""Kind of product to its number by dtype."""


def products_of(onnx_file: Path) -> Products:
    """The products of a graph, subgraphs included, by kind and by what they compute in: `int8` where both factors are
    dequantized integers, `int8 weights` where one is. Weights are not read.
    """
    import onnx_ir as ir

    from enginesmith.compat.graphs import infer
    from enginesmith.converters.graphs.structure import ordered, quantization

    model = infer(ir.load(onnx_file))
    counts: dict[str, Counter[str]] = {}
    for node in ordered(model.graph):
        kind, dtype = KINDS.get(node.op_type), node.outputs[0].dtype if node.outputs else None
        if kind and dtype is not None and dtype.is_floating_point():
            counts.setdefault(kind, Counter())[quantization(node) or dtype.numpy().name] += 1
    return {kind: dict(found) for kind, found in counts.items()}


def shortfall(asked: Products, built: Products) -> str:
    """What the network lacks of the low-precision layers that the graph asks for, in one line; empty when nothing is
    lacking.

    A layer that the parser has folded away is no shortfall: then there is none of a higher precision in its place.
    """
    for kind, wanted in asked.items():
        found = built.get(kind, {})
        for dtype, precision in PRECISIONS.items():
            count = wanted.get(dtype, 0)
            others = any(number > wanted.get(other, 0) for other, number in found.items() if other != dtype)
            if found.get(dtype, 0) < count and others:
                return f"asked {precision}, {found.get(dtype, 0)} of {count} {kind} are {dtype}"
    return ""
