"""What rounding alone does decides how far an output may be from another one."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polygraphy.comparator import IterationResult

from enginesmith.converters.core.comparisons import OutputDifference, SampleComparison
from enginesmith.converters.core.samples import Sample
from enginesmith.converters.graphs.comparison import reason
from enginesmith.converters.graphs.difference import compare_outputs
from enginesmith.converters.graphs.rounding import Alone, judge, moved
from enginesmith.converters.graphs.tolerances import TOLERANCES

FP32 = TOLERANCES["fp32"]
F = np.float32
RNG = np.random.default_rng(0)
EXACT = RNG.standard_normal(500)
SMALL = EXACT + RNG.standard_normal(500) * 1e-7
"""As rounding leaves it."""
LARGE = EXACT + RNG.standard_normal(500) * 1e-5
"""Of an output in which rounding grows."""


def compared(expected: Any, found: Any, exact: Any) -> tuple[SampleComparison, OutputDifference]:
    wrap = lambda array: IterationResult(outputs={"y": np.asarray(array)}, runtime=0.0, runner_name="test")  # noqa: E731
    record = compare_outputs(
        "tensor", Sample(name="s"), {}, wrap(expected), wrap(found), FP32, Alone(wrap(expected), wrap(exact))
    )
    return record, record.outputs[0]


def test_a_right_graph_passes_whose_rounding_grows():
    found = F(EXACT + RNG.standard_normal(500) * 5e-5)
    record, output = compared(F(LARGE), found, F(EXACT))
    assert np.abs(found - F(LARGE)).max() > FP32.scale
    assert record.passed
    assert output.rounding_abs == pytest.approx(2e-5, rel=0.5)


def test_a_wrong_graph_fails_whose_error_is_far_above_rounding():
    found = F(SMALL)
    found[3] += 4e-5
    assert np.abs(found - F(SMALL)).max() < FP32.scale, "and within what is allowed where rounding isn't known"
    record, output = compared(F(SMALL), found, F(EXACT))
    assert not record.passed
    assert reason([record]) == (
        f"sample 's': output y differs by {output.worst_abs:.2e}, {output.allowed_abs:.2e} allowed, "
        f"rounding alone does {output.rounding_abs:.2e}"
    )


def test_the_smallest_class_is_seen():
    expected = F([0.7, 0.29999, 1e-5, 2e-5])
    lost = expected * F([1, 1, 0, 0])
    assert not compared(expected, lost, expected)[0].passed


def test_jumps_of_rounding_are_not_judged_and_excuse_a_few_others():
    expected = np.arange(1000)
    exact, found = expected.copy(), expected.copy()
    exact[[3, 4]] += 1
    found[[3, 7, 9]] += 1
    record, output = compared(expected, found, exact)
    assert record.passed
    assert output.vacuous == ""
    found[20:40] += 1
    assert not compared(expected, found, exact)[0].passed, "more than four for each of its own"
    assert not compared(expected, expected + 5 * (expected == 7), exact)[0].passed, "by more than rounding's jumps"
    assert not compared(expected, found, expected)[0].passed, "where rounding flips none"


@pytest.mark.parametrize("kind", ["drowned", "flipped", "shapes"])
def test_an_ill_posed_sample_proves_nothing(kind):
    exact = EXACT if kind == "drowned" else np.arange(500)
    expected = F(exact + RNG.standard_normal(500)) if kind == "drowned" else exact + (exact % 2)
    found = F(exact) if kind == "drowned" else exact
    if kind == "shapes":
        expected, found = expected[:400], found[:300]
    record, output = compared(expected, found, F(exact) if kind == "drowned" else exact)
    assert record.passed
    assert "ill-posed" in output.vacuous
    assert "ill-posed" in record.vacuous


def test_nan_is_seen_where_rounding_decides_the_rest():
    expected = F(EXACT + RNG.standard_normal(500))
    found = F(EXACT)
    found[5] = np.nan
    record, _ = compared(expected, found, F(EXACT))
    assert not record.passed


def test_an_overflow_that_float64_has_not_is_not_judged():
    expected, exact = F([1, 2, np.inf, 3] * 10), F([1, 2, 7, 3] * 10)
    expected[4:] = exact[4:]
    assert compared(expected, F(exact), exact)[0].passed


arrays = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20).map(F)


@settings(deadline=None)
@given(arrays, st.integers(0, 2**32 - 1))
def test_what_rounding_did_is_allowed(expected, seed):
    exact = expected * (1 + np.random.default_rng(seed).uniform(-1, 1, expected.shape) * 1e-6)
    assert judge(expected, F(exact), FP32, (expected, F(exact))).passed


@settings(deadline=None)
@given(arrays, st.data())
def test_more_than_allowed_never_passes_where_rounding_does_nothing(expected, data):
    judged = judge(expected, expected, FP32, (expected, expected))
    assert judged.passed
    assert judged.ill_posed == 0
    index = data.draw(st.integers(0, len(expected) - 1))
    found = expected.astype(np.float64)
    found[index] += 1.01 * judged.allowed[index] + 1e-300
    assert not judge(expected, found, FP32, (expected, expected)).passed


def test_moved_inputs_are_the_next_numbers():
    feed = OrderedDict(x=F([1, 0, np.inf, np.nan, -3]), ids=np.array([1, 2]))
    found = moved(feed)
    assert np.array_equal(found["ids"], feed["ids"])
    assert np.array_equal(found["x"][1:4], feed["x"][1:4], equal_nan=True)
    assert (np.abs(found["x"][[0, 4]] - feed["x"][[0, 4]]) <= [1.2e-7, 2.4e-7]).all()
    assert (found["x"][[0, 4]] != feed["x"][[0, 4]]).all()


def test_what_moved_inputs_do_is_allowed_beside_the_rest_and_excuses_no_jump():
    expected, found = F(LARGE), F(LARGE + 4e-4)
    assert not judge(expected, found, FP32, None).passed
    assert judge(expected, found, FP32, (expected, F(EXACT)), whole=False).passed
    tight = F(SMALL + FP32.scale / 2)
    assert judge(F(SMALL), tight, FP32, (F(SMALL), F(EXACT)), whole=False).passed, "rounding does more than that"
    assert not judge(F(SMALL), tight, FP32, (F(SMALL), F(EXACT))).passed
    ids = np.arange(1000)
    flipped, other = ids + (ids == 3), ids + (ids == 7)
    assert judge(ids, other, FP32, (ids, flipped)).passed
    assert not judge(ids, other, FP32, (ids, flipped), whole=False).passed


def test_an_element_that_moved_inputs_move_more_than_most_may_differ_more_but_no_broken_tie():
    expected = F(np.linspace(0.1, 1, 500))
    near, found = expected + F(5e-6), expected.copy()
    near[7] += F(4e-5)
    found[7] += F(2.2e-4)
    assert judge(expected, found, FP32, (expected, near), whole=False).passed
    found[8] += F(4e-4)
    assert not judge(expected, found, FP32, (expected, near), whole=False).passed, "this one is as the rest"
    near[7], found = expected[7] + F(0.5), expected.copy()
    found[7] += F(0.1)
    assert not judge(expected, found, FP32, (expected, near), whole=False).passed


def test_what_shaken_roundings_do_is_allowed_and_more_is_not():
    expected = F(np.linspace(0.1, 1, 50))
    shaken = F(expected * (1 + 1e-4))
    assert not judge(expected, F(expected + 1e-3), FP32, (expected, expected)).passed
    assert judge(expected, F(expected + 1e-3), FP32, (expected, expected), shaken=shaken).passed
    assert not judge(expected, F(expected + 1e-2), FP32, (expected, expected), shaken=shaken).passed


def test_an_element_may_differ_by_what_shaken_roundings_do_to_itself():
    """One of a hundred is what large numbers leave of each other."""
    expected = F(np.linspace(0.5, 1, 100))
    shaken, found = expected.copy(), expected.copy()
    shaken[7] += F(1e-3)
    found[7] += F(5e-3)
    assert judge(expected, found, FP32, (expected, expected), shaken=shaken).passed
    found[8] += F(5e-3)
    assert not judge(expected, found, FP32, (expected, expected), shaken=shaken).passed


def test_zeros_that_shaken_roundings_move_are_judged_by_that():
    """The deviation of a plane of one color is 0 in PyTorch, and what its mean is off by elsewhere."""
    zeros, shaken = np.zeros(8, np.float32), F(np.linspace(1e-7, 1e-6, 8))
    assert not judge(zeros, shaken, FP32, (zeros, zeros)).passed
    judged = judge(zeros, shaken, FP32, (zeros, zeros), shaken=shaken)
    assert judged.passed
    assert judged.ill_posed == 0
    assert not judge(zeros, shaken + F(1e-4), FP32, (zeros, zeros), shaken=shaken).passed


def test_an_element_may_differ_by_what_rounding_did_to_itself():
    """One in twenty is worse conditioned than the others, and no others may differ as much."""
    expected = F(np.linspace(0.5, 1, 100))
    exact, found = expected.copy(), expected.copy()
    exact[::20] += F(5e-5)
    found[::20] += F(5e-4)
    assert judge(expected, found, FP32, (expected, exact)).passed
    found[1] += F(5e-4)
    assert not judge(expected, found, FP32, (expected, exact)).passed
