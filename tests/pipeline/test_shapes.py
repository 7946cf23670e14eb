"""The shape grammar: what it says comes back the same, and a mistake is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.inputs import DTYPES, Dim, InputSpec, at, listed_shapes, unseen
from enginesmith.converters.core.sizes import untried
from enginesmith.pipeline.job.shapes import format_shapes, parse_shapes

names = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C"), exclude_characters=",;"), min_size=1)
dims = (
    st.lists(st.integers(1, 2**6), min_size=3, max_size=3).map(sorted).map(lambda s: Dim(min=s[0], opt=s[1], max=s[2]))
)
specs = st.builds(
    InputSpec, name=names, dtype=st.sampled_from(DTYPES), dims=st.lists(dims, max_size=5).map(tuple)
)  # fmt: skip


@given(st.lists(specs, min_size=1, max_size=4, unique_by=lambda spec: spec.name).map(tuple))
def test_formatted_shapes_parse_to_the_same(given):
    assert parse_shapes(format_shapes(given)) == given


@given(st.lists(dims, min_size=1, max_size=5).map(tuple), st.sampled_from(DTYPES))
def test_a_single_input_needs_no_name(dims, dtype):
    spec = InputSpec(dims=dims, dtype=dtype)
    assert parse_shapes(format_shapes((spec,))) == (spec,)


@pytest.mark.parametrize(
    ("text", "dims", "dtype"),
    [
        ("1x3x320x320", [(1, 1, 1), (3, 3, 3), (320, 320, 320), (320, 320, 320)], "float32"),
        ("x:1..4..16x3", [(1, 4, 16), (3, 3, 3)], "float32"),
        ("x:1..16x3", [(1, 16, 16), (3, 3, 3)], "float32"),
        ("ids:1x128:int64", [(1, 1, 1), (128, 128, 128)], "int64"),
        ("input:0:7", [(7, 7, 7)], "float32"),
        ("t:scalar", [], "float32"),
        ("scalar", [], "float32"),
        ("t:scalar:int64", [], "int64"),
    ],
)
def test_forms(text, dims, dtype):
    (spec,) = parse_shapes(text)
    assert [(d.min, d.opt, d.max) for d in spec.dims] == dims
    assert spec.dtype == dtype


@pytest.mark.parametrize(
    ("text", "dims", "values"),
    [
        ("ids:1x{s=1..16..128}", [[(1, 1, 1), (1, 16, 128)]], [None]),
        ("m:{p+s} k:{p=0..32..512} i:{s=1..16..128}", [[(1, 48, 640)], [(0, 32, 512)], [(1, 16, 128)]], [None] * 3),
        ("x:{2*b} y:{b=1..4..8}", [[(2, 8, 16)], [(1, 4, 8)]], [None] * 2),
        ("x:{h-w} y:{h=9..12} z:{w=1..2..8}", [[(1, 10, 11)], [(9, 12, 12)], [(1, 2, 8)]], [None] * 3),
        ("x:{b=3}x{b}", [[(3, 3, 3), (3, 3, 3)]], [None]),
        ("n=1..30..500", [[]], [(1, 30, 500)]),
        ("size:2:int32=8..16..64", [[(2, 2, 2)]], [(8, 16, 64)]),
        ("n={s} x:{s=1..16..128}", [[], [(1, 16, 128)]], [(1, 16, 128), None]),
    ],
)
def test_named_sizes_and_values(text, dims, values):
    parsed = parse_shapes(text)
    assert [[dim.bounds for dim in spec.dims] for spec in parsed] == dims
    assert [spec.values and spec.values.bounds for spec in parsed] == values
    assert parse_shapes(format_shapes(parsed)) == parsed


ranges = st.lists(st.integers(0, 40), min_size=3, max_size=3).map(sorted).filter(lambda each: each[1] > 0)


@given(ranges, ranges, st.integers(1, 3))
def test_sizes_that_hang_together_do_so_at_every_place(first, second, times):
    a, b = ("..".join(map(str, bounds)) for bounds in (first, second))
    parsed = parse_shapes(f"x:1x{{s={a}}} y:{{p={b}}}x2 z:{{p+s}}x{{{times}*s}} n={{p}}")
    for place in ("min", "opt", "max", "unseen"):
        x, y, z, n = at(parsed, place)
        assert z.opt == (y.opt[0] + x.opt[1], times * x.opt[1])
        assert n.values.opt == y.opt[0]
    tried, free = parsed[0].dims[1], unseen(parsed)[0].opt[1]
    assert tried.min <= free <= tried.max
    assert free not in tried.bounds or tried.max - tried.min <= 2


@pytest.mark.parametrize(
    ("low", "opt", "high"), [(1, 1, 2), (1, 2, 3), (1, 4, 16), (7, 8, 9), (1, 2, 2), (2, 3, 5), (1, 512, 512)]
)
def test_an_untried_size_is_none_of_the_three_if_there_is_another(low, opt, high):
    others = {*range(low, high + 1)} - {low, opt, high}
    assert untried(low, high, (low, opt, high)) in (others or {low})


@pytest.mark.parametrize(("low", "opt", "high"), [(64, 320, 640), (1, 8, 16), (32, 32, 512), (2, 4, 8)])
def test_an_untried_size_is_no_multiple_of_a_stride(low, opt, high):
    size = untried(low, high, (low, opt, high))
    assert low < size < high
    assert all(size % stride for stride in range(2, size))


@given(
    st.integers(2, 4).flatmap(
        lambda count: st.lists(st.tuples(*[st.integers(1, 9)] * 2), min_size=count, max_size=count, unique=True)
    ),
    st.booleans(),
)
def test_several_shapes_come_back_the_same(shapes, two):
    """In the order that they were given in; an input with a single shape has it in all of them."""
    given = (InputSpec.several("x", shapes, "int64"), *([InputSpec.static("y", (7,))] if two else []))
    assert parse_shapes(format_shapes(given)) == given
    assert [shapes["x"] for shapes in listed_shapes(given)] == shapes
    assert all(shapes.get("y", (7,)) == (7,) for shapes in listed_shapes(given))


def test_shapes_are_sets_in_turn():
    parsed = parse_shapes("ids:1x8:int64,mask:1x8,ids:2x4:int64,mask:2x4")
    assert listed_shapes(parsed) == ({"ids": (1, 8), "mask": (1, 8)}, {"ids": (2, 4), "mask": (2, 4)})
    assert [(d.min, d.opt, d.max) for d in parsed[0].dims] == [(1, 1, 2), (4, 8, 8)]


@pytest.mark.parametrize("text", ["a:1x2 b:3", "a:1x2,b:3", "a:1x2;b:3", "  a:1x2 ,\n b:3 "])
def test_separators(text):
    assert [spec.name for spec in parse_shapes(text)] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "empty"),
        (" ,", "doesn't parse at ''"),
        ("x:", "doesn't parse at ''"),
        ("x:1x", "doesn't parse at ''"),
        ("x:1xx3", "doesn't parse at ''"),
        ("x:1x-3", "doesn't parse at '-3'"),
        ("x:1x3.5", "doesn't parse at '3.5'"),
        ("x:1x²", "doesn't parse at '²'"),
        ("x:1x1..2..3..4", "doesn't parse at '1..2..3..4'"),
        ("x:1x1...4", "doesn't parse at '1...4'"),
        ("images", "doesn't parse at 'images'"),
        ("x:1xNx3", "doesn't parse at 'N'"),
        ("x:0x3", "'0' needs 0 <= min <= opt <= max and 0 < opt"),
        ("x:1x{s}", "nothing says what s is"),
        ("x:{s=1..4}x{s=1..8}", "s has two ranges"),
        ("x:{s=1..4}x{s**2}", "'s**2' is no sum, difference or product"),
        ("x:{s=1..4}x{f(s)}", "'f(s)' is no sum, difference or product"),
        ("x:{s=1..2..4}x{s-2}", "s-2 is -1..0..2, which is no range of sizes"),
        ("x:{s=1..4", "doesn't parse at '{s'"),
        ("x:{}", "doesn't parse at '{}'"),
        ("n=4..2", "'4..2' needs"),
        ("n=1..4 n:1", "give the shape and the values of n in one"),
        ("n:1:float32=1..4", "a range of values is for integers"),
        ("x:4..2..8", "'4..2..8' needs"),
        ("x:1x3:float99", "unknown dtype 'float99'; one of float32"),
        ("1x3 1x3", "says the same twice"),
        ("1x3 1x3x3", "differ in rank; with several inputs each needs its name"),
        ("1x3 a:1x3", "each needs its name"),
        ("a:1 b:2 a:2 b:2 a:3", "3 of a and 2 of b"),
        ("a:1..2 a:3", "each must be fixed"),
        ("a:1 a:2 b:1..4", "not both"),
        ("a:1:int64 a:2", "give the dtype of a with each"),
    ],
)
def test_a_mistake_is_named(text, place):
    with pytest.raises(UserError) as error:
        parse_shapes(text)
    assert place in str(error.value)


@pytest.mark.parametrize(
    "shape", ["9" * 5000, "1x99999999999", "x:1..4..2147483648", "65536x65536", "x:1x3 y:46341x46341"]
)
def test_more_than_any_backend_counts(shape):
    with pytest.raises(UserError, match="elements"):
        parse_shapes(shape)
