"""Integers that say how large another input is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from enginesmith.converters.data.derived.resized import Array, Shape


def following(made: Mapping[str, Array], observed: Mapping[str, Array]) -> dict[str, Array]:
    """Lengths and last indices brought within the sizes that the inputs were `made` at: where the largest observed number was the
    size of a dimension, or one less, none is larger than its size is now; the largest itself becomes that.
    """
    shapes: dict[str, tuple[Shape, Shape]] = {
        name: (observed[name].shape, array.shape) for name, array in made.items() if name in observed
    }
    became: dict[int, int] = {}
    for before, after in shapes.values():
        for old, new in zip(before, after, strict=True):
            if old != new and old > 1:
                became[old] = min(new, became.get(old, new))
    found = dict(made)
    for name, array in made.items():
        seen = observed.get(name)
        if seen is None or seen.dtype.kind not in "iu" or not seen.size or seen.ndim > 2:
            continue
        most = int(seen.max())
        for size in (most, most + 1):
            if size in became and most > 0:
                now = max(became[size] - (size - most), 0)
                grown = np.where(array == most, now, array) if size == most else array
                found[name] = np.minimum(grown, now).astype(array.dtype)
                break
    return found
