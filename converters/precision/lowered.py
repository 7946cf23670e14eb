"""What is known of a graph in a lower precision."""

from __future__ import annotations

from pathlib import Path

from enginesmith.converters.core.records import Lowering
from enginesmith.converters.core.stage import MODEL, Facts
from enginesmith.converters.graphs.describe import describe


def lowered_facts(out: Path, lowering: Lowering) -> Facts:
    """What is known of the lowered graph in `out`."""
    total = sum(lowering.products_by_dtype.values())
    counts = ", ".join(
        f"{lowering.products_by_dtype[dtype]} {dtype}"
        for dtype in ("int8", "int8 weights", "float16", "bfloat16", "float32")
        if lowering.products_by_dtype.get(dtype)
    )
    return describe(out / MODEL).model_copy(
        update={
            "lowering": lowering,
            "findings": lowering.findings,
            "note": f"{total} products: {counts}; {lowering.casts} casts, weights "
            f"{lowering.weights_before / 1e6:.1f} to {lowering.weights_after / 1e6:.1f} MB",
        }
    )
