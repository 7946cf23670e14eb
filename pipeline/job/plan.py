"""From a recipe to the stages that will run, in order: the order is stated here, and everything else by the stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from enginesmith.converters.backends import AUTO, BACKENDS, buildable, get_backend
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.plan import Draft, EngineTarget, PlannedStage
from enginesmith.converters.core.recipe import FP32, INTEGERS, Recipe, Rest
from enginesmith.converters.core.source import Source
from enginesmith.converters.stages.registry import followers, load_stage, warnings
from enginesmith.pipeline.job.environment import machine_id
from enginesmith.pipeline.job.ignored import watched
from enginesmith.pipeline.job.platform import check
from enginesmith.pipeline.job.shapes import parse_shapes
from enginesmith.pipeline.job.source import resolve_source
from enginesmith.pipeline.job.zoo import with_own_data

MODEL = ("import", "export", "prune", "finetune", "export", "compare", "simplify", "compare")
CALIBRATE = ("calibrate",)
LOWER = ("precision", "search", "compare", "evaluate")
"""For each form of the lowered graph that the engines compute."""
ENGINE = ("tune", "compile", "compare", "measure")
"""For each backend and target."""
SENSITIVITY = ("sensitivity",)
"""In the place of all that comes after the model."""


@dataclass(frozen=True)
class Plan:
    """Stages in an order in which each comes after all that it needs."""

    source: Source
    stages: tuple[PlannedStage, ...]
    model: str
    """Id of the stage whose graph the engines are built from."""
    warnings: tuple[str, ...] = ()
    """What the user should know that no stage will say."""


def make_plan(recipe: Recipe) -> Plan:
    """The plan of a build. Raises UserError for whatever can be seen to be wrong before anything runs."""
    with watched(with_own_data(recipe)) as read:
        draft = _draft(read)
        _add(draft, read, MODEL + CALIBRATE)
        forms: dict[Rest, Draft] = {}
        for engine in sorted(draft.engines, key=lambda engine: engine.target != draft.estimated):
            rest = _rest(read, engine)
            if rest not in forms:
                roles, name = dict(draft.roles), rest if forms else ""
                forms[rest] = replace(draft, rest=rest, form=name, estimated=engine.target, roles=roles)
                _add(forms[rest], read, LOWER)
        for engine in draft.engines:
            form = forms[_rest(read, engine)]
            _add(replace(form, engine=engine, roles=dict(form.roles)), read, ENGINE)
        return _plan(next(iter(forms.values())), read)


def sensitivity_plan(recipe: Recipe) -> Plan:
    """The plan of what each layer alone loses in a lower precision. Raises UserError."""
    with watched(with_own_data(recipe)) as read:
        draft = _draft(read)
        _add(draft, read, MODEL + CALIBRATE + SENSITIVITY)
        return _plan(draft, read)


def _plan(draft: Draft, recipe: Recipe) -> Plan:
    """The finished draft. Raises UserError for an engine that can't be built here."""
    for engine in draft.engines:
        backend = get_backend(engine.backend)
        if lacking := backend.lacks(recipe.precision, engine.target):
            raise UserError(lacking)
        if reason := backend.buildable(engine.target):
            raise UserError(f"{backend.name} can't build for {engine.target} here: {reason}")
    told = (*_left_out(recipe), *check(recipe, draft.engines), *warnings())
    return Plan(draft.source, tuple(draft.stages), draft.roles["model"], told)


def _add(draft: Draft, recipe: Recipe, order: Sequence[str]) -> None:
    """Plan the stages of an order, each with those of third parties that follow it."""
    for name in order:
        for each in (name, *followers(name)):
            for planned in load_stage(each).plan(recipe, draft):
                draft.stages.append(planned)


def _draft(recipe: Recipe) -> Draft:
    source = resolve_source(recipe.model)
    shape = recipe.shape or source.shape
    engines = _engines(recipe)
    first = next((engine for engine in engines if get_backend(engine.backend).gpu), engines[0])
    return Draft(
        source=source,
        inputs=parse_shapes(shape) if shape else (),
        engines=tuple(engines),
        estimated=first.target,
        rest=_rest(recipe, first),
        machine=machine_id(),
    )


def _rest(recipe: Recipe, engine: EngineTarget) -> Rest:
    """What computes in no integers in the graph that an engine is built from: another one than the engine computes in
    would be held against results that it can't have. Of a graph without integers there is one form.
    """
    if recipe.precision not in INTEGERS:
        return FP32
    return recipe.rest or get_backend(engine.backend).rest


def _engines(recipe: Recipe) -> list[EngineTarget]:
    """Backends with their targets. A target goes to every backend that knows it; one that gets none takes its own."""
    if recipe.backend == AUTO:
        backends = [get_backend(name) for name in buildable()]
        if not backends:
            reasons = "; ".join(f"{name}: {backend.available()}" for name, backend in BACKENDS.items())
            raise UserError(f"this machine can build for no backend ({reasons})")
    else:
        backends = [get_backend(name) for name in dict.fromkeys(_words(recipe.backend))]
        if not backends:
            raise UserError(f"no backend in {recipe.backend!r}; one or several of {', '.join(BACKENDS)}, or auto")
        for backend in backends:
            if reason := backend.available():
                raise UserError(f"backend {backend.name} can't build here: {reason}")
    if not (words := _words(recipe.target)):
        raise UserError(f"no target in {recipe.target!r}; give one, such as sm_89 or native, or auto")
    targets: dict[str, list[str]] = {backend.name: [] for backend in backends}
    for word in words:
        refusals = []
        for backend in backends:
            try:
                targets[backend.name].append(backend.resolve_target(word))
            except UserError as error:
                refusals.append(str(error))
        if len(refusals) == len(backends):
            raise UserError("; ".join(refusals))
    return [
        EngineTarget(backend.name, target)
        for backend in backends
        for target in dict.fromkeys(targets[backend.name] or [backend.resolve_target("auto")])
    ]


def _left_out(recipe: Recipe) -> Iterator[str]:
    """Backends that are installed and yet can't build: whoever installed one expects its engine."""
    for name, backend in BACKENDS.items() if recipe.backend == AUTO else ():
        if backend.version() and (reason := backend.available()):
            yield f"no engine for {name}: {reason}"


def _words(text: str) -> Sequence[str]:
    return [word for word in text.replace(" ", ",").split(",") if word]
