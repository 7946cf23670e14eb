"""From a recipe to the stages that will run, in order, with what each one needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from enginesmith.converters.backends import BACKENDS, buildable, get_backend
from enginesmith.converters.backends.base import Backend
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.files import hash_file
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.precision.mix import Rest
from enginesmith.converters.stages.check import CheckOptions
from enginesmith.converters.stages.compile import CompileOptions
from enginesmith.converters.stages.export import ExportOptions
from enginesmith.converters.stages.import_onnx import ImportOptions
from enginesmith.converters.stages.measure import MeasureOptions
from enginesmith.converters.stages.simplify import SimplifyOptions
from enginesmith.pipeline.job.environment import machine_id
from enginesmith.pipeline.job.finetuning import finetune_options
from enginesmith.pipeline.job.lowering import JUDGE, accuracy, lowering
from enginesmith.pipeline.job.planned import AUTO, FP32, Plan, PlannedStage, comparison, label
from enginesmith.pipeline.job.recipe import Recipe
from enginesmith.pipeline.job.shapes import parse_shapes
from enginesmith.pipeline.job.source import Source, resolve_source
from enginesmith.pipeline.job.tuning import check_tuning, tune_options

ORIGINAL = "original"
"""Id of the export of a model that is then fine-tuned."""


def make_plan(recipe: Recipe) -> Plan:
    """Raises UserError for whatever can be seen to be wrong before anything runs."""
    source = resolve_source(recipe.model)
    shape = recipe.shape or source.shape
    specs = parse_shapes(shape) if shape else ()
    engines = _engines(recipe)
    check_tuning(recipe, engines)
    for backend, target in engines:
        if lacking := backend.lacks(recipe.precision, target):
            raise UserError(lacking)
        if reason := backend.buildable(target):
            raise UserError(f"{backend.name} can't build for {target} here: {reason}")
    stages = [*_front(recipe, source, specs)]
    first = stages[-1].id
    gate, model, expected = "", first, first
    names = (first, "simplify") if recipe.simplify else (first,)
    for name in names:
        if name == "simplify":
            needs = {"model": model, "samples": first}
            stages.append(PlannedStage("simplify", "simplify", SimplifyOptions(), needs=needs, after=_gates(gate)))
            model = "simplify"
        compare = f"compare {name}"
        stages.append(comparison(FP32, compare, model, first, expected))
        gate = expected = compare
    wide, exact = model, ""
    original = {"original": ORIGINAL} if any(stage.id == ORIGINAL for stage in stages) else {}
    if recipe.precision != FP32:
        rest = recipe.rest or _rest(engines)
        stages += lowering(recipe, rest, _estimated(engines), model, first, expected, original)
        exact, model, expected = expected, "precision", "compare precision"
        gate = stages[-1].id
    elif original:
        stages.append(accuracy(recipe, {"model": model, "candidate": model, "samples": first, **original}, gate))
        gate = JUDGE
    for backend, target in engines:
        stages += _branch(recipe, backend, target, model, wide, first, expected, exact, gate)
    return Plan(source=source, stages=tuple(stages), model=model, warnings=_left_out(recipe))


def _rest(engines: Sequence[tuple[Backend, str]]) -> Rest:
    """What computes in no integers: where no engine computes in 16 bits, a graph that rounds to them would be compared with
    engines that don't.
    """
    return "fp16" if any(backend.half for backend, _ in engines) else "fp32"


def _estimated(engines: Sequence[tuple[Backend, str]]) -> str:
    """The target that a search estimates latencies for: a GPU, where there is one among them."""
    return next((target for _, target in engines if target.startswith("sm_")), engines[0][1])


def _front(recipe: Recipe, source: Source, specs: tuple[InputSpec, ...]) -> Iterator[PlannedStage]:
    """The stage that makes the first ONNX graph, its sample inputs and its expected outputs."""
    common: dict[str, Any] = {
        "inputs": specs,
        "samples": recipe.samples,
        "seed": recipe.seed,
        "task": source.task or "auto",
        "pixels": recipe.pixels,
    }
    if source.kind == "onnx":
        assert source.path is not None
        for flag in ("weights", "stock", "proposals"):
            if getattr(recipe, flag):
                raise UserError(f"{flag} is for PyTorch models; {source.path.name} is a finished graph")
        finetune_options(recipe, source, {})
        yield PlannedStage("import", "import", ImportOptions(path=source.path, sha256=hash_file(source.path), **common))
        return
    weights = recipe.weights or "auto"
    weights_hash = ""
    if weights not in ("auto", "pretrained", "random"):
        path = Path(weights)
        if not path.is_file():
            raise UserError(f"no weights {path}; give a state dict's path, `pretrained` or `random`")
        weights, weights_hash = str(path.resolve()), hash_file(path)
    model: dict[str, Any] = {
        "kind": source.kind,
        "ref": source.ref,
        "path": source.path,
        "sha256": hash_file(source.path) if source.path else "",
        "weights": weights,
        "weights_sha256": weights_hash,
        "trust": recipe.trust,
    }
    export = ExportOptions(
        **model,
        stock=recipe.stock,
        proposals=recipe.proposals,
        exporter=recipe.exporter,
        opset=recipe.opset,
        **common,
    )
    tuning = finetune_options(recipe, source, model)
    if tuning is None:
        yield PlannedStage("export", "export", export)
    else:
        yield PlannedStage(ORIGINAL, "export", export)
        taught = {"samples": ORIGINAL} if tuning.data is not None else {}
        yield PlannedStage("finetune", "finetune", tuning, needs=taught)
        yield PlannedStage("export", "export", export, needs={"finetuned": "finetune"})


def _branch(
    recipe: Recipe,
    backend: Backend,
    target: str,
    model: str,
    wide: str,
    samples: str,
    expected: str,
    exact: str,
    gate: str,
) -> Iterator[PlannedStage]:
    """Check, compile, compare and measure for one engine. `wide` is the graph in float32: what its time is held against,
    since ONNX Runtime computes in float32 on a CPU anyway, and is slower on a graph of 16 bits. `exact` is the stage that has
    its results, where `expected` is of a lower precision.
    """
    name = f"{backend.name} {target}"
    check = f"check {name}"
    yield PlannedStage(
        check,
        "check",
        CheckOptions(
            backend=backend.name,
            target=target,
            precision="int8" if recipe.precision == AUTO else recipe.precision,
            repair=recipe.repair,
            expected=label(expected),
        ),
        needs={"model": model, "samples": samples, "expected": expected},
        after=_gates(gate),
        backend=backend.name,
        target=target,
    )
    needs = {"model": model, "samples": samples, "checked": check}
    if (options := tune_options(recipe, backend, target)) is not None:
        yield PlannedStage(f"tune {name}", "tune", options, needs=needs, backend=backend.name, target=target)
        needs = {**needs, "tuned": f"tune {name}"}
    yield PlannedStage(
        f"compile {name}",
        "compile",
        CompileOptions(
            backend=backend.name,
            target=target,
            sparse=recipe.sparse,
            kernels=recipe.kernels,
            winograd=recipe.winograd,
        ),
        needs=needs,
        backend=backend.name,
        target=target,
    )
    blocked = backend.runnable(target) or ""
    compare = comparison(
        recipe.precision,
        f"compare {name}",
        f"compile {name}",
        samples,
        expected,
        backend.name,
        target,
        wide=exact,
    )
    yield PlannedStage(**{**vars(compare), "blocked": blocked})
    if recipe.measure > 0:
        yield PlannedStage(
            f"measure {name}",
            "measure",
            MeasureOptions(
                backend=backend.name,
                target=target,
                seconds=recipe.measure,
                threads=recipe.threads,
                machine=machine_id(),
            ),
            needs={"engine": f"compile {name}", "model": wide, "samples": samples},
            after=(f"compare {name}",),
            backend=backend.name,
            target=target,
            blocked=blocked,
        )


def _gates(gate: str) -> tuple[str, ...]:
    return (gate,) if gate else ()


def _engines(recipe: Recipe) -> list[tuple[Backend, str]]:
    """Backends with their targets. A target goes to every backend that knows it; one that gets none takes its own."""
    if recipe.backend == "auto":
        backends = [get_backend(name) for name in buildable()]
        if not backends:
            reasons = "; ".join(f"{name}: {get_backend(name).available()}" for name in BACKENDS)
            raise UserError(f"this machine can build for no backend ({reasons})")
    else:
        backends = [get_backend(name) for name in dict.fromkeys(_words(recipe.backend))]
        if not backends:
            raise UserError(f"no backend in {recipe.backend!r}; one or several of {', '.join(BACKENDS)}, or auto")
        for backend in backends:
            if reason := backend.available():
                raise UserError(f"backend {backend.name} can't build here: {reason}")
    targets: dict[str, list[str]] = {backend.name: [] for backend in backends}
    for word in _words(recipe.target):
        refusals = []
        for backend in backends:
            try:
                targets[backend.name].append(backend.resolve_target(word))
            except UserError as error:
                refusals.append(str(error))
        if len(refusals) == len(backends):
            raise UserError("; ".join(refusals))
    return [
        (backend, target)
        for backend in backends
        for target in dict.fromkeys(targets[backend.name] or [backend.resolve_target("auto")])
    ]


def _left_out(recipe: Recipe) -> tuple[str, ...]:
    """Backends that are installed and yet can't build: whoever installed one expects its engine."""
    if recipe.backend != "auto":
        return ()
    backends = [get_backend(name) for name in BACKENDS]
    reasons = {backend.name: backend.available() for backend in backends if backend.version()}
    return tuple(f"no engine for {name}: {reason}" for name, reason in reasons.items() if reason)


def _words(text: str) -> Sequence[str]:
    return [word for word in text.replace(" ", ",").split(",") if word]
