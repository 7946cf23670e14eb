"""Two builds, two graphs, or a graph and an engine: what differs, and does it matter?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from enginesmith.converters.bisect.sides import DESCRIBE, Described
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.facts import GraphFacts
from enginesmith.converters.core.isolated import FAILED, Isolated
from enginesmith.converters.core.limits import limits_for, size_of
from enginesmith.converters.core.recipe import AUTO, FP32
from enginesmith.converters.core.records import TensorInfo
from enginesmith.converters.core.samples import SAMPLES
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.graphs.comparison import ONNXRUNTIME
from enginesmith.converters.graphs.products import PRECISIONS
from enginesmith.converters.graphs.tolerances import TOLERANCES
from enginesmith.converters.precision.mix import STAND_IN
from enginesmith.pipeline.job import compare_records as records
from enginesmith.pipeline.job.compare_outputs import Form, Pair, compare_outputs, samples_for
from enginesmith.pipeline.job.contrast import Change, Contrast, Value, changes
from enginesmith.pipeline.job.manifest import MANIFEST, EngineRecord, Manifest, StageRecord
from enginesmith.pipeline.job.store import Store

TENSOR = "tensor"
"""What a graph alone is for: its outputs are tensors."""
TIMEOUT = 600.0
"""Seconds that one side may take to run."""


@dataclass(frozen=True)
class Subject:
    """One side, `A` or `B`, from the path `place`. A build has a manifest; a lone graph has none. `file` is the graph's, where
    it is here.
    """

    name: str
    place: Path
    folder: Path
    file: Path | None
    manifest: Manifest | None
    graph: Described
    samples: Path | None = None
    runs: Path | None = None
    """What stands for the graph when it runs: a lowered graph's stand-in, or the graph."""
    trust: bool = False
    """Run an engine that was built elsewhere."""

    @property
    def engines(self) -> list[EngineRecord]:
        return self.manifest.engines if self.manifest else []

    @property
    def precision(self) -> str:
        """As a key of the tolerances."""
        if self.manifest:
            return "int8" if self.manifest.precision == AUTO else self.manifest.precision
        found = {PRECISIONS.get(dtype, FP32) for kind in self.graph.products.values() for dtype in kind}
        return max(found, key=list(TOLERANCES).index, default=FP32)

    def form(self, engine: EngineRecord | None = None) -> Form:
        if engine is None:
            return Form(f"{self.name}: graph", ONNXRUNTIME, "", self.runs, graph=self.runs)
        name = f"{self.name}: {records.engine_name(engine)}"
        return Form(name, engine.backend, engine.target, self.folder / engine.path, self.trust, self.runs)


def compare(
    a: Path,
    b: Path,
    store: Store,
    *,
    run: bool = True,
    shape: str | None = None,
    timeout: float = TIMEOUT,
    trust: bool = False,
    listen: Callable[[str], None] = lambda text: None,
) -> Contrast:
    """Hold `b` against `a`. Each is a build's output folder or its manifest.json, an .onnx file, or an engine's file within a
    build's folder; two manifests alone say all but what takes the files. With `run` both run on the same samples, those
    of the build, or made up for a graph (`shape` as for a build where it is dynamic). `timeout` is in seconds, of one run.
    An engine that was not built here runs with `trust` alone.

    Raises UserError for what is none of these.
    """
    listen("reading both")
    left, right = (replace(_open(name, place, store, timeout), trust=trust) for name, place in (("A", a), ("B", b)))
    if left.manifest is None and right.manifest is not None:
        contrast = _graph_and_build(left, right)
    elif left.manifest is not None and right.manifest is None:
        contrast = _graph_and_build(right, left, turned=True)
    else:
        contrast = _alike(left, right)
    if not run:
        contrast.notes.append("outputs were not compared: not asked for")
        return contrast
    pairs = _pairs(left, right)
    graph = left.file or right.file
    task = next((side.manifest.model.task for side in (left, right) if side.manifest), "") or TENSOR
    with samples_for(left.samples or right.samples, graph, shape, task, timeout) as samples:
        if samples is None:
            contrast.notes.append("outputs were not compared: neither the samples of a build nor a graph is here")
        else:
            contrast.outputs = list(compare_outputs(pairs, samples, timeout, listen))
    return contrast


def _open(name: str, place: Path, store: Store, timeout: float) -> Subject:
    if not place.exists():
        raise UserError(f"no file or folder {place}")
    if place.is_file() and place.suffix == ".onnx":
        return Subject(name, place, place.parent, place, None, _described(place, timeout), runs=place)
    if place.is_file() and place.suffix != ".json":
        folder = place.parent.parent
        if not (folder / MANIFEST).is_file():
            raise UserError(f"{place} is no .onnx file, and not in a build's output folder: give that folder")
        manifest = _one_engine(Manifest.read(folder), f"{place.parent.name}/{place.name}")
    else:
        folder = place.parent if place.is_file() else place
        manifest = Manifest.read(place)
    file = folder / MODEL if (folder / MODEL).is_file() else None
    last = [stage for stage, _ in manifest.told(GraphFacts) if not stage.backend and stage.made]
    kept = _kept(store, last[-1]) if last else None
    runs = kept / STAND_IN if kept and (kept / STAND_IN).is_file() else file
    origin = next((stage for stage in manifest.stages if stage.stage in ("export", "import")), None)
    samples = folder if (folder / SAMPLES).is_file() else _kept(store, origin) if origin else None
    graph = _described(file, timeout) if file else _recorded(manifest, last)
    return Subject(name, place, folder, file, manifest, graph, samples, runs=runs)


