"""Inputs whose rows are changed round, and which rows of the outputs answer them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from enginesmith.converters.core.samples import Array, Feed

Outputs = Mapping[str, Array]


class Batch(NamedTuple):
    """The `inputs` of a feed that have `size` rows along their leading axis."""

    inputs: tuple[str, ...]
    size: int


def batch_of(feed: Feed) -> Batch | None:
    """The rows of the first input that has several, a matrix or more before a vector; None where none has. Whether they are
    items of a batch is the graph's own affair, and seen by running it.
    """
    several = [array for array in feed.values() if array.ndim and array.shape[0] > 1]
    if not several:
        return None
    size = min(several, key=lambda array: array.ndim < 2).shape[0]
    return Batch(tuple(name for name, array in feed.items() if array.ndim and array.shape[0] == size), size)


def picked(feed: Feed, batch: Batch, rows: Sequence[int]) -> Feed:
    """The feed with these rows of its batch, in this order; as many as they are."""
    chosen = list(rows)
    return OrderedDict((name, array[chosen] if name in batch.inputs else array) for name, array in feed.items())


def rows_of(outputs: Outputs, size: int, rows: Sequence[int]) -> dict[str, Array]:
    """What the outputs of a batch of `size` say of these rows: an output with several rows for each of the batch, such as
    its boxes, gives all of them; one whose leading axis is no multiple of the batch is left out.
    """
    found = {}
    for name, array in outputs.items():
        if array.ndim and array.shape[0] and array.shape[0] % size == 0:
            each = array.reshape(size, array.shape[0] // size, *array.shape[1:])
            found[name] = each[list(rows)].reshape(-1, *array.shape[1:])
    return found


def smaller(feed: Feed, others: Sequence[Feed]) -> tuple[Batch, int] | None:
    """The batch of a feed, and the size of the smallest one that another feed has, which is the same in all else."""
    batch = batch_of(feed)
    if batch is None:
        return None
    sizes = set()
    for other in others:
        size = other[batch.inputs[0]].shape[0] if other[batch.inputs[0]].ndim else 0
        alike = all(
            other[name].shape == ((size, *array.shape[1:]) if name in batch.inputs else array.shape)
            for name, array in feed.items()
        )
        if alike and 0 < size < batch.size:
            sizes.add(size)
    return (batch, min(sizes)) if sizes else None
