"""Integers that decide on sizes are found by running the model with others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from enginesmith.converters.core.samples import Feed
from enginesmith.converters.data.samples import Own
from enginesmith.converters.data.steering import with_values
from enginesmith.pipeline.job.shapes import parse_shapes


def lengthened(feed: Feed) -> dict[str, Any]:
    """Takes no more than 20."""
    count = int(feed["n"])
    if count > 20:
        raise ValueError("too many")
    return {"y": np.zeros((count, 2))}


def scaled(feed: Feed) -> dict[str, Any]:
    return {"y": np.zeros(3) * feed["n"]}


@pytest.mark.parametrize(
    ("run", "example", "bounds"),
    [
        (lengthened, 8, (4, 8, 16)),
        (lengthened, 20, (10, 20, 20)),
        (lengthened, 1, (1, 1, 2)),
        (lengthened, 12, (6, 12, 13)),
        (scaled, 8, None),
    ],
)
def test_a_range_around_the_example(run: Callable[[Feed], Any], example: int, bounds: Any) -> None:
    own = Own(example=OrderedDict(n=np.array(example)))
    (spec,), notes = with_values(parse_shapes("n:scalar:int64"), own, "tensor", run)
    assert (spec.values and spec.values.bounds) == bounds
    assert len(notes) == (bounds is not None)
    if bounds:
        assert "n decide on sizes: taken as {}..{}..{}".format(*bounds) in notes[0]


def test_what_was_said_stays() -> None:
    given = parse_shapes("n:scalar=2..3..4")
    assert with_values(given, Own(), "tensor", lengthened) == (given, [])