def _one_engine(manifest: Manifest, path: str) -> Manifest:
    """The build as if it had been made for this engine alone."""
    engines = [engine for engine in manifest.engines if engine.path == path]
    if not engines:
        known = ", ".join(engine.path for engine in manifest.engines)
        raise UserError(f"{path} is no engine of its build; there are {known or 'none'}")
    branch = (engines[0].backend, engines[0].target)
    stages = [stage for stage in manifest.stages if not stage.backend or (stage.backend, stage.target) == branch]
    return manifest.model_copy(update={"engines": engines, "stages": stages})


def _kept(store: Store, stage: StageRecord) -> Path | None:
    """The folder of a stage's artifact, where the store still has it."""
    return store.files(stage.key) if stage.key and store.lookup(stage.key) else None


def _described(file: Path, timeout: float) -> Described:
    memory = limits_for(size_of(file)).memory
    with Isolated(without_torch=True, memory=memory) as process:
        try:
            return Described.model_validate(process.call(DESCRIBE, str(file), memory, timeout=timeout))
        except FAILED as error:
            raise ConversionError(f"{file} can't be read: {error}") from None


def _recorded(manifest: Manifest, last: list[StageRecord]) -> Described:
    """Of the last graph on the way to the engines, what the manifest has."""
    facts = last[-1].told(GraphFacts) if last else None
    products = manifest.engines[0].products_asked if manifest.engines else {}
    return Described(facts=facts or GraphFacts(), products=products)


def _alike(a: Subject, b: Subject) -> Contrast:
    """Two builds, or two graphs."""
    contrast = Contrast(a=str(a.place), b=str(b.place))
    _graphs(contrast, a.graph, b.graph)
    if a.manifest and b.manifest:
        before, after = a.manifest, records.renamed(b.manifest, a.manifest)

        def differences(of: Callable[[Manifest], Mapping[str, Value]]) -> list[Change]:
            return changes(of(before), of(after))

        contrast.verdicts = records.verdicts(before, after)
        contrast.precision = records.precision(before, after) + contrast.precision
        contrast.accuracy = differences(records.accuracy)
        contrast.sizes += differences(records.sizes)
        contrast.latencies = records.latencies(before, after)
        contrast.tools = differences(records.tools)
        contrast.findings = differences(records.findings)
        contrast.recipe = differences(records.recipe)
        contrast.machine = differences(records.machine)
    return contrast


def _graph_and_build(graph: Subject, build: Subject, *, turned: bool = False) -> Contrast:
    """The graph is held against the build's last one, and against its engines. `turned`: the build comes first."""
    a, b = (build, graph) if turned else (graph, build)
    contrast = Contrast(a=str(a.place), b=str(b.place))
    _graphs(contrast, a.graph, b.graph)
    for engine in build.engines:
        name = records.engine_name(engine)
        if engine.products_built:
            sides = [records.counts(name, each) for each in (graph.graph.products, engine.products_built)]
            contrast.precision += changes(*(reversed(sides) if turned else sides), matters=True)
        sizes: list[dict[str, Value]] = [{f"the graph, {name}": each} for each in (graph.graph.size, engine.size)]
        contrast.sizes += changes(*(reversed(sizes) if turned else sizes))
    return contrast


def _graphs(contrast: Contrast, a: Described, b: Described) -> None:
    contrast.interface = changes(*(_interface(each.facts.inputs, each.facts.outputs) for each in (a, b)), matters=True)
    contrast.operators = changes(a.facts.ops, b.facts.ops)
    contrast.precision = changes(records.counts("graph", a.products), records.counts("graph", b.products), matters=True)
    if a.nodes is None or b.nodes is None:
        contrast.notes.append("nodes were not compared by name: a graph is not beside its manifest")
    else:
        left, right = Counter(a.nodes), Counter(b.nodes)
        contrast.nodes_a, contrast.nodes_b = list((left - right).elements()), list((right - left).elements())
        contrast.sizes = changes({"graph": a.size}, {"graph": b.size})


def _interface(inputs: list[TensorInfo], outputs: list[TensorInfo]) -> Mapping[str, Value]:
    return {
        f"{kind} {each.name}": f"{each.dtype} {'x'.join(map(str, each.shape)) or 'scalar'}"
        for kind, found in (("input", inputs), ("output", outputs))
        for each in found
    }


def _pairs(a: Subject, b: Subject) -> list[Pair]:
    """What is run: graph and graph, each engine with the one of its name, a lone graph with every engine."""
    precision = max(a.precision, b.precision, key=list(TOLERANCES).index)
    found = [(a.form(), b.form())]
    if a.manifest and b.manifest:
        names = [records.engine_name(each) for each in records.renamed(b.manifest, a.manifest).engines]
        others = dict(zip(names, b.engines, strict=True))
        paired = ((engine, others.get(records.engine_name(engine))) for engine in a.engines)
        found += [(a.form(engine), b.form(other)) for engine, other in paired if other is not None]
    else:
        found += [(a.form(engine), b.form()) for engine in a.engines]
        found += [(a.form(), b.form(engine)) for engine in b.engines]
    return [Pair(*forms, precision) for forms in found]
