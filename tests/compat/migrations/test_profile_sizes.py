"""Sizes of inputs, from the tools' ways to write them to ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.compat.migrations import sizes
from enginesmith.pipeline.job.shapes import parse_shapes

SIZES = st.lists(st.tuples(*[st.integers(1, 64)] * 3).map(sorted), min_size=1, max_size=4)


@given(SIZES)
def test_what_trtexec_and_polygraphy_say_is_the_same_in_ours(dims: list[list[int]]) -> None:
    sides = [tuple(dim[side] for dim in dims) for side in range(3)]
    listed = [sizes.parse(f"x:{'x'.join(map(str, side))}") for side in sides]
    bracketed = [sizes.parse_bracketed([f"x:[{','.join(map(str, side))}]"]) for side in sides]
    assert listed == bracketed
    (spec,) = parse_shapes(sizes.written(sizes.merge(*listed)))
    assert (spec.min, spec.opt, spec.max) == tuple(sides)


@pytest.mark.parametrize(
    ("low", "best", "high", "text"),
    [
        ("", "x:4x3", "", "x:4x3"),
        ("", "", "x:8x3", "x:8x3"),
        ("x:1x3", "", "x:8x3", "x:1..8..8x3"),
        ("x:1x3", "x:2x3", "", "x:1..2..2x3"),
        ("x:1", "x:2", "x:4", "x:1..2..4"),
        ("", "", "scale:scalar", "scale:scalar"),
        ("", "'in:0':1x3,mask:scalar", "", "in:0:1x3 mask:scalar"),
    ],
)
def test_what_is_left_out_follows(low: str, best: str, high: str, text: str) -> None:
    assert sizes.written(sizes.merge(sizes.parse(low), sizes.parse(best), sizes.parse(high))) == text
    assert len(parse_shapes(text)) == text.count(" ") + 1


def test_a_name_that_ours_has_no_form_for_is_told() -> None:
    with pytest.raises(ValueError, match="can't be given by --shape"):
        sizes.written({"a name": ((1,), (1,), (1,))})


@pytest.mark.parametrize("text", ["x", "x:1x-1", "x:axb", "x:1x3x"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"no size|no name"):
        sizes.parse(text)


def test_sizes_out_of_order_are_told() -> None:
    with pytest.raises(ValueError, match="out of order"):
        sizes.merge({"x": (4,)}, {"x": (2,)}, {"x": (8,)})
