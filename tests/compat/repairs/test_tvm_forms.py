"""Forms that TVM stumbles over, in other words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import one_node, proof, repaired

from enginesmith.compat.building import NotApplicable


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=4).filter(lambda sizes: 0 in sizes), st.integers(-1, 1))
def test_empty_parts_of_a_split(sizes: list[int], axis: int) -> None:
    whole = [3, 3]
    whole[axis] = sum(sizes)
    outputs = [(1, [size if place == axis % 2 else 3 for place in range(2)]) for size in sizes]
    model = one_node("Split", whole, np.asarray(sizes, np.int64), outputs=outputs, axis=axis)
    assert proof("split-empty-parts", model).agrees
    after, _ = repaired("split-empty-parts", model)
    assert all(size for node in after.graph if node.op_type == "Split" for size in node.inputs[1].const_value.numpy())


def test_a_split_without_empty_parts_stays() -> None:
    model = one_node("Split", [3], np.asarray([1, 2], np.int64), outputs=[(1, [1]), (1, [2])], axis=0)
    with pytest.raises(NotApplicable, match="empty"):
        repaired("split-empty-parts", model)
