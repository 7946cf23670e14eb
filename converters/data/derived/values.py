"""Numbers of which nothing is known but that they occur."""

from __future__ import annotations

import numpy as np

from enginesmith.converters.data.derived.resized import Array, Shape, resized

FIELDS = 4
"""An axis of so many integers has a meaning for each: a row and a column, a head and a relation and a tail."""


def integers(observed: Array, shape: Shape, rng: np.random.Generator) -> Array:
    """The observed ones in other places: along the last axis, or whole rows where each place has a meaning of its own."""
    base = resized(observed, shape)
    if not base.ndim:
        return base
    if base.ndim > 1 and base.shape[-1] <= FIELDS < base[..., 0].size:
        return rng.permutation(base.reshape(-1, shape[-1])).reshape(shape)
    return rng.permuted(base, axis=-1)


def floats(observed: Array, shape: Shape, rng: np.random.Generator) -> Array:
    """The observed ones shifted around, with less contrast: their range, and what lies beside each other, stay. A single number
    gets nearer to zero.
    """
    base = resized(observed, shape)
    if not np.isfinite(base).all():
        return _shifted(base, rng)
    low, high = observed.min(), observed.max()
    exact = base.astype(np.float64)
    if low == high:
        nearer = exact * rng.uniform(0.5, 1)
        whole = abs(float(low)) > 1 and float(low).is_integer()
        return np.round(nearer) if whole else nearer
    mean = float(observed.astype(np.float64).mean())
    return np.clip(mean + rng.uniform(0.7, 1) * (_shifted(exact, rng) - mean), low, high)


def _shifted(base: Array, rng: np.random.Generator) -> Array:
    """Along all axes but the channels: the second one, or of three dimensions the smaller one of the last two."""
    long = [axis for axis, size in enumerate(base.shape) if size > 1]
    channels = 1 if base.ndim > 3 else -1
    if base.ndim == 3:
        channels = 1 if base.shape[1] <= base.shape[2] else 2
    axes = [axis for axis in long if axis != channels] or long
    return np.roll(base, [int(rng.integers(1, base.shape[axis])) for axis in axes], axes) if axes else base
