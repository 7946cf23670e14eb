"""Probabilities, their logarithms, and vectors of length 1, along the last axis or the second one."""

from __future__ import annotations

import numpy as np

from enginesmith.converters.data.derived.resized import Array, Shape, resized

NEAR = 1e-3
"""How far a sum may be from 1; ten times that in 16 bits."""
SHORT = 0.1
"""A mean of two directions that is shorter has lost its own."""


def normalized(observed: Array, shape: Shape, rng: np.random.Generator) -> Array | None:
    """Each mixed with itself in another order, and normalized again."""
    if observed.dtype.kind != "f" or not np.isfinite(observed).all():
        return None
    near = NEAR * (10 if observed.dtype.itemsize == 2 else 1)
    exact = observed.astype(np.float64)
    for axis in (-1, 1):
        if observed.ndim <= max(axis, 0) or min(observed.shape[axis], shape[axis]) < 2:
            continue
        base = resized(exact, shape)
        other = rng.permuted(base, axis=axis)
        share = rng.uniform(0.2, 0.8)
        mixed = (1 - share) * base + share * other
        if (observed >= 0).all() and _is_one(exact.sum(axis), near):
            return _over(mixed, mixed.sum(axis, keepdims=True), 1 / shape[axis])
        if _is_one((exact**2).sum(axis), near):
            length = np.sqrt((mixed**2).sum(axis, keepdims=True))
            mixed = np.where(length < SHORT, other, mixed)
            return _over(mixed, np.sqrt((mixed**2).sum(axis, keepdims=True)), shape[axis] ** -0.5)
        if (observed <= 0).all() and _is_one(np.exp(exact).sum(axis), near):
            return np.asarray(other - np.log(np.exp(other).sum(axis, keepdims=True)))
    return None


def _is_one(sums: Array, near: float) -> bool:
    return bool((abs(sums - 1) <= near).all())


def _over(values: Array, sums: Array, equal: float) -> Array:
    """`equal` where there is nothing but zeros."""
    return np.where(sums > 0, values / np.where(sums > 0, sums, 1), equal)
