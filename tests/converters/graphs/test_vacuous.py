"""Samples that would pass whatever the graph computes prove nothing, and outputs that none of them moves are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from polygraphy.comparator import IterationResult

from enginesmith.converters.core.comparisons import Comparison
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Sample, SampleSet
from enginesmith.converters.graphs.comparison import compare_samples, conclude, silent_outputs
from enginesmith.converters.graphs.tolerances import TOLERANCES

F, NAN = np.float32, np.nan
SPEC = InputSpec.static("x", (1,))


def judged(*outputs: dict[str, Any], inputs: Any = None, task: str = "tensor") -> tuple[Comparison, list[str]]:
    """One sample each, and what was found is what was expected."""
    inputs = list(range(len(outputs))) if inputs is None else inputs
    feeds: Any = [{"x": F([value])} for value in inputs]
    results = [
        IterationResult(outputs={k: np.asarray(v) for k, v in each.items()}, runtime=0.0, runner_name="test")
        for each in outputs
    ]
    samples = SampleSet(task=task, specs=(SPEC,), samples=[Sample(name=str(value)) for value in inputs])
    compared = compare_samples(samples, range(len(feeds)), feeds, results, results, TOLERANCES["fp32"])
    return conclude(compared, "torch", "tvm"), silent_outputs(compared)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ([F([NAN, NAN]), F([NAN, NAN])], "output y is NaN"),
        ([F([0, 0]), F([0, 0])], "output y is zero"),
        ([F([[]]), F([[]])], "output y has no elements"),
        ([F([1, 2]), F([1, 2])], "output y is the same whatever the input"),
        ([F([1, 1]), F([1, 1, 1])], "output y is the same whatever the input"),
        ([np.array([3]), np.array([3])], "output y is the same whatever the input"),
        ([np.array([True]), np.array([True])], "output y is the same whatever the input"),
        ([F([np.inf, np.inf])], "output y is the same whatever the input"),
    ],
)
def test_nothing_that_could_differ(arrays: list[Any], why: str) -> None:
    comparison, warnings = judged(*({"y": array} for array in arrays))
    assert (comparison.verdict, comparison.reason) == ("proves nothing", f"on all samples: {why}")
    assert warnings == [], "the verdict says it"


@pytest.mark.parametrize(
    "arrays",
    [
        [F([0, 0]), F([0, 1])],
        [F([NAN]), F([1])],
        [np.array([3, 3]), np.array([3, 2])],
        [np.array([True]), np.array([False])],
        [np.array([0]), np.array([1])],
        [F([1, 1]), F([2, 2])],
        [F([1, 1]), F([1, 1, 2])],
        [F([7])],
        [np.array([7, 7]), np.array([[7, 8]])],
    ],
)
def test_something_that_could_differ(arrays: list[Any]) -> None:
    comparison, warnings = judged(*({"y": array} for array in arrays))
    assert (comparison.verdict, warnings) == ("pass", [])


def test_the_same_input_again_is_no_other_input() -> None:
    assert judged({"y": F([1, 2])}, {"y": F([1, 2])}, inputs=[5, 5])[0].verdict == "pass"


def test_one_of_several_outputs_that_says_nothing_is_told() -> None:
    comparison, warnings = judged({"y": F([NAN]), "z": F([1])}, {"y": F([NAN]), "z": F([2])})
    assert comparison.verdict == "pass"
    assert warnings == ["output y is NaN on all samples: nothing is proved of it"]


def test_what_fails_has_failed_whatever_the_others_say() -> None:
    wrap = lambda v: IterationResult(outputs={"y": F(v)}, runtime=0.0, runner_name="test")  # noqa: E731
    samples = SampleSet(task="tensor", specs=(SPEC,), samples=[Sample(name="s")])
    feeds: Any = [{"x": F([1])}]
    compared = compare_samples(samples, [0], feeds, [wrap([NAN, NAN])], [wrap([1, NAN])], TOLERANCES["fp32"])
    assert conclude(compared, "torch", "tvm").verdict == "fail"


@pytest.mark.parametrize("scores", [[], [-1.0, -1.0]])
def test_no_detections(scores: list[float]) -> None:
    outputs = {
        "boxes": np.zeros((1, len(scores), 4), F),
        "scores": F([scores]),
        "labels": np.zeros((1, len(scores)), np.int64),
    }
    comparison, _ = judged(outputs, task="detection")
    assert (comparison.verdict, comparison.reason) == ("proves nothing", "on all samples: nothing is detected")
