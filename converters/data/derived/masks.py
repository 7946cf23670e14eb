"""Inputs of two values: masks, one-hot rows, causal and padded attention."""

from __future__ import annotations

import numpy as np

from enginesmith.converters.data.derived.resized import Array, Shape, resized

HIDES = -1e4
"""What is added to a score to hide it is this, or less."""


def is_mask(name: str) -> bool:
    """Does an input of this name hold zeros and ones?"""
    return "mask" in name.lower()


def shown(observed: Array, shape: Shape, rng: np.random.Generator) -> Array | None:
    """For a mask that hides nothing, all of one boolean or all 1: here and there the end of a row is hidden, as padding is."""
    first = observed.flat[0]
    if not (observed == first).all() or (observed.dtype != bool and first != 1):
        return None
    seen = _padded(np.ones(observed.shape, bool), shape, rng) if shape[-1] > 1 else np.ones(shape, bool)
    return np.asarray(np.where(seen, first, np.logical_not(first)))


def binary(observed: Array, shape: Shape, rng: np.random.Generator) -> Array | None:
    """Zeros and ones; or 0 and what hides a score, for attention that is added to."""
    if not is_binary(observed):
        return None
    low, high = observed.min(), observed.max()
    return np.asarray(np.where(_pattern(observed == high, shape, rng), high, low))


def is_binary(observed: Array) -> bool:
    """Has it two values, such as `binary` makes?"""
    if not observed.size:
        return False
    low, high = observed.min(), observed.max()
    if low == high or not ((observed == low) | (observed == high)).all():
        return False
    known = observed.dtype == bool or (low, high) in ((0, 1), (-1, 1))
    return bool(known or (observed.dtype.kind == "f" and low <= HIDES and high == 0))


def _pattern(on: Array, shape: Shape, rng: np.random.Generator) -> Array:
    for axis in (-1, 1):
        if on.ndim > max(axis, 0) and on.shape[axis] > 1 and (on.sum(axis) == 1).all():
            return _one_hot(shape, axis, rng)
    if on.ndim > 1 and min(on.shape[-2:]) > 1:
        causal = _causal(on.shape)
        if (on == causal).all():
            return _causal(shape)
        if (on == ~causal).all():
            return ~_causal(shape)
    if not (on[..., 1:] & ~on[..., :-1]).any():
        return _padded(on, shape, rng)
    if not (on[..., :-1] & ~on[..., 1:]).any():
        return _padded(on[..., ::-1], shape, rng)[..., ::-1]
    made = resized(on, shape)
    if on.ndim > 3:  # regions of a picture
        return np.roll(made, [int(rng.integers(size)) for size in shape[2:]], tuple(range(2, on.ndim)))
    made = rng.permuted(made, axis=-1 if shape[-1] > 1 else None)
    return _telling(made, on)


def _one_hot(shape: Shape, axis: int, rng: np.random.Generator) -> Array:
    sizes = [*shape]
    count = sizes.pop(axis)
    made = rng.integers(count, size=sizes)[..., None] == np.arange(count)
    return np.moveaxis(made, -1, axis)


def _causal(shape: Shape) -> Array:
    height, width = shape[-2:]
    return np.broadcast_to(np.tri(height, width, width - height, dtype=bool), shape)


def _padded(on: Array, shape: Shape, rng: np.random.Generator) -> Array:
    """Rows that begin with ones; one of several stays full where one was."""
    lengths = on.sum(axis=-1)
    width = shape[-1]
    drawn = rng.integers(0 if (lengths == 0).any() else min(1, width), width + 1, shape[:-1])
    if (lengths == on.shape[-1]).any() and drawn.size > 1:
        drawn.ravel()[0] = width
    elif drawn.size == 1 and width > 1 and on.shape == shape:  # another one than the observed
        drawn = np.where(drawn == lengths, np.maximum(drawn - 1, 1), drawn)
    return np.arange(width) < drawn[..., None]


def _telling(made: Array, observed: Array) -> Array:
    """No row is hidden altogether, nor shows all, where none was: it may have no meaning."""
    if made.shape[-1] < 2:
        return made
    made = made.copy()
    if observed.any(axis=-1).all():
        made[..., 0] |= ~made.any(axis=-1)
    if not observed.all(axis=-1).any():
        made[..., -1] &= ~made.all(axis=-1)
    return made
