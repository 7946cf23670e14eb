"""Square matrices, and transformations of the plane and of space."""

from __future__ import annotations

import numpy as np

from enginesmith.converters.data.derived.resized import Array, Shape, resized, rows

NEAR = 1e-3
TURN = 0.3
"""Radians, about, that a rotation is turned by."""
JITTER = 0.05
"""Relative, of the numbers of a transformation."""
LARGEST = 64
"""Sides of a matrix that is looked at for a rotation."""
TRANSFORMS = ((2, 3), (3, 3), (3, 4), (4, 4))


def transforms(observed: Array, shape: Shape, rng: np.random.Generator) -> Array | None:
    """Rotations, with or without a shift, and cameras and homographies, whose last row is 0 0 1."""
    sides = observed.shape[-2:]
    if not _real(observed) or observed.ndim < 2 or shape[-2:] != sides or max(sides) > LARGEST:
        return None
    base = resized(observed, shape).astype(np.float64)
    if sides[0] == sides[1] and _orthogonal(observed):
        return _rotation(sides[0], rng) @ base
    if sides not in TRANSFORMS:
        return None
    last = np.eye(*sides)[-1]
    if sides[0] == sides[1] and not (observed[..., -1, :] == last).all():
        return None
    if sides[0] > 2 and _orthogonal(observed[..., :3, :3]) and sides[1] == 4:
        made = base.copy()
        made[..., :3, :3] = _rotation(3, rng) @ base[..., :3, :3]
        made[..., :3, 3] *= 1 + JITTER * rng.uniform(-1, 1, made[..., :3, 3].shape)
        return made
    if sides[0] == sides[1] or ((observed == 0) | (observed == 1)).any():
        kept = (base == 0) | (base == 1)
        return np.where(kept, base, base * (1 + JITTER * rng.uniform(-1, 1, base.shape)))
    return None


def paired(observed: Array, shape: Shape, rng: np.random.Generator) -> Array | None:
    """Symmetric, antisymmetric or diagonally dominant ones: rows and columns in another order, alike, mixed with the observed ones.
    That keeps them so, and positive definite.
    """
    if not _square(observed, shape):
        return None
    turned = np.swapaxes(observed, -1, -2)
    near = NEAR * float(abs(observed).max())
    if (abs(observed - turned) > near).any() and (abs(observed + turned) > near).any() and not _dominant(observed):
        return None
    base = _of_side(rows(observed, shape, 2), shape[-1]).astype(np.float64)
    order = rng.permutation(shape[-1])
    share = rng.uniform(0.2, 0.8)
    return (1 - share) * base + share * base[..., order, :][..., order]


def triangular(observed: Array, shape: Shape, rng: np.random.Generator) -> Array | None:
    """Nearer to zero, each number by itself; what is 0 stays so."""
    if not _square(observed, shape) or not (
        (np.tril(observed) == observed).all() or (np.triu(observed) == observed).all()
    ):
        return None
    base = _of_side(rows(observed, shape, 2), shape[-1]).astype(np.float64)
    return base * rng.uniform(0.8, 1, base.shape)


def _real(observed: Array) -> bool:
    return observed.dtype.kind == "f" and bool(np.isfinite(observed).all())


def _square(observed: Array, shape: Shape) -> bool:
    alike = observed.ndim > 1 and observed.shape[-1] == observed.shape[-2] > 1 and shape[-1] == shape[-2]
    return alike and _real(observed) and bool((observed != observed.flat[0]).any())


def _orthogonal(observed: Array) -> bool:
    exact = observed.astype(np.float64)
    return bool((abs(exact @ np.swapaxes(exact, -1, -2) - np.eye(exact.shape[-1])) < NEAR).all())


def _dominant(observed: Array) -> bool:
    sizes = abs(observed.astype(np.float64))
    diagonal = np.diagonal(sizes, axis1=-2, axis2=-1)
    return bool((2 * diagonal > sizes.sum(axis=-1)).all())


def _rotation(side: int, rng: np.random.Generator) -> Array:
    """Cayley's transform of a skew matrix."""
    drawn = rng.standard_normal((side, side)) * TURN / 2
    skew = np.triu(drawn, 1) - np.triu(drawn, 1).T
    made: Array = np.linalg.solve(np.eye(side) - skew, np.eye(side) + skew)
    return made


def _of_side(observed: Array, side: int) -> Array:
    """The first rows and columns, or copies along the diagonal."""
    had = observed.shape[-1]
    if side <= had:
        return observed[..., :side, :side]
    made = np.zeros((*observed.shape[:-2], side, side), observed.dtype)
    for start in range(0, side, had):
        some = min(had, side - start)
        made[..., start : start + some, start : start + some] = observed[..., :some, :some]
    return made
