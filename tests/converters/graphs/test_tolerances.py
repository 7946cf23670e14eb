"""One arithmetic for how far two tensors are apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.converters.graphs.tolerances import TOLERANCES, Apart, nearer, tolerance_of

INF, NAN = float("inf"), float("nan")


def excess(expected, found, scale=0.0, relative=0.0, dtype="float32"):
    return Apart.of(np.array(expected, dtype), np.array(found, dtype)).excess(scale, relative)


def test_what_is_allowed_is_in_units_of_the_largest_and_of_each_magnitude():
    assert excess([100, 1], [101, 1], scale=0.01) == pytest.approx(1)
    assert excess([100, 1], [100, 1.5], scale=0.01) == pytest.approx(0.5)
    assert excess([100, 2], [100, 2.5], relative=0.25) == pytest.approx(1)


def test_nothing_allowed_takes_no_difference():
    assert excess([0.0], [1e-30]) == INF
    assert excess([0.0], [0.0]) == 0


@pytest.mark.parametrize(
    ("expected", "found"), [([NAN], [1]), ([1], [NAN]), ([INF], [-INF]), ([INF], [1]), ([1], [INF])]
)
def test_what_one_side_alone_is_is_infinitely_apart(expected, found):
    assert excess(expected, found, scale=1, relative=1) == INF


def test_what_both_sides_are_is_equal():
    assert excess([NAN, INF, -INF, 3], [NAN, INF, -INF, 3]) == 0
    assert excess([], []) == 0


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_whole_numbers_are_equal_or_not(dtype):
    """2**60 and 2**60 + 1 are one number in float64."""
    assert excess([2**60], [2**60 + 1], scale=1, relative=1, dtype=dtype) == INF
    assert Apart.of(np.array([2**60], dtype), np.array([2**60 + 1], dtype)).each.max() == 1
    assert excess([7], [7], dtype=dtype) == 0


def test_words_are_equal_or_not():
    assert excess(["a", "b"], ["a", "c"], scale=1, dtype=object) == INF
    assert excess(["a", "b"], ["a", "b"], dtype=object) == 0


@given(st.lists(st.floats(width=32), min_size=1, max_size=8))
def test_a_tensor_is_not_apart_from_itself(values):
    assert excess(values, values) == 0


def test_a_model_in_16_bits_is_held_to_their_rounding():
    assert tolerance_of("fp32") == tolerance_of("fp32", "fp32") == TOLERANCES["fp32"]
    half = tolerance_of("fp32", "fp16")
    assert half.scale == TOLERANCES["fp16"].scale
    assert half.floor is not None, "what rounding does is known better where it was measured"
    assert tolerance_of("int8", "fp16") == TOLERANCES["int8"]
    both = tolerance_of("int8", "bf16")
    assert (both.scale, both.step) == (TOLERANCES["bf16"].scale, TOLERANCES["int8"].step)


def test_each_element_has_the_witness_that_it_is_nearer_to() -> None:
    nan = np.nan
    expected, other = np.array([1, nan, 3, 4], np.float32), np.array([1, 2, nan, 8], np.float32)
    found = np.array([1, nan, nan, 5], np.float32)
    np.testing.assert_array_equal(nearer(expected, other, found), np.array([1, nan, nan, 4], np.float32))
    np.testing.assert_array_equal(nearer(expected, other[:2], found), expected)
