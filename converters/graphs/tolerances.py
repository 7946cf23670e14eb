"""How far two stages may differ, by the precision of the lower one. The one place for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Tolerance:
    """A tensor passes where |found - expected| <= `scale` * max|expected| + `relative` * |expected| for every element."""

    scale: float
    """Absolute, in units of the largest expected magnitude: rounding errors of a sum grow with its largest terms."""
    relative: float
    score: float
    """Absolute difference of a detection's score, in 0..1."""
    iou: float
    """Least overlap of two boxes that are the same detection."""
    top1: float
    """Least share of rows whose best class agrees."""


TOLERANCES = {
    # fp32: sums in another order, of up to 1e5 terms (eps 6e-8), through some 100 layers; measured on torchvision's
    # models between PyTorch, ONNX Runtime and TVM: up to 2e-5 of the scale
    "fp32": Tolerance(scale=2e-4, relative=1e-3, score=5e-3, iou=0.9, top1=1.0),
    # fp16: each result is rounded to 11 bits (eps 4.9e-4), and a hundred layers carry it on; measured on ResNet-50 with
    # random weights, which amplify more than trained ones: 2.2e-2 of the scale, and 1.5e-1 in bf16
    "fp16": Tolerance(scale=3e-2, relative=1e-2, score=2e-2, iou=0.9, top1=0.99),
    # bf16: 8 bits, eight times as coarse
    "bf16": Tolerance(scale=2.4e-1, relative=8e-2, score=1e-1, iou=0.8, top1=0.95),
    # int8: a rounding that falls on the other side is a whole step of 1/127
    "int8": Tolerance(scale=1e-1, relative=5e-2, score=1e-1, iou=0.8, top1=0.95),
}


@dataclass(frozen=True)
class Apart:
    """Two tensors of one shape held against each other, element by element."""

    each: NDArray[Any]
    """|found - expected| in float64: 0 where they are equal or both NaN, infinite where one alone is NaN or infinite."""
    magnitudes: NDArray[Any]
    """|expected| in float64."""
    scale: float
    """The largest finite one of them."""
    exact: bool
    """Integers, booleans, strings: they are equal or not. Whole numbers that float64 can't tell apart are at least 1 apart."""

    @classmethod
    def of(cls, expected: NDArray[Any], found: NDArray[Any]) -> Apart:
        import numpy as np

        exact = expected.dtype.kind in "iubOUST"
        with np.errstate(invalid="ignore", over="ignore"):
            if expected.dtype.kind in "OUST":
                each = (expected != found).astype(np.float64)
                return cls(each, np.zeros(each.shape), 0.0, exact)
            wide = np.complex128 if expected.dtype.kind == "c" else np.float64
            a, b = expected.astype(wide), found.astype(wide)
            same = (expected == found) if exact else (a == b) | (np.isnan(a) & np.isnan(b))
            each = np.where(same, 0.0, np.abs(a - b))
        each = np.where(np.isnan(each), np.inf, each)
        magnitudes = np.abs(a)
        scale = float(magnitudes[np.isfinite(magnitudes)].max(initial=0.0))
        return cls(np.where(~same & exact, np.maximum(each, 1.0), each), magnitudes, scale, exact)

    def excess(self, scale: float, relative: float = 0.0) -> float:
        """The largest difference in units of what is allowed, `scale` * the largest magnitude + `relative` * the element's
        own: above 1 the tensors differ. Infinite for any difference where none is allowed.
        """
        import numpy as np

        if self.exact:
            return float("inf") if self.each.any() else 0.0
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            allowed = scale * self.scale + relative * self.magnitudes
            ratio = np.where(self.each == 0, 0.0, self.each / allowed)
        return float(np.where(np.isnan(ratio), np.inf, ratio).max(initial=0.0))
