"""What a tensor's numbers are measured by: a sentinel of -1e9, or one large class, says nothing about its neighbours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

APART = 1e-2
"""Some of the elements are a level of their own where they are this much smaller than their number would let expect. Numbers
of one kind lie about evenly below their largest: a tenth of them below a tenth of it."""
CHANCE = 1e-6
"""How unlikely it must be that so few elements are so small, or so large, by chance."""
SENTINEL = 1e4
"""A level of one single magnitude, this large or larger, is a mark, such as a mask's -1e9."""
CHANNEL = 64
"""Elements of a channel from which it is told whether its small ones are of a level of their own."""
MOST = 1 << 17
"""Elements that levels are looked for in; of more, as many at even distances."""


def local_scales(magnitudes: NDArray[Any], step: float) -> NDArray[Any]:
    """For each element the largest magnitude of its level, of the same shape or a single one where all are of one level.

    `magnitudes` is float64, not negative; NaN and infinity are of no level, and don't count. Next to anything but a
    sentinel, numbers smaller by more than `step`, the relative rounding step, are what rounding left, and no level. A
    zero is of the highest level that isn't a sentinel's. Where a gate makes a channel (axis 1 of three or more) small, what is as
    small in another one is of that one's level: it is a sum of its large terms.
    """
    import numpy as np

    scales = _scales(magnitudes, step)
    if scales.ndim > 2 and magnitudes[:, :1].size >= CHANNEL:
        mixed = scales.min((0, *range(2, scales.ndim))) < scales.max((0, *range(2, scales.ndim)))
        for channel in np.flatnonzero(mixed):
            scales[:, channel] = np.maximum(scales[:, channel], _scales(magnitudes[:, channel], step))
    return scales


def _scales(magnitudes: NDArray[Any], step: float) -> NDArray[Any]:
    import numpy as np

    numbers = magnitudes[np.isfinite(magnitudes) & (magnitudes > 0)]
    if not numbers.size:
        return np.array(0.0)
    largest = numbers.max()
    distance = numbers.size // MOST + 1
    levels = _levels(numbers if distance == 1 else np.append(numbers[::distance], largest), step)
    plain = [number for number, (_, sentinel) in enumerate(levels) if not sentinel]
    if len(levels) == 1 and plain:
        return np.array(largest)
    tops = [float(numbers.max(where=numbers < bound, initial=0.0)) for bound, _ in levels]
    scales = np.full(magnitudes.shape, largest)
    for (bound, _), top in zip(levels, tops, strict=True):
        scales[magnitudes < bound] = top
    scales[magnitudes == 0] = tops[plain[0]] if plain else 1.0
    return scales


def _levels(numbers: NDArray[Any], step: float) -> list[tuple[float, bool]]:
    """Each level, highest first: a power of two above its numbers, and whether it is a sentinel."""
    import numpy as np

    levels = []
    while True:
        largest = float(numbers.max())
        exponents = np.frexp(numbers)[1]
        top = int(exponents.max())
        gaps = top - np.arange(int(exponents.min()), top)
        members = np.cumsum(np.bincount(exponents - int(exponents.min())))[:-1]
        # the lower ones are below 2**(top - gap), the largest of all is at least 2**(top - 1)
        share = 2.0 ** (1 - gaps) * len(numbers) / members
        # of n numbers that lie evenly below 1, m lie below t with a chance of less than (e n t / m)**m
        split = np.flatnonzero(share < np.minimum(APART, np.exp(math.log(CHANCE) / members - 1)))
        lower = numbers[exponents <= top - gaps[split[-1]]] if split.size else numbers[:0]
        level = numbers[numbers > lower.max(initial=0.0)]
        sentinel = largest >= SENTINEL and bool(level.min() == largest)
        levels.append((math.ldexp(1.0, top), sentinel))
        if not lower.size or not (sentinel or lower.max() > step * largest):
            return levels
        numbers = lower
