"""What ascends or descends along the last axis: positions, offsets, lengths, times, borders of bins."""

from __future__ import annotations

import numpy as np

from enginesmith.converters.data.derived.resized import Array, Shape, rows


def in_order(observed: Array, shape: Shape, rng: np.random.Generator) -> Array | None:
    """The observed steps in another order: the first number stays, at the same size the last one too, and what rises by at most 1
    goes on so. What counts up evenly goes on so at a larger size.
    """
    if observed.dtype == bool or observed.shape[-1] < 2:
        return None
    exact = np.float64 if observed.dtype.kind == "f" else np.int64
    steps = np.diff(observed.astype(exact), axis=-1)
    if not steps.any() or not ((steps >= 0).all() or (steps <= 0).all()):
        return None
    if observed.dtype.kind == "f" and observed.shape[-1] == 2 and observed.size < 6:  # two numbers are always in order
        return None
    even = bool((steps == steps.flat[0]).all())
    if observed.dtype.kind == "f" and even:  # numbers for want of others
        return None
    before = rows(observed, shape).astype(exact)
    first, size = before[..., :1], shape[-1]
    taken = rng.permuted(np.diff(before, axis=-1), axis=-1)
    taken = taken.take(np.arange(max(size - 1, 0)) % taken.shape[-1], axis=-1)
    made = np.concatenate([first, first + np.cumsum(taken, axis=-1)], axis=-1)[..., :size]
    goes_on = even and steps.flat[0] > 0 and size > observed.shape[-1] > 2
    return np.asarray(made if goes_on else np.clip(made, observed.min(), observed.max()))
