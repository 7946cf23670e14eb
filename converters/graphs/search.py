"""Random changes of a sample, from which those are taken that come nearer to what no sample has shown."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from enginesmith.converters.core.samples import Feed

Array: TypeAlias = NDArray[Any]
Change: TypeAlias = Callable[[Array, np.random.Generator], Array]
Ranges: TypeAlias = Mapping[str, tuple[int, int]]
LARGEST = 1e4
"""Magnitude that no change goes beyond."""


def mutated(
    feed: Feed, others: Sequence[Feed], ranges: Ranges, rng: np.random.Generator, bound: Collection[str] = ()
) -> Feed:
    """One or all of the inputs changed but for those that are `bound`; integers stay within the bounds of their own tables, or
    else of what they hold.
    """
    names = [name for name, array in feed.items() if array.size and name not in bound]
    if not names:
        return feed
    chosen = {str(rng.choice(names))} if rng.random() < 0.5 else set(names)
    made: Feed = OrderedDict(feed)
    for name in chosen:
        array = feed[name]
        other = others[int(rng.integers(len(others)))][name]
        if array.shape == other.shape and rng.random() < 0.15:
            mixed = np.where(rng.random(array.shape) < 0.5, array, other)
        elif array.dtype == bool:
            mixed = array ^ (rng.random(array.shape) < rng.choice([0.1, 0.5, 1.0]))
        elif array.dtype.kind == "f":
            mixed = _floats(array, rng)
        else:
            mixed = _integers(array, ranges.get(name), rng)
        made[name] = np.array(mixed, dtype=array.dtype, order="C")
    return made


def _floats(array: Array, rng: np.random.Generator) -> Array:
    change: Change = FLOATS[int(rng.integers(len(FLOATS)))]
    values = np.nan_to_num(array.astype(np.float64), posinf=LARGEST, neginf=-LARGEST)
    return np.clip(change(values, rng), -LARGEST, LARGEST)


def _integers(array: Array, allowed: tuple[int, int] | None, rng: np.random.Generator) -> Array:
    info = np.iinfo(array.dtype)
    low, high = allowed or (min(int(array.min()), 0), int(array.max()) + 1)
    low, high = max(low, info.min + 1 if info.min else 0), min(high, info.max - 1)
    if high < low:
        return array
    drawn = rng.integers(low, high + 1, array.shape)
    if rng.random() < 0.2:
        drawn = np.full(array.shape, drawn.ravel()[0])
    return np.where(rng.random(array.shape) < rng.choice([0.2, 1.0]), drawn, array)


def _scaled(values: Array, rng: np.random.Generator) -> Array:
    return np.asarray(values * 10 ** rng.uniform(-2, 2))


def _shifted(values: Array, rng: np.random.Generator) -> Array:
    return np.asarray(values + rng.standard_normal() * 10 ** rng.uniform(-1, 2))


def _redrawn(values: Array, rng: np.random.Generator) -> Array:
    return rng.standard_normal(values.shape) * 10 ** rng.uniform(-1, 2)


def _sparse(values: Array, rng: np.random.Generator) -> Array:
    return np.where(rng.random(values.shape) < rng.uniform(0.5, 1), 0.0, values * 10 ** rng.uniform(0, 2))


def _moved(values: Array, rng: np.random.Generator) -> Array:
    """A few elements, by a lot or a little."""
    here = rng.random(values.shape) < max(0.05, 1 / values.size)
    return np.asarray(values + here * rng.standard_normal(values.shape) * 10 ** rng.uniform(-2, 2))


def _tied(values: Array, rng: np.random.Generator) -> Array:
    step = 10 ** rng.uniform(-1, 0.5)
    return np.asarray(np.round(values / step) * step)


FLOATS: Sequence[Change] = (
    _scaled,
    _shifted,
    _redrawn,
    _sparse,
    _moved,
    _moved,
    _tied,
    lambda values, rng: -values,
    lambda values, rng: np.full(values.shape, rng.standard_normal() * 3),
    lambda values, rng: np.round(values * 2) / 2,
    lambda values, rng: np.sort(values, axis=-1) if values.ndim else values,
    lambda values, rng: rng.permutation(values.ravel()).reshape(values.shape),
)
