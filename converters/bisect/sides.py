"""Two sides that needn't come from one build: what each is made of, what each gives, and how far that is apart.

Called by name in `Isolated`, the two sides in processes of their own: versions of TensorRT exclude each other. Arguments
and results are JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from enginesmith.converters.core.facts import GraphFacts
from enginesmith.converters.serving.runners import runner_of

DESCRIBE = f"{__name__}:describe"
SAMPLES = f"{__name__}:make"
RUN = f"{__name__}:run"
JUDGE = f"{__name__}:judge"
COUNT, SEED = 3, 0
"""Of the samples that are made up."""


class Node(BaseModel, frozen=True):
    """`name` is that of its first output where it has none."""

    name: str
    op: str


class Described(BaseModel):
    """A graph. `nodes` and `size` (bytes, with its external data) are None where only a build's record is there."""

    facts: GraphFacts
    products: dict[str, dict[str, int]]
    """Kind of product to its number by dtype."""
    nodes: list[Node] | None = None
    size: int | None = None


def describe(file: str, memory: int = 0) -> dict[str, Any]:
    """A `Described`. `memory` is what its tensors may take, in bytes, 0 for any amount.

    Raises UserError for a file that is no ONNX graph.
    """
    from enginesmith.converters.graphs import describe as graphs
    from enginesmith.converters.graphs.files import external_files, load_graph
    from enginesmith.converters.graphs.products import products_of

    path = Path(file)
    model = load_graph(path, memory)
    files = [path, *(path.parent / name for name in external_files(model))]
    return Described(
        facts=graphs.describe(path),
        products=products_of(path),
        nodes=[
            Node(name=node.name or next(iter(node.output), ""), op=graphs.operator_name(node))
            for node in graphs.all_nodes(model)
        ],
        size=sum(each.stat().st_size for each in files),
    ).model_dump()


def make(file: str, given: Sequence[Mapping[str, Any]], task: str, out: str) -> None:
    """Samples for a graph, in the folder `out`. `given` are `InputSpec`s of its dynamic inputs.

    Raises UserError where they don't fit, or are missing.
    """
    from enginesmith.converters.core.inputs import InputSpec, resolve_inputs
    from enginesmith.converters.data.samples import make_samples
    from enginesmith.converters.graphs.describe import describe

    specs = resolve_inputs(describe(Path(file)).inputs, [InputSpec.model_validate(spec) for spec in given])
    samples, feeds = make_samples(specs, task, COUNT, SEED)
    ordinary = samples.ordinary()  # nobody says whether the graph takes others
    samples = samples.model_copy(update={"samples": [samples.samples[index] for index in ordinary]})
    samples.save(Path(out), [feeds[index] for index in ordinary])


def steady(backend: str) -> bool:
    """Does it add in the same order each time? A GPU needn't."""
    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.graphs.comparison import ONNXRUNTIME

    return backend == ONNXRUNTIME or not get_backend(backend).gpu


def run(
    name: str, backend: str, file: str, graph: str, samples: str, indices: Sequence[int], precision: str, out: str
) -> list[dict[str, Any]]:
    """Run a side called `name` on these samples of a folder; its results are left in the folder `out`. Returns `SelfCheck`s: what
    it answers held against itself, and where it isn't alike, against the file `graph`; none without that.

    Raises ConversionError where it can't be run.
    """
    import time

    from enginesmith.converters.core.samples import SampleSet, save_results
    from enginesmith.converters.core.stage import Context
    from enginesmith.converters.graphs import interface
    from enginesmith.converters.graphs.comparison import ONNXRUNTIME, run_samples, runner_label
    from enginesmith.converters.graphs.self_checks import LEAST_SECONDS, self_checks

    path, folder = Path(file), Path(out)
    names, feeds = SampleSet.load(Path(samples))
    named = [(names.samples[index].name, feeds[index]) for index in indices]
    changed = interface.of(path) if backend == ONNXRUNTIME else interface.load(path.parent)
    began = time.monotonic()
    found = run_samples(runner_of(backend, path), backend, named, Context(folder, folder, folder), changed)
    took = time.monotonic() - began
    save_results(folder, runner_label(backend), found)
    if not graph:
        return []
    checks = self_checks(
        runner_of(backend, path),
        name,
        Path(graph),
        names,
        [feeds[index] for index in indices],
        precision,
        steady=steady(backend),
        changed=changed,
        seconds=max(took, LEAST_SECONDS),
    )
    return [each.model_dump() for each in checks]


def judge(samples: str, indices: Sequence[int], expected: str, found: str, precision: str) -> dict[str, Any]:
    """A `Comparison` of the results in two folders, with the tolerances of a precision; the caller names the sides.

    Raises ConversionError where outputs are gone, or of another shape.
    """
    from enginesmith.converters.core.samples import SampleSet, load_results
    from enginesmith.converters.graphs.comparison import compare_samples, conclude, rounding_alone
    from enginesmith.converters.graphs.tolerances import tolerance_of

    names, feeds = SampleSet.load(Path(samples))
    before, after = (load_results(Path(folder))[0][1] for folder in (expected, found))
    alone = rounding_alone(Path(samples), names, feeds)
    compared = compare_samples(names, indices, feeds, before, after, tolerance_of(precision, names.own), alone)
    return conclude(compared, "", "").model_dump()
