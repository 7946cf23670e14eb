"""NaN that an engine makes a number of is told, and all else on the same sample judged."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from polygraphy.comparator import IterationResult

from enginesmith.converters.core.samples import Sample, SampleSet
from enginesmith.converters.graphs.comparison import compare_samples, tell_lost_nan
from enginesmith.converters.graphs.tolerances import TOLERANCES

FP32 = TOLERANCES["fp32"]
NAN = np.float32(np.nan)


def told(fed: list[float], expected: list[float], found: list[float]) -> tuple[bool, list[str]]:
    """Whether the second of two samples, a probe, passes; and what is told of it."""

    def result(values: list[float]) -> IterationResult:
        return IterationResult(outputs={"y": np.array(values, np.float32)}, runtime=0.0, runner_name="")

    feeds = [OrderedDict(x=np.array(values, np.float32)) for values in ([1, 2, 3], fed)]
    samples = SampleSet(task="tensor", specs=(), samples=[Sample(name="random 0"), Sample(name="NaN", probe="far")])
    before, after = [result([1, 2, 3]), result(expected)], [result([1, 2, 3]), result(found)]
    compared = compare_samples(samples, range(2), feeds, before, after, FP32)
    lost = tell_lost_nan(
        samples, dict(enumerate(compared)), feeds, dict(enumerate(before)), dict(enumerate(after)), FP32
    )
    return compared[1].passed, lost


@pytest.mark.parametrize(
    ("expected", "found", "passed", "words"),
    [
        ([NAN, 1, 2], [NAN, 1, 2], True, 0),
        ([NAN, 1, 2], [0, 1, 2], True, 1),  # the larger of NaN and 0
        ([NAN, 1, 2], [0, 1, 3], False, 0),  # something else too
        ([1, 1, 2], [NAN, 1, 2], False, 0),  # NaN that wasn't there
        ([1, 0, 0], [0, 0, 0], False, 0),  # IsNaN, answered otherwise
    ],
)
def test_only_what_was_nan_is_forgiven(expected: list[float], found: list[float], passed: bool, words: int) -> None:
    assert (lambda found: (found[0], len(found[1])))(told([NAN, 1, 2], expected, found)) == (passed, words)


def test_without_nan_among_the_inputs_it_counts() -> None:
    assert told([0, 1, 2], [NAN, 1, 2], [0, 1, 2]) == (False, [])
