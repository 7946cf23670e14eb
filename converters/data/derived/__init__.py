"""Inputs of the same kind as one that was observed: other numbers, at any sizes.

What an input means isn't written on it, but much is visible: that it is sorted, binary, normalized, a box, a rotation. What is
made is so too. Where nothing of the kind is seen, it is the observed numbers in other places.
"""

from __future__ import annotations

import numpy as np

from enginesmith.converters.data.derived.boxes import boxes
from enginesmith.converters.data.derived.masks import binary, is_mask, shown
from enginesmith.converters.data.derived.masks import is_binary as is_binary
from enginesmith.converters.data.derived.matrices import paired, transforms, triangular
from enginesmith.converters.data.derived.orders import in_order
from enginesmith.converters.data.derived.resized import Array, Shape
from enginesmith.converters.data.derived.resized import resized as resized
from enginesmith.converters.data.derived.sizes import following as following
from enginesmith.converters.data.derived.values import floats, integers
from enginesmith.converters.data.derived.vectors import normalized

TRAITS = (transforms, binary, boxes, in_order, normalized, paired, triangular)
"""Each makes an array of the kind that it knows, or None where the observed one is none; the first that does is taken."""


def derived(
    observed: Array, shape: Shape, rng: np.random.Generator, name: str = "", *, traits_stay: bool = True
) -> Array:
    """Another array of this `shape`, with as many dimensions as the `observed` one and its dtype. `name` is the input's: that of
    a mask is needed where it shows all. Without `traits_stay` it is the observed numbers in other places, whatever they are.
    """
    if not observed.size or 0 in shape:
        return resized(observed, shape)
    made: Array | None = None
    if observed.ndim and traits_stay:
        traits = (shown, *TRAITS) if observed.dtype == bool or is_mask(name) else TRAITS
        made = next((each for each in (trait(observed, shape, rng) for trait in traits) if each is not None), None)
    if made is None:
        made = (floats if observed.dtype.kind == "f" else integers)(observed, shape, rng)
    return np.array(made, dtype=observed.dtype, order="C")


def bound(observed: Array) -> bool:
    """Is something seen in it that numbers hardly have by chance, so that others would have no meaning?"""
    if not observed.size or not observed.ndim:
        return False
    rng = np.random.default_rng(0)
    least = ((transforms, 4), (binary, 4), (boxes, 12), (in_order, 5), (normalized, 3), (paired, 9), (triangular, 9))
    return any(observed.size >= size and trait(observed, observed.shape, rng) is not None for trait, size in least)
