"""Whether a graph that a tool wrote computes what the model does: it runs in ONNX Runtime as it is written, without
optimizations, on the ordinary samples at all their sizes, and its outputs are held against the model's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.recipe import FP32
from enginesmith.converters.core.samples import Array, Feed, SampleSet
from enginesmith.converters.core.stage import Context
from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.graphs.comparison import ONNXRUNTIME, compare_samples, reason, run_samples
from enginesmith.converters.graphs.rounding import Alone
from enginesmith.converters.graphs.tolerances import TOLERANCES

Outputs = dict[str, Array]


@dataclass(frozen=True)
class Expected:
    """What a graph is tried on: the ordinary ones of the `samples`, of which `feeds` are the inputs and `results` the model's
    outputs. `exact` computes these in float64, where a difference has to be explained; an empty dict where it can't.
    """

    samples: SampleSet
    feeds: Sequence[Feed]
    results: Sequence[Outputs]
    exact: Callable[[], Sequence[Outputs]] = field(default=list)


@dataclass(frozen=True)
class Trial:
    """The graph's outputs on the ordinary samples; why it doesn't run, with what to do, or how it differs: in one line, empty
    where it doesn't."""

    outputs: Sequence[Outputs] = ()
    fails: str = ""
    remedy: str = ""
    differs: str = ""


def try_graph(model: Path, expected: Expected, context: Context, values: bool = True) -> Trial:
    """Run and compare. Without `values` the outputs aren't compared, and only the first sample is run: of a model that answers
    the same input differently, or of a graph that has baked in what one run did, others are expected to differ."""
    chosen = expected.samples.ordinary()[: None if values else 1]
    named = [(expected.samples.samples[index].name, feed) for index, feed in zip(chosen, expected.feeds, strict=False)]
    try:
        outputs = run_samples(onnxruntime.runner(model, optimize=False), ONNXRUNTIME, named, context)
        differs = _differs(expected, chosen, outputs) if values else ""
    except ConversionError as error:  # it can't run, or its outputs have other names or shapes
        return Trial(fails=str(error), remedy=error.remedy)
    return Trial(outputs=outputs, differs=differs)


def _differs(expected: Expected, chosen: Sequence[int], outputs: Sequence[Outputs]) -> str:
    """How, in one line. What rounding does is asked for only where something differs by more than is usual."""
    from polygraphy.comparator import IterationResult

    def results(sides: Sequence[Outputs]) -> list[IterationResult]:
        return [IterationResult(outputs=side, runtime=0.0, runner_name="") for side in sides]

    before, after = results(expected.results), results(outputs)

    def failed(alone: Mapping[int, Alone]) -> str:
        compared = compare_samples(expected.samples, chosen, expected.feeds, before, after, TOLERANCES[FP32], alone)
        return reason([sample for sample in compared if not sample.passed])

    differs = failed({})
    if not differs or not (exact := results(expected.exact())):
        return differs
    pairs = zip(chosen, before, exact, strict=True)
    return failed({index: Alone(reference, wide) for index, reference, wide in pairs if len(wide)})
