"""An array at other sizes: its first part, or repeated to the end."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]


def resized(observed: Array, shape: Shape) -> Array:
    """Of the same dtype and number of dimensions. Zeros where there is nothing to repeat."""
    if observed.shape == shape:
        return observed
    if not observed.size:
        return np.zeros(shape, observed.dtype)
    for axis, size in enumerate(shape):
        if observed.shape[axis] != size:
            observed = observed.take(np.arange(size) % observed.shape[axis], axis)
    return np.ascontiguousarray(observed)


def rows(observed: Array, shape: Shape, core: int = 1) -> Array:
    """Resized but for the last `core` axes, which are left as they are."""
    return resized(observed, (*shape[: len(shape) - core], *observed.shape[len(shape) - core :]))
