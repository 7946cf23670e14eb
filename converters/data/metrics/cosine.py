"""How far the outputs point in the direction of the float32 graph's."""

from __future__ import annotations

from typing import Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.samples import Array
from enginesmith.converters.data.metrics.base import Metric, Outputs


class Cosine(Metric):
    """Mean over the examples and their outputs of floats of the cosine between found and expected."""

    name = "cosine"
    takes_targets = False

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0

    def fresh(self) -> Cosine:
        return Cosine()

    def add(self, outputs: Outputs, reference: Outputs, target: Any) -> None:
        floats = [name for name, array in reference.items() if array.dtype.kind == "f"]
        if not floats:
            raise UserError("METRIC=cosine needs outputs of floats, and there are none; give METRIC=file.py:function")
        for name in floats:
            self.total += cosine(reference[name], outputs[name])
            self.count += 1

    def value(self) -> float:
        return self.total / max(self.count, 1)


def cosine(expected: Array, found: Array) -> float:
    """In -1..1; 1 for equal arrays without direction (zeros), 0 where only one has none, the shapes differ, or `found`
    has NaN or infinity at a place where `expected` has a number.
    """
    import numpy as np

    if expected.shape != found.shape:
        return 0.0
    there = np.isfinite(expected)
    a, b = expected[there].astype(np.float64), found[there].astype(np.float64)
    if not np.isfinite(b).all():
        return 0.0
    # scaled first: squares of large numbers overflow
    scale_a, scale_b = np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)
    if not scale_a or not scale_b:
        return float(scale_a == scale_b)
    a, b = a / scale_a, b / scale_b
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1, 1))
