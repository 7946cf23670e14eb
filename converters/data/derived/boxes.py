"""Boxes: x1 y1 x2 y2, or behind the number of a picture."""

from __future__ import annotations

import numpy as np

from enginesmith.converters.data.derived.resized import Array, Shape, resized

CUT = 0.2
"""Most that is cut off at each side, of its width or height."""


def boxes(observed: Array, shape: Shape, rng: np.random.Generator) -> Array | None:
    """Whole boxes stay so; others lie within what two of them span."""
    width = observed.shape[-1]
    if width not in (4, 5) or shape[-1] != width or observed.dtype.kind not in "fiu":
        return None
    corners = observed[..., -4:]
    if not (corners[..., :2] < corners[..., 2:]).all():
        return None
    if observed.dtype.kind != "f" and observed.size < 2 * width:  # four whole numbers are anything
        return None
    if width == 5 and not _numbered(observed[..., 0]):
        return None
    made = np.array(resized(observed, shape))
    table = made.reshape(-1, width)
    mixed = table[rng.permutation(len(table))]
    if made.dtype.kind != "f":  # the numbers of pictures go along
        return mixed.reshape(shape)
    share = rng.random((len(table), 1))
    table[:, -4:] = (1 - share) * table[:, -4:] + share * mixed[:, -4:]
    sides = table[:, -2:] - table[:, -4:-2]
    table[:, -4:-2] += sides * rng.uniform(0, CUT, sides.shape)
    table[:, -2:] -= sides * rng.uniform(0, CUT, sides.shape)
    return made


def _numbered(column: Array) -> bool:
    return bool((column >= 0).all() and (column == np.floor(column)).all())
