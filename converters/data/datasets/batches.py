"""Rows to the batches that the graph takes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Array, Feed, Pixels
from enginesmith.converters.data.datasets.arrays import as_array, batched, cast, check_finite, fits, sizes, with_batch
from enginesmith.converters.data.datasets.base import Example, Item
from enginesmith.converters.data.datasets.pixels import Range, check_range
from enginesmith.converters.data.picture_inputs import pixels_of, takes_pictures


class Batches:
    """Turns items into examples of the graph's batch size: split, or put together, along the first axis.

    Only rows that wait for a batch to fill are kept. What is left at the end doesn't fill one.
    """

    def __init__(self, specs: Sequence[InputSpec], pixels: Pixels) -> None:
        self.specs = specs
        self.pixels = pixels
        self.range = Range()
        self.left: list[tuple[Feed, Any]] = []
        """Rows that wait."""

    def add(self, item: Item) -> Iterator[Example]:
        """The examples that an item completes. Raises UserError for one that doesn't fit the model."""
        feed, single = self._checked(item)
        if not self.left and all(fits(feed[spec.name], spec) for spec in self.specs):
            yield Example(feed, item.target)
            return
        self._check_regroup(feed, item.where)
        rows = len(next(iter(feed.values())))
        targets = [item.target] if single else _split(item.target, rows, item.where)
        for row in range(rows):
            self.left.append((_row(feed, row), targets[row]))
            if len(self.left) == self.size:
                yield self._joined(item.where)

    @property
    def size(self) -> int:
        """Rows of a batch."""
        return self.specs[0].opt[0] if batched(self.specs[0]) else 1

    def _checked(self, item: Item) -> tuple[Feed, bool]:
        """In the model's order, shapes and dtypes; and whether the item came without a batch axis."""
        feed: Feed = OrderedDict()
        single = True
        for spec in self.specs:
            array = as_array(item.values[spec.name], f"{item.where}: input {spec.name}")
            shaped = with_batch(array, spec, item.where)
            single = single and shaped is not array
            check_finite(array, spec, item.where)
            if takes_pictures(spec):
                check_range(array, pixels_of(spec, self.pixels), f"{item.where}: input {spec.name}")
                if spec.dtype != "uint8":  # which are bytes for sure
                    self.range.add(array)
            feed[spec.name] = cast(shaped, spec, item.where)
        return feed, single

    def _check_regroup(self, feed: Feed, where: str) -> None:
        found = {name: array.shape[:1] for name, array in feed.items()}
        shape = ", ".join(f"{name} {list(array.shape)}" for name, array in feed.items())
        if len({spec.dims[:1] for spec in self.specs}) > 1 or not all(map(batched, self.specs)):
            wanted = ", ".join(f"{spec.name} [{sizes(spec)}]" for spec in self.specs)
            raise UserError(
                f"{where}: got {shape}, wanted {wanted}; the inputs have no batch axis in common to split along"
            )
        if len(set(found.values())) > 1:
            raise UserError(f"{where}: {shape} have different numbers of rows")

    def _joined(self, where: str) -> Example:
        import numpy as np

        rows, self.left = self.left, []
        feed: Feed = OrderedDict()
        for name in rows[0][0]:
            parts = [row[name] for row, _ in rows]
            if len({part.shape for part in parts}) > 1:
                raise UserError(
                    f"{where}: rows of input {name} differ in size, and the graph takes {len(rows)} at once"
                )
            feed[name] = np.concatenate(parts)
        targets = [target for _, target in rows]
        if all(target is None for target in targets):
            return Example(feed, None)
        return Example(feed, targets[0] if len(targets) == 1 else targets)


def _row(feed: Feed, row: int) -> Feed:
    return OrderedDict((name, array[row : row + 1]) for name, array in feed.items())


def _split(target: Any, rows: int, where: str) -> Sequence[Any]:
    """The targets of a batch, one for each row. Raises UserError."""
    if target is None:
        return [None] * rows
    if isinstance(target, dict):
        parts = {key: _split(value, rows, where) for key, value in target.items()}
        return [{key: part[row] for key, part in parts.items()} for row in range(rows)]
    if hasattr(target, "detach"):
        target = as_array(target, where)
    try:
        count = len(target)
    except TypeError:
        count = -1
    if count != rows:
        raise UserError(
            f"{where}: {rows} rows, and {'one target' if count < 0 else f'{count} targets'}; give one target for each row"
        )
    return target  # type: ignore[no-any-return]


def rows_of(feed: Feed) -> int:
    """Rows of a batch, 1 where there is no batch axis."""
    array: Array = next(iter(feed.values()))
    return len(array) if array.ndim > 1 else 1
