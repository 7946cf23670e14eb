"""What a tensor's numbers are measured by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enginesmith.converters.graphs.magnitudes import local_scales

STEP = 2.0**-22
INF, NAN, LOWEST = np.inf, np.nan, 3.4e38
magnitudes = st.lists(st.floats(0, width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30)


def scales(values) -> np.ndarray:
    array = np.array(values, np.float64)
    return np.broadcast_to(local_scales(array, STEP), array.shape)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3], [3, 3, 3]),
        ([1, 2, 3, 1e9], [3, 3, 3, 1e9]),
        ([1, 2, 3, LOWEST, LOWEST], [3, 3, 3, LOWEST, LOWEST]),
        ([1, 2, 3, 1e9, LOWEST], [3, 3, 3, 1e9, LOWEST]),
        ([1, 2, 3, 1e4], [3, 3, 3, 1e4]),
        ([1, 1e-5, 2e-5], [1, 2e-5, 2e-5]),
        ([5, 3.2, 0.001], [5, 5, 5]),
        ([5, 3.2, 1e-9], [5, 5, 5]),
        ([0, 0, 2, 3], [3, 3, 3, 3]),
        ([0, 0, 1e9, 1e9], [1, 1, 1e9, 1e9]),
        ([INF, NAN, 1, 2], [2, 2, 2, 2]),
        ([0, 0], [0, 0]),
    ],
)
def test_levels(values, expected):
    assert scales(values).tolist() == expected


def test_no_elements():
    assert local_scales(np.zeros((0, 3)), STEP).max(initial=0.0) == 0


@pytest.mark.parametrize("count", [1, 2, 5, 30, 1000])
@pytest.mark.parametrize("kind", ["uniform", "normal", "relu"])
def test_numbers_of_one_kind_are_of_one_level(count, kind):
    rng = np.random.default_rng(count)
    for _ in range(50):
        values = rng.random(count) if kind == "uniform" else np.abs(rng.standard_normal(count))
        if kind == "relu":
            values[rng.random(count) < 0.5] = 0
        assert np.unique(scales(values)).size == 1


def test_classes_of_a_softmax_are_measured_by_their_like():
    logits = np.random.default_rng(0).standard_normal(1000)
    logits[7] = 15
    shares = np.exp(logits) / np.exp(logits).sum()
    found = scales(shares)
    assert found[7] == shares[7]
    assert (np.delete(found, 7) < 1e-4).all()


@settings(deadline=None)
@given(magnitudes)
def test_no_element_is_larger_than_its_scale_and_each_scale_is_an_element(values):
    found = scales(values)
    assert (found >= np.array(values)).all()
    assert {*found.tolist()} <= {*values, 1.0}


@settings(deadline=None)
@given(magnitudes, st.sampled_from([1e9, 1e30, LOWEST]), st.integers(1, 3))
def test_a_sentinel_changes_no_other_elements_scale(values, sentinel, count):
    values = [min(value, 1e3) + 1 for value in values] * 3
    assert scales([*values, *[sentinel] * count])[: len(values)].tolist() == scales(values).tolist()


@settings(deadline=None)
@given(magnitudes, st.integers(-40, 40))
def test_scales_grow_with_the_numbers_where_there_are_no_sentinels(values, power):
    values = [value for value in values if 1e-3 < value < 1e3] or [1.0]
    factor = 2.0**power / 2.0**54  # far from a sentinel
    assert np.array_equal(scales(np.array(values) * factor), scales(values) * factor)


def test_large_tensors_are_looked_at_in_part():
    values = np.random.default_rng(0).random(1 << 19)
    values[12345] = 1e9
    found = scales(values)
    assert found[12345] == 1e9
    assert np.delete(found, 12345).max() <= 1


def test_a_gated_channel_makes_no_level_of_what_is_small_in_others():
    values = np.random.default_rng(0).random((1, 8, 12, 12))
    values[:, 3] *= 2.0**-12
    values[0, 5, 0, 0] = 1e-4
    scales = local_scales(values, STEP)
    assert scales[:, 3].max() < 1e-3
    assert np.delete(scales, 3, axis=1).min() > 0.9


def test_a_mark_or_a_score_in_a_channel_stretches_nothing():
    """Every channel is half a mask; rows of boxes are too short to tell."""
    values = np.random.default_rng(0).random((1, 4, 8, 16))
    values[:, :, :4] = 1e9
    assert local_scales(values, STEP)[:, :, 4:].max() < 1
    boxes = np.random.default_rng(0).random((1, 300, 6))
    boxes[:, :, :4] = 100 + 1e4 * boxes[:, :, :4]
    assert local_scales(boxes, STEP)[:, :, 4:].max() < 2
