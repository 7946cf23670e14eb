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
PRECISIONS = {"float16": "fp16", "bfloat16": "bf16"}

Products = dict[str, dict[str, int]]
"""Kind of product to its number by dtype."""


def products_of(onnx_file: Path) -> Products:
    """The products of a graph, subgraphs included, by kind and dtype. Weights are not read."""
    import onnx_ir as ir

    from enginesmith.compat.graphs import infer
    from enginesmith.converters.precision.structure import ordered

    model = infer(ir.load(onnx_file))
    counts: dict[str, Counter[str]] = {}
    for node in ordered(model.graph):
        kind, dtype = KINDS.get(node.op_type), node.outputs[0].dtype if node.outputs else None
        if kind and dtype is not None and dtype.is_floating_point():
            counts.setdefault(kind, Counter())[dtype.numpy().name] += 1
    return {kind: dict(found) for kind, found in counts.items()}


def shortfall(asked: Products, built: Products) -> str:
    """What the network lacks of the 16-bit layers that the graph asks for, in one line; empty when nothing is lacking.

    A layer that the parser has folded away is no shortfall: then there is none in float32 in its place.
    """
    for kind, wanted in asked.items():
        found = built.get(kind, {})
        for dtype, precision in PRECISIONS.items():
            count = wanted.get(dtype, 0)
            wide = found.get("float32", 0) - wanted.get("float32", 0)
            if count and found.get(dtype, 0) < count and wide > 0:
                return f"asked {precision}, {found.get(dtype, 0)} of {count} {kind} are {dtype}"
    return ""
