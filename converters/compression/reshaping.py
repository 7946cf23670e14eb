"""Labels through a change of shape: dimensions are split into factors, and factors merged into other dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, pairwise
from math import prod

import numpy as np

from enginesmith.converters.compression.labels import Dims, Indices, Labels, fixed

MERGED = "two dimensions that are both channels are made one"


class Splits:
    """Along which factor the channels of a dimension lie where it is split, `[3 * heads * width]` into `[3, heads, width]`:
    the shapes don't say so, and what is done with the factors later does. `chosen` has the ones that are known; the rest are
    taken to lie along the largest, and noted.
    """

    def __init__(self, chosen: dict[tuple[int, ...], int] | None = None) -> None:
        self.chosen = dict(chosen or {})

    def along(self, factors: tuple[int, ...]) -> int:
        return self.chosen.setdefault(factors, max(range(len(factors)), key=factors.__getitem__))


def refinement(one: Sequence[int], other: Sequence[int]) -> list[int] | None:
    """The factors that both shapes are made of, in order: [4, 6] and [2, 12] are of [2, 2, 6]. None where there are none,
    as for [2, 3] and [3, 2].
    """
    ends = {1} | {prod(shape[index:]) for shape in (one, other) for index in range(len(shape))}
    chain = sorted(ends)
    if any(high % low for low, high in pairwise(chain)):
        return None
    return [high // low for low, high in pairwise(chain)][::-1]


def reshape(labels: Labels, dims: Dims, shape: Sequence[int], splits: Splits) -> Dims:
    """Labels of a tensor that is viewed in another shape."""
    old = [len(each) for each in dims]
    factors = refinement(old, shape)
    if 0 in shape or factors is None:
        labels.freeze_all(dims, f"a view of {old} as {[*shape]} mixes its dimensions")
        return tuple(map(fixed, shape))
    atoms: list[Indices] = []
    for each, parts in zip(dims, _grouped(factors, old), strict=True):
        atoms += split(labels, each, tuple(parts), splits)
    waiting = iter(atoms)
    return tuple(merge(labels, [*islice(waiting, len(parts))]) for parts in _grouped(factors, shape))


def split(labels: Labels, whole: Indices, factors: tuple[int, ...], splits: Splits) -> list[Indices]:
    """Labels of the factors. Channels lie along one of them; what differs along the others is united."""
    parts = [fixed(size) for size in factors]
    if not len(factors) or not whole.any():
        return parts
    if len(factors) == 1:
        return [whole]
    table = labels.find(whole).reshape(factors)
    axis = next((axis for axis in range(len(factors)) if factors[axis] > 1 and _along(table, axis)), None)
    if axis is None:
        axis = splits.along(factors)
    lined = np.moveaxis(whole.reshape(factors), axis, 0).reshape(factors[axis], -1)
    labels.unite(lined[:, :1], lined, "a view takes channels apart that are no channels elsewhere")
    parts[axis] = lined[:, 0].copy()
    return parts


def merge(labels: Labels, parts: Sequence[Indices]) -> Indices:
    """Labels of a dimension that several are flattened into."""
    sizes = [len(part) for part in parts]
    moving = [index for index, part in enumerate(parts) if part.any()]
    if not moving:
        return fixed(prod(sizes))
    kept = max(moving, key=lambda index: sizes[index])
    for index in moving:
        if index != kept:
            labels.freeze(parts[index], MERGED)
    place = [1] * len(parts)
    place[kept] = sizes[kept]
    return np.broadcast_to(parts[kept].reshape(place), sizes).ravel().copy()


def _along(table: Indices, axis: int) -> bool:
    """Is it the same whatever the other axes' indices are?"""
    lined = np.moveaxis(table, axis, 0).reshape(table.shape[axis], -1)
    return bool((lined == lined[:, :1]).all())


def _grouped(factors: Sequence[int], shape: Sequence[int]) -> list[list[int]]:
    """The factors of each dimension, all of them in order; of a dimension of size 1 none."""
    groups, waiting = [], list(factors)
    for size in shape:
        group: list[int] = []
        while prod(group) < size:
            group.append(waiting.pop(0))
        groups.append(group)
    return groups
