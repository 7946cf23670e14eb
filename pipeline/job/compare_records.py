"""What differs between two builds by their manifests alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from enginesmith.compat.findings import Finding
from enginesmith.converters.core.facts import JudgedFacts
from enginesmith.converters.core.records import Latency
from enginesmith.pipeline.job.contrast import Change, Value, changes
from enginesmith.pipeline.job.manifest import EngineRecord, Manifest

NOISE = 0.05
"""Share by which a median moves from one run to the next on a quiet machine."""


def engine_name(engine: EngineRecord) -> str:
    """As in the ids of its stages."""
    return f"{engine.backend} {engine.target}"


def renamed(b: Manifest, a: Manifest) -> Manifest:
    """`b` with its engines called as those of `a` that they are held against: those of the same backend and target; one of
    another target where it is the only one left of its backend, on both sides; one of another backend where each side has
    no other.
    """
    left, right = ([(s.backend, s.target) for s in build.stages if s.backend] for build in (a, b))
    here, there = (
        [each for each in dict.fromkeys(side) if each not in other] for side, other in ((left, right), (right, left))
    )
    pairs = {}
    for branch in there:
        near = [each for each in here if each[0] == branch[0]]
        if len(near) == 1 and [each[0] for each in there].count(branch[0]) == 1:
            pairs[branch] = near[0]
    if len(set(left)) == len(set(right)) == len(there) == 1:
        pairs[there[0]] = here[0]
    names = {" ".join(old): " ".join(new) for old, new in pairs.items()}
    if not names:
        return b

    def told(id: str) -> str:
        for old, new in names.items():
            if id.endswith(f" {old}"):
                return id.removesuffix(old) + new
        return id

    copied = b.model_copy(deep=True)
    for stage in copied.stages:
        stage.id = told(stage.id)
    for engine in copied.engines:
        engine.backend, engine.target = pairs.get((engine.backend, engine.target), (engine.backend, engine.target))
    return copied


def verdicts(a: Manifest, b: Manifest) -> list[Change]:
    """A stage that only one plan has is told; an engine that only one has matters."""
    stages = changes(*({stage.id: stage.verdict for stage in build.stages} for build in (a, b)))
    errors = {stage.id: stage.error for stage in b.stages}
    for change in stages:
        change.matters = change.before is not None and change.after is not None
        change.note = errors.get(change.what, "")
    engines = [{f"{engine_name(e)} verified": e.verified for e in build.engines} for build in (a, b)]
    return [*stages, *changes(*engines, matters=True)]


def precision(a: Manifest, b: Manifest) -> list[Change]:
    """Products that the backend doesn't tell of are judged by the dtypes of the engine's layers, whose number alone, which
    a backend's next version fuses otherwise, doesn't matter."""
    found = changes({"asked": a.precision}, {"asked": b.precision}, matters=True)
    after = {engine_name(engine): engine for engine in b.engines}
    for engine in a.engines:
        name = engine_name(engine)
        if name in after:
            found += engine_precision(name, engine, after[name])
    return found


def engine_precision(name: str, a: EngineRecord, b: EngineRecord) -> list[Change]:
    known = bool(a.products_built and b.products_built)
    products = [counts(name, engine.products_built) for engine in (a, b)] if known else []
    layers = changes(*({f"{name}: layers {dtype}": n for dtype, n in e.layers_by_dtype.items()} for e in (a, b)))
    for change in layers:
        change.matters = not known and None in (change.before, change.after)
    return [*(changes(*products, matters=True) if known else []), *layers]


def counts(name: str, products: Mapping[str, Mapping[str, int]]) -> dict[str, Value]:
    return {f"{name}: {kind} {dtype}": n for kind, found in products.items() for dtype, n in found.items()}


def accuracy(build: Manifest) -> dict[str, Value]:
    """Of each form of the graph: that of the second one is called after what its stage's id ends with."""
    found = ((stage.id.partition(" ")[2], facts.accuracy) for stage, facts in build.told(JudgedFacts))
    return {
        " ".join(filter(None, [f"{record.metric} on {record.data}", form])): round(record.after, 6)
        for form, record in found
        if record
    }


def sizes(build: Manifest) -> dict[str, Value]:
    return {engine_name(engine): engine.size for engine in build.engines}


def tools(build: Manifest) -> dict[str, Value]:
    """Where stages of one build ran with several versions, all of them."""
    found: dict[str, list[str]] = {"enginesmith": [build.enginesmith], "Python": [build.machine.python]}
    for stage in build.stages:
        for tool, version in stage.tools.items():
            found.setdefault(tool, []).append(version)
    return {tool: ", ".join(sorted(set(versions))) for tool, versions in found.items()}


def findings(build: Manifest) -> dict[str, Value]:
    """Without the version that said so: an upgrade alone is no new finding."""
    found: dict[str, Value] = {}
    for stage in build.stages:
        found |= {finding_name(finding): finding.severity for finding in stage.facts.findings}
        branch = f"{stage.backend}: " if stage.backend else ""
        found |= {f"{branch}repair {made.repair}: {made.node}": "made" for made in stage.facts.repairs if made.made}
    return found


def finding_name(finding: Finding) -> str:
    where = " ".join(filter(None, (finding.op, finding.node)))
    return ": ".join(filter(None, (finding.backend, where, finding.message)))


def recipe(build: Manifest) -> dict[str, Value]:
    return {key: value if isinstance(value, int | float) else str(value) for key, value in build.recipe.items()}


def machine(build: Manifest) -> dict[str, Value]:
    return build.machine.model_dump()


def latencies(a: Manifest, b: Manifest) -> list[Change]:
    """With a word on how far they can be held against each other."""
    elsewhere = machine(a) | {"memory_gb": 0} != machine(b) | {"memory_gb": 0}
    before, after = ({name: each for engine in build.engines for name, each in _timed(engine)} for build in (a, b))
    return [
        Change(
            what=name,
            before=before[name].engine_ms if name in before else None,
            after=after[name].engine_ms if name in after else None,
            note=reliable(before[name], after[name], elsewhere) if name in before and name in after else "",
        )
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    ]


def _timed(engine: EngineRecord) -> Iterator[tuple[str, Latency]]:
    for latency in (engine.latency, *engine.latency.others) if engine.latency else ():
        yield f"{engine_name(engine)} {latency.shapes}".strip(), latency


def reliable(a: Latency, b: Latency, elsewhere: bool) -> str:
    """ONNX Runtime ran in turn with both engines: as far as it moved, the machine did."""
    notes = []
    moved, reference = (abs(after / before - 1) for before, after in _both(a, b))
    if elsewhere:
        notes.append("another machine")
    elif moved <= max(NOISE, reference):
        notes.append(f"within the noise: ONNX Runtime moved by {reference:.0%}")
    if a.threads != b.threads:
        notes.append(f"{a.threads} and {b.threads} threads")
    busy = max(a.load_before, a.load_after, b.load_before, b.load_after)
    if busy > max(a.threads, b.threads) + 1:
        notes.append(f"a busy machine: load {busy:.1f}")
    return ", ".join(notes)


def _both(a: Latency, b: Latency) -> tuple[tuple[float, float], tuple[float, float]]:
    return (a.engine_ms, b.engine_ms), (a.onnxruntime_ms, b.onnxruntime_ms)
