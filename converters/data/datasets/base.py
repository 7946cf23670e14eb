"""What a source of data gives, and what becomes of it."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from enginesmith.converters.core.samples import Array, Feed

Role = Literal["calibration", "evaluation", "samples"]

OPTIONS: Mapping[Role, str] = {"calibration": "CALIB", "evaluation": "EVAL", "samples": "SAMPLES"}
"""What the user calls it."""


class Example(NamedTuple):
    """One run of the model. `target` is None where the data has no labels.

    Else it is what the data gives for the rows of the feed: of one row, or a list where the graph takes several.
    """

    feed: Feed
    target: Any


class Item(NamedTuple):
    """What a source gives, as it comes: `values` by input name, with or without the batch axis."""

    where: str
    """Names it in an error: a file, a row, a number."""
    values: Mapping[str, Array]
    target: Any


class Examples(Protocol):
    """What a metric is measured on: a `Dataset`, or a part of one."""

    name: str
    """A few words for the report."""
    weak: bool
    """No data of the user's: the shipped pictures, or made-up numbers."""
    made_up: bool
    """Made-up numbers, not even pictures."""
    labelled: bool
    """Every example has a target."""
    rows: int
    """Rows of all examples: pictures, where the model takes them."""
    warnings: list[str]
    """What may be wrong with it."""

    def __iter__(self) -> Iterator[Example]:
        """The same ones each time."""

    def __len__(self) -> int:
        """Number of examples: one for each run of the model."""


T = TypeVar("T")


def drawn(entries: Sequence[T], role: Role, limit: int, seed: int) -> list[T]:
    """At most `limit` of them, drawn with `seed`, since what is sorted is often sorted by class.

    Calibration and evaluation on the same data share none, as far as there are enough for both.
    """
    mixed = random.Random(seed).sample(entries, len(entries))
    return mixed[:limit] if role == "calibration" else mixed[-limit:]


class Source(ABC):
    """Where the items come from. Iterating starts anew each time; an item is read when it is asked for."""

    name: str
    """A few words for the report."""
    weak: bool = False
    """No data of the user's."""
    made_up: bool = False
    """Nor real data of anyone."""
    warnings: tuple[str, ...] = ()
    empty: str = "there is nothing in it"
    """What to say where it gives no item."""

    @abstractmethod
    def __iter__(self) -> Iterator[Item]:
        """Raises UserError for what can't be read."""
