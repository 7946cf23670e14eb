"""Whether a graph that a tool wrote computes what the model does: it runs in ONNX Runtime as it is written, without
optimizations, on the ordinary samples at all their sizes, and its outputs are held against the model's own.

ONNX Runtime has a process of its own: there are graphs that bring it down, and then another road is to be tried.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from enginesmith.converters.core.errors import ConversionError, first_line
from enginesmith.converters.core.exchange import Exchange
from enginesmith.converters.core.isolated import Died, Isolated
from enginesmith.converters.core.recipe import FP32
from enginesmith.converters.core.samples import Array, Feed, SampleSet
from enginesmith.converters.core.stage import Context
from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.graphs.comparison import compare_samples, reason
from enginesmith.converters.graphs.rounding import Alone
from enginesmith.converters.graphs.tolerances import Tolerance, tolerance_of

Outputs = dict[str, Array]

RUN = f"{__name__}:run"


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
    own: Literal["fp32", "fp16", "bf16"] = FP32
    widened: str = ""
    """What ONNX Runtime computes in float32 for want of a kernel, for the user."""


def try_graph(model: Path, expected: Expected, context: Context, values: bool = True) -> Trial:
    """Run and compare. Without `values` the outputs aren't compared, and only the first sample is run: of a model that answers
    the same input differently, or of a graph that has baked in what one run did, others are expected to differ."""
    from enginesmith.converters.graphs.kernels import told

    chosen = expected.samples.ordinary()[: None if values else 1]
    context.progress("its graph in ONNX Runtime")
    own = own_precision(model)
    try:
        outputs, widened = _isolated(model, expected, chosen, context)
        differs = _differs(tolerance_of(FP32, own), expected, chosen, outputs) if values else ""
    except ConversionError as error:  # it can't run, or its outputs have other names or shapes
        return Trial(fails=str(error), remedy=error.remedy)
    return Trial(outputs=outputs, differs=differs, widened=told(widened), own=own)


def _isolated(
    model: Path, expected: Expected, chosen: Sequence[int], context: Context
) -> tuple[list[Outputs], list[str]]:
    """The outputs on the samples `chosen`, and what was widened. Raises ConversionError where there are none."""
    given, made = Exchange(), Exchange()
    log = context.scratch / "trial.log"
    feeds = expected.feeds[: len(chosen)]
    told = given.put({f"{number} {name}": array for number, feed in enumerate(feeds) for name, array in feed.items()})
    names = [expected.samples.samples[index].name for index in chosen]
    try:
        with Isolated(shared=(given.fd, made.fd), log=log) as process:
            answer = process.call(RUN, str(model), names, given.fd, told, made.fd, timeout=math.inf)
    except Died as error:
        raise ConversionError(f"ONNX Runtime can't run the graph: {error}") from None
    finally:
        print(log.read_text(errors="replace") if log.exists() else "", end="")
        log.unlink(missing_ok=True)
    return _by_sample(made.take(answer["outputs"]), len(names)), answer["widened"]


def run(model: str, names: Sequence[str], given: int, told: Sequence[Mapping[str, Any]], made: int) -> dict[str, Any]:
    """Called by name in the other process. Samples are called `names`, and their inputs lie in the memory `given`; the outputs are
    left in `made`. Raises ConversionError for a graph that can't be run."""
    doing, ran = "can't load the graph", dict[str, Array]()
    try:
        found = onnxruntime.opened(Path(model), optimize=False)
        outputs = [output.name for output in found.session.get_outputs()]
        for number, feed in enumerate(_by_sample(Exchange(given).take(told), len(names))):
            doing = f"can't run the graph on the sample {names[number]!r}"
            results = found.session.run(None, feed)
            ran |= {f"{number} {name}": array for name, array in zip(outputs, results, strict=True)}
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions share no base but Exception
        traceback.print_exc()
        raise ConversionError(
            f"ONNX Runtime {doing}: {first_line(error)}",
            "if other samples run, the exporter has fixed a size that depends on the input" if ran else "",
        ) from None
    return {"outputs": Exchange(made).put(ran), "widened": found.widened}


def _by_sample(arrays: Mapping[str, Array], count: int) -> list[Outputs]:
    """Of arrays that are called by the sample's number and their name."""
    found: list[Outputs] = [{} for _ in range(count)]
    for key, array in arrays.items():
        number, _, name = key.partition(" ")
        found[int(number)][name] = array
    return found


def own_precision(model: Path) -> Literal["fp32", "fp16", "bf16"]:
    """The coarsest type that a graph computes in: that of a node's result, and of its weights where types aren't told."""
    import onnx_ir as ir

    graph = ir.load(model).graph
    values = [value for node in graph.all_nodes() if node.op_type not in ("Cast", "Constant") for value in node.outputs]
    types = {value.dtype for value in values if value.name}
    if None in types:
        types |= {value.dtype for value in (*graph.inputs, *graph.initializers.values())}
    return "bf16" if ir.DataType.BFLOAT16 in types else "fp16" if ir.DataType.FLOAT16 in types else "fp32"


def _differs(tolerance: Tolerance, expected: Expected, chosen: Sequence[int], outputs: Sequence[Outputs]) -> str:
    """How, in one line. What rounding does is asked for only where something differs by more than is usual."""
    from polygraphy.comparator import IterationResult

    def results(sides: Sequence[Outputs]) -> list[IterationResult]:
        return [IterationResult(outputs=side, runtime=0.0, runner_name="") for side in sides]

    before, after = results(expected.results), results(outputs)

    def failed(alone: Mapping[int, Alone]) -> str:
        compared = compare_samples(expected.samples, chosen, expected.feeds, before, after, tolerance, alone)
        return reason([sample for sample in compared if not sample.passed])

    differs = failed({})
    if not differs or not (exact := results(expected.exact())):
        return differs
    pairs = zip(chosen, before, exact, strict=True)
    return failed({index: Alone(reference, wide) for index, reference, wide in pairs if len(wide)})
