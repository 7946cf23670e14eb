"""What rounding alone does to a model's outputs on a sample: the same graph on the same inputs in float64 tells."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from enginesmith.converters.core.samples import Array, Feed
from enginesmith.converters.graphs.tolerances import Apart, Tolerance, excesses

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from polygraphy.comparator import IterationResult

MARGIN = 32
"""Another runtime adds in another order, by other algorithms: in units of what rounding did to the reference."""
TYPICAL = 0.9
"""Quantile of what rounding did to the elements of one level."""
JUMPS = 4
"""Elements that may jump elsewhere than rounding alone made them jump, for each one that it did: a floor, an argmax, a mask of a
threshold go either way where the number before them is within rounding of the edge."""
LOST = 0.1
"""Share of elements that jump above which an output says nothing on the sample."""
DROWNED = 0.5
"""Part of an element's scale that may be allowed for rounding; more, and the element says nothing."""


class Alone(NamedTuple):
    """One sample's outputs of the reference, and those of the same graph in float64."""

    reference: IterationResult
    exact: IterationResult
    whole: bool = True
    """False: those of the reference itself on `moved` inputs, or with moved weights. Rounding does as much, and more: what is allowed
    otherwise is so all the same, and no jump is excused, since moved inputs break ties."""
    shaken: IterationResult | None = None
    """Those of the graph in float64 where every operator's result is rounded at random: what the reference's own roundings, which
    may happen to be none, could have done."""


def moved(feed: Feed, seed: int = 0) -> Feed:
    """Inputs whose finite floating-point numbers are the next ones, up or down, but for zeros."""
    import numpy as np

    rng = np.random.default_rng(seed)

    def move(array: Array) -> Array:
        if array.dtype.kind != "f":
            return array
        ways = rng.choice(np.array([-np.inf, np.inf], array.dtype), array.shape)
        return np.where(np.isfinite(array) & (array != 0), np.nextafter(array, ways), array)

    return OrderedDict((name, move(array)) for name, array in feed.items())


@dataclass(frozen=True)
class Judgement:
    """How far an output is from what was expected, and how far it may be."""

    expected: NDArray[Any]
    apart: Apart
    ratio: NDArray[Any]
    """Each difference in units of what is allowed; 0 where nothing is judged."""
    allowed: NDArray[Any]
    """Of each element, absolute."""
    rounding: NDArray[Any] | None
    """What rounding alone does to each element, absolute; None where it isn't known."""
    passed: bool
    ill_posed: float
    """Share of the elements that rounding alone decides."""


def judge(
    expected: NDArray[Any],
    found: NDArray[Any],
    tolerance: Tolerance,
    alone: tuple[Any, Any] | None = None,
    whole: bool = True,
    shaken: Any = None,
) -> Judgement:
    """Two tensors of one shape. `alone` is the reference's tensor and the float64 one; `whole` and `shaken` as in Alone."""
    import numpy as np

    apart = Apart.of(expected, found, tolerance.step)
    if alone is None or not (alone[0].shape == alone[1].shape == expected.shape):
        allowed = np.broadcast_to(apart.allowed(tolerance.scale, tolerance.relative), expected.shape)
        ratio = excesses(apart.each, allowed)
        return Judgement(expected, apart, ratio, allowed, None, not (ratio > 1).any(), 0.0)
    moves = Apart.of(*alone, tolerance.step).each
    own, typical = moves, _typical(moves, apart)
    if shaken is not None and shaken.shape == expected.shape:
        own = Apart.of(alone[1], shaken, tolerance.step).each
        typical = np.maximum(typical, _typical(own, apart))
    known = tolerance.floor if whole else None
    floor = (tolerance.scale, tolerance.relative) if known is None else (known, known)
    allowed = np.broadcast_to(np.maximum(apart.allowed(*floor), MARGIN * typical), expected.shape)
    far = moves > allowed
    jumps = far & whole
    # A few elements are worse conditioned than most of their level: of a detector's boxes, say, one in twenty. What moved inputs
    # move far may be a tie that they broke.
    allowed = np.where(far & (not whole), allowed, np.maximum(allowed, MARGIN * np.maximum(moves, own)))
    drowned = (MARGIN * typical > DROWNED * apart.scales) & (apart.scales > 0) & np.isfinite(apart.each)
    ratio = np.where(jumps | drowned, 0.0, excesses(apart.each, allowed))
    over = ratio > 1
    few = int(over.sum()) <= min(JUMPS * int(jumps.sum()), LOST * over.size)
    passed = not over.any() or bool(few and apart.each[over].max() <= 2 * moves[jumps].max(initial=0.0))
    ill_posed = 1.0 if jumps.mean() > LOST else float((jumps | drowned).mean()) if jumps.size else 0.0
    return Judgement(expected, apart, ratio, allowed, np.maximum(moves, typical), passed, ill_posed)


def _typical(moves: NDArray[Any], apart: Apart) -> NDArray[Any]:
    """What rounding did to most of the elements of a level, for each element; 0 for exact ones. A zero that it leaves, as most are of
    a ReLU, is exact."""
    import numpy as np

    if apart.exact or not moves.size:
        return np.array(0.0)
    scales = np.broadcast_to(apart.scales, moves.shape)
    typical = np.zeros(moves.shape)
    for scale in np.unique(apart.scales):
        level = scales == scale
        counted = moves[level & ((apart.magnitudes > 0) | (moves > 0)) & np.isfinite(moves)]
        if counted.size:
            typical[level] = np.quantile(counted, TYPICAL, method="higher")
    return typical
