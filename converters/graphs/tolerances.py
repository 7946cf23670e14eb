"""How far two stages may differ, by the precision of the lower one. The one place for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from enginesmith.converters.graphs.magnitudes import local_scales

if TYPE_CHECKING:
    from numpy.typing import NDArray


STEP = 2**-22
"""Relative, of float32 after a few operations."""
SUBNORMAL = 2.0**-126
"""Float32's least normal number: hardware and kernels take smaller ones as 0."""
STEPS = 4
"""What is left where numbers around 1 cancel each other. GELU's tail by erf is 1.3 steps off."""


@dataclass(frozen=True)
class Tolerance:
    """A tensor passes where |found - expected| <= `scale` * s + `relative` * |expected| for every element. s is the largest
    magnitude of the element's kind: sentinels, and numbers that are larger by orders, don't count.
    """

    scale: float
    """Absolute, in units of s: rounding errors of a sum grow with its largest terms."""
    relative: float
    score: float
    """Absolute difference of a detection's score, in 0..1."""
    iou: float
    """Least overlap of two boxes that are the same detection."""
    top1: float
    """Least share of rows whose best class agrees."""
    step: float
    """Relative rounding step: what is smaller than its neighbours by more than that is what rounding left."""
    floor: float | None = None
    """Takes the place of `scale` and of `relative` where it is known what rounding alone does to the output, for what runtimes
    do otherwise: approximations of exp, tanh, erf. None: they hold all the same."""

    def times(self, factor: float) -> Tolerance:
        """The same for tensors, wider."""
        return replace(self, scale=factor * self.scale, relative=factor * self.relative)


TOLERANCES = {
    # fp32: sums in another order, of up to 1e5 terms (eps 6e-8), through some 100 layers; measured on torchvision's
    # models between PyTorch, ONNX Runtime and TVM: up to 2e-5 of the scale
    "fp32": Tolerance(scale=9e-5, relative=5e-4, score=5e-3, iou=0.97, top1=1.0, step=STEP, floor=4e-6),
    # fp16: each result is rounded to 11 bits (eps 4.9e-4), and a hundred layers carry it on; measured on ResNet-50 with
    # random weights, which amplify more than trained ones: 2.2e-2 of the scale, and 1.5e-1 in bf16
    "fp16": Tolerance(scale=3e-2, relative=1e-2, score=2e-2, iou=0.9, top1=0.99, step=2**-10),
    # bf16: 8 bits, eight times as coarse
    "bf16": Tolerance(scale=2.4e-1, relative=8e-2, score=1e-1, iou=0.8, top1=0.95, step=2**-7),
    # int8: a rounding that falls on the other side is a whole step of 1/127
    "int8": Tolerance(scale=1e-1, relative=5e-2, score=1e-1, iou=0.8, top1=0.95, step=2**-6),
}

OWN = {"fp16": replace(TOLERANCES["fp16"], floor=2**-9), "bf16": replace(TOLERANCES["bf16"], floor=2**-6)}
"""Of models that compute in 16 bits themselves: two results of an operator may be neighbours, and a few operators on are as many
steps apart. What rounding does beyond that, a run of the model in float64 tells."""


def tolerance_of(precision: str, own: str = "fp32") -> Tolerance:
    """Of a graph or an engine in this precision, of a model that computes in `own` itself: the wider one of both."""
    asked = TOLERANCES[precision]
    if own not in OWN:
        return asked
    least, most = ("iou", "top1"), ("scale", "relative", "score", "step")
    floor = OWN[own].floor if precision == "fp32" else asked.floor
    wider = {name: max(getattr(asked, name), getattr(OWN[own], name)) for name in most}
    return Tolerance(
        **wider, **{name: min(getattr(asked, name), getattr(OWN[own], name)) for name in least}, floor=floor
    )


@dataclass(frozen=True)
class Apart:
    """Two tensors of one shape held against each other, element by element."""

    each: NDArray[Any]
    """|found - expected| in float64: 0 where they are equal or both NaN, infinite where one alone is NaN or infinite."""
    magnitudes: NDArray[Any]
    """|expected| in float64."""
    scales: NDArray[Any]
    """What each element's difference is measured by: the largest magnitude of its level, see `magnitudes.local_scales`."""
    step: float
    """Relative rounding step."""
    exact: bool
    """Integers, booleans, strings: they are equal or not. Whole numbers that float64 can't tell apart are at least 1 apart."""

    @classmethod
    def of(cls, expected: NDArray[Any], found: NDArray[Any], step: float = STEP) -> Apart:
        import numpy as np

        exact = expected.dtype.kind in "iubOUST"
        with np.errstate(invalid="ignore", over="ignore"):
            if expected.dtype.kind in "OUST":
                each = np.asarray(expected != found).astype(np.float64)
                return cls(each, np.zeros(each.shape), np.array(0.0), step, exact)
            wide = np.complex128 if expected.dtype.kind == "c" else np.float64
            a, b = expected.astype(wide), found.astype(wide)
            same = (expected == found) if exact else (a == b) | (np.isnan(a) & np.isnan(b))
            each = np.where(same, 0.0, np.abs(a - b))
        each = np.where(np.isnan(each), np.inf, each)
        magnitudes = np.abs(a)
        scales = np.array(0.0) if exact else local_scales(magnitudes, step)
        return cls(np.where(~same & exact, np.maximum(each, 1.0), each), magnitudes, scales, step, exact)

    @property
    def scale(self) -> float:
        """The largest finite magnitude."""
        import numpy as np

        return float(self.magnitudes[np.isfinite(self.magnitudes)].max(initial=0.0))

    def allowed(self, scale: float, relative: float) -> NDArray[Any]:
        """Of each element's difference: `scale` * its scale + `relative` * its magnitude, and nothing of an exact one's. Where
        anything is allowed, `STEPS` rounding steps of numbers around 1 are, which small ones often come of: exp(x) - 1.
        """
        import numpy as np

        if self.exact:
            return np.array(0.0)
        with np.errstate(invalid="ignore", over="ignore"):
            residue = STEPS * self.step * min(1.0, float(self.scales.max())) + SUBNORMAL if scale else 0.0
            return np.nan_to_num(scale * self.scales + relative * self.magnitudes + residue, nan=0.0, posinf=0.0)

    def excess(self, scale: float, relative: float = 0.0) -> float:
        """The largest difference in units of what is `allowed`: above 1 the tensors differ. Infinite for any difference where
        none is.
        """
        return float(excesses(self.each, self.allowed(scale, relative)).max(initial=0.0))


def nearer(expected: NDArray[Any], other: NDArray[Any], found: NDArray[Any]) -> NDArray[Any]:
    """Of what two witnesses expect, element by element what `found` is nearer to; the first's where their shapes differ."""
    import numpy as np

    if not expected.shape == other.shape == found.shape:
        return expected
    return np.where(Apart.of(other, found).each < Apart.of(expected, found).each, other, expected).astype(
        expected.dtype
    )


def excesses(each: NDArray[Any], allowed: NDArray[Any]) -> NDArray[Any]:
    """Differences in units of what is allowed; infinite for any where nothing is."""
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.where(each == 0, 0.0, each / allowed)
