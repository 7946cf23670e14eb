"""Labels through views."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.converters.compression.labels import Labels, fixed
from enginesmith.converters.compression.reshaping import Splits, refinement, reshape


@pytest.mark.parametrize(
    ("one", "other", "factors"),
    [
        ([4, 6], [2, 12], [2, 2, 6]),
        ([2, 3], [3, 2], None),
        ([1, 24], [4, 1, 6], [4, 6]),
        ([5], [5], [5]),
    ],
)
def test_the_factors_of_two_shapes(one: list[int], other: list[int], factors: list[int] | None) -> None:
    assert refinement(one, other) == factors


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.data())
def test_channels_come_back_from_any_view(shape: list[int], data: st.DataObject) -> None:
    """Flattened with places on either side and taken apart again, each channel is the one it was."""
    labels = Labels()
    axis = data.draw(st.integers(0, len(shape) - 1))
    dims = tuple(labels.fresh(size) if index == axis else fixed(size) for index, size in enumerate(shape))
    (merged,) = reshape(labels, dims, [int(np.prod(shape))], Splits())
    back = reshape(labels, (merged,), shape, Splits())
    assert not labels.frozen().keys() - {0}
    assert np.array_equal(labels.find(back[axis]), labels.find(dims[axis]))


def test_what_meets_a_fixed_index_is_frozen_with_all_of_its_class() -> None:
    labels = Labels()
    one, other = labels.fresh(4), labels.fresh(4)
    labels.unite(one, other, "a sum")
    labels.unite(other[:2], fixed(2), "an output")
    assert labels.frozen() == {0: "", int(one[0]): "an output", int(one[1]): "an output"}
