"""How near to a number another one counts as it in the rewrites that torch's exporter ends with (onnxscript's): 1e-5 of it, and
1e-8. So an `x + 1e-8`, which keeps a division from being one by zero, is taken for `x + 0` and removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NEAR = 2**-22
"""Relative: two steps of float32, since constants of patterns such as the square root of 2 are rounded in a graph."""


@contextmanager
def nothing_rounded_away() -> Iterator[None]:
    """Only 0 is 0 for these rewrites, and only 1 up to a rounding is 1."""
    from onnxscript.rewriter import _pattern_ir

    constant: Any = _pattern_ir.Constant
    # a property goes before what an instance holds itself: the patterns were made when they were imported
    constant._rel_tol = property(lambda _: NEAR, lambda own, number: vars(own).update(_rel_tol=number))
    constant._abs_tol = property(lambda _: 0.0, lambda own, number: vars(own).update(_abs_tol=number))
    try:
        yield
    finally:
        del constant._rel_tol, constant._abs_tol
