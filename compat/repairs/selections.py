"""Sums of chosen elements, as a product with a matrix of zeros and ones that a run makes.

In a plain product what is not chosen counts too, with a factor of 0, and 0 times an infinite number is none: one infinite element
would spoil every sum.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder


def summed(build: Builder, chosen: ir.Value, values: ir.Value, kind: ir.DataType) -> ir.Value:
    """For each row of `chosen`, bool[m, n], the sum of those rows of `values`, `kind`[n, width], that it chooses: `kind`[m, width].

    What is not finite is counted apart, a NaN as infinite on both sides, whose sum it is.
    """

    def number(value: float) -> ir.Value:
        return build.constant(np.asarray(value).astype(kind.numpy()))

    below, above = build.op("Less", values, number(math.inf)), build.op("Greater", values, number(-math.inf))
    finite = build.op("Where", build.op("And", below, above), values, number(0))
    marks = (build.op("Cast", build.op("Not", within), to=kind) for within in (below, above))
    product = build.op("MatMul", build.op("Cast", chosen, to=kind), build.op("Concat", finite, *marks, axis=1))
    total, *counts = build.ops("Split", product, outputs=3, axis=1, num_outputs=3)
    for count, infinite in zip(counts, (math.inf, -math.inf), strict=True):
        total = build.op(
            "Add", total, build.op("Where", build.op("Greater", count, number(0)), number(infinite), number(0))
        )
    return total
