"""The smallest change after which an engine agrees with its graph: a barrier where they first differ, another form of an
operator there, a wider type, a plainer engine. Each is tried with the whole graph: what is wrong may come of what is fused.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import onnx_ir as ir
from pydantic import BaseModel

from enginesmith.compat.alterations import Alteration, other_forms
from enginesmith.compat.graphs import infer, named
from enginesmith.compat.values import label
from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.cutting import narrowed
from enginesmith.converters.bisect.divergence import Divergence, Trial, measure
from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.core.isolated import FAILED, Isolated

TRY = f"{__name__}:attempt"
SUSPECTS, DEPTH = 3, 3
"""Nodes where engine and graph begin to differ that are looked at, and how many nodes before them."""
MOST = 40
"""Engines that are built."""


class Change(BaseModel, frozen=True):
    """What is to be different in a build: keys of a recipe."""

    alter: tuple[str, ...] = ()
    """Alterations of the graph."""
    settings: dict[str, bool] = {}
    """Other keys, such as `winograd`."""

    def keys(self, before: str = "") -> dict[str, str | bool]:
        """As a recipe has them; `before` are the alterations that it had."""
        alter = ",".join(filter(None, (before, *self.alter)))
        return {**({"alter": alter} if self.alter else {}), **self.settings}

    def __str__(self) -> str:
        return ", ".join((*self.alter, *(f"{'' if on else 'no '}{name}" for name, on in self.settings.items())))


class Workaround(BaseModel):
    """What a search has found: None in `change` where nothing that was tried agrees."""

    change: Change | None = None
    trials: list[Trial] = []
    note: str = ""


def attempt(
    model: str,
    alter: str,
    settings: Mapping[str, bool],
    samples: str,
    indices: Sequence[int],
    backend: str,
    target: str,
    scale: float,
    relative: float,
) -> float:
    """How far an engine of the changed graph is from the graph as it is in ONNX Runtime, in units of what is allowed. Runs in
    an `Isolated` process.

    Raises UserError or ConversionError where the change can't be made, computes something else, or isn't built.
    """
    from enginesmith.converters.backends.building import build
    from enginesmith.converters.backends.request import request_for
    from enginesmith.converters.core.samples import SampleSet
    from enginesmith.converters.core.stage import Context
    from enginesmith.converters.graphs import interface
    from enginesmith.converters.graphs.alter import write_altered
    from enginesmith.converters.graphs.self_checks import infer_with, reference_of

    given, engines = Path(model), get_backend(backend)
    known, feeds = SampleSet.load(Path(samples))
    chosen = [feeds[index] for index in indices]
    with tempfile.TemporaryDirectory(prefix="enginesmith-") as folder:
        out = Path(folder)
        graph = write_altered(given, out, alter, engines.rules()) if alter else given
        reference = reference_of(given)()
        expected = [reference(feed) for feed in chosen]

        def excess(infer: Callable[[Any], Mapping[str, Any]]) -> float:
            pairs = ((before, infer(feed)) for before, feed in zip(expected, chosen, strict=True))
            return max(
                measure(before[name], after[name], scale, relative).excess for before, after in pairs for name in before
            )

        if alter and excess(reference_of(graph)()) > 1:
            raise UserError("the altered graph computes something else in ONNX Runtime")
        request = request_for(graph, target, known, feeds, out, **settings)
        built = build(engines, request, Context(out, out, out), feeds, out / "repaired.onnx")
        with engines.runner(out / engines.engine_file) as runner:
            return excess(infer_with(runner, interface.of(built.onnx)))


def search(
    model: Path,
    samples: Path,
    indices: Sequence[int],
    backend: str,
    target: str,
    divergence: Divergence,
    *,
    alter: str = "",
    settings: Mapping[str, bool] | None = None,
    timeout: float,
    seconds: float,
    listen: Callable[[str], None] = lambda text: None,
) -> Workaround:
    """The first change that agrees, the smallest ones first, for an engine built from the graph at `model`, changed by `alter`,
    with `settings`. `timeout`: seconds for one engine; `seconds`: for all.
    """
    settings = settings or {}
    whole = infer(ir.load(model))
    named(whole)
    found, deadline = Workaround(), time.monotonic() + seconds
    limits = (divergence.tolerance_scale, divergence.tolerance_relative)
    with Isolated(without_torch=True) as isolated:

        def tried(change: Change) -> bool:
            alterations = str(change.keys(alter).get("alter", alter))
            arguments = (alterations, {**settings, **change.settings}, str(samples), list(indices))
            try:
                left = isolated.call(TRY, str(model), *arguments, backend, target, *limits, timeout=timeout)
            except FAILED as error:
                found.trials.append(Trial(change=str(change), reason=first_line(error)))
                return False
            found.trials.append(Trial(change=str(change), excess=left))
            return bool(left <= 1)

        listen("building the engine as it was")
        if tried(Change()):
            found.note = (
                "the engine agrees when it is built again: it comes and goes, see `bisect --fails 'inconsistent on'`"
            )
            return found
        inner = _inner(whole, divergence.barriers)
        cuts = narrowed(inner, lambda parts: tried(Change(alter=tuple(parts))))
        if len(cuts) == 1:
            found.change = Change(alter=tuple(cuts))
            return found
        for change in candidates(whole, divergence, backend, settings):
            if len(found.trials) > MOST or time.monotonic() > deadline:
                found.note = f"the search ended after {len(found.trials)} engines; give more --time"
                break
            listen(f"trying {change}")
            if tried(change):
                found.change = change
                break
    if found.change is None and cuts:
        found.change = Change(alter=tuple(cuts))
    return found


def _inner(model: ir.Model, names: Iterable[str]) -> list[str]:
    """Barriers at those of the tensors that are no outputs of the graph."""
    outputs = {out.name for out in model.graph.outputs}
    return [str(Alteration("barrier", name)) for name in names if name not in outputs]


def candidates(model: ir.Model, divergence: Divergence, backend: str, settings: Mapping[str, bool]) -> Iterator[Change]:
    """Changes to try, the smallest ones first: one tensor, one node, several tensors, the whole engine."""
    engines = get_backend(backend)
    suspects = _suspects(model, divergence)
    barriers = [str(Alteration("barrier", name)) for name in dict.fromkeys(chain.from_iterable(map(_around, suspects)))]
    yield from (Change(alter=(barrier,)) for barrier in barriers)
    for node in suspects:
        yield from (Change(alter=(str(form),)) for form in other_forms(node, model, engines.rules()))
    yield from (Change(alter=(str(Alteration("wide", label(node))),)) for node in suspects)
    if len(barriers) > 1:
        yield Change(alter=tuple(barriers))
    for level in engines.levels:
        if any(settings.get(name, not on) != on for name, on in level.items()):
            yield Change(settings={name: bool(on) for name, on in level.items()})


def _suspects(model: ir.Model, divergence: Divergence) -> list[ir.Node]:
    """The nodes at which the two begin to differ; those whose own inputs agree first."""
    wrong = sorted(
        (layer for layer in divergence.layers if layer.differs), key=lambda each: (not each.origin, each.place)
    )
    makers = {out.name: node for node in model.graph for out in node.outputs}
    return list(dict.fromkeys(makers[each.tensor] for each in wrong if each.tensor in makers))[:SUSPECTS]


def _around(node: ir.Node) -> Iterator[str]:
    """Tensors at which what is fused with a node could be cut: before it, nearest first, and behind it."""
    level: Iterable[ir.Node] = (node,)
    for _ in range(DEPTH):
        makers = [maker for each in level for value in each.inputs if value is not None and (maker := value.producer())]
        yield from _shown(value for maker in makers for value in maker.outputs)
        level = makers
    yield from _shown(node.outputs)
    yield from _shown(value for user in node.successors() for value in user.outputs)


def _shown(values: Iterable[ir.Value]) -> Iterator[str]:
    return (
        value.name
        for value in values
        if value.name and not value.is_graph_output() and value.const_value is None and value.uses()
    )
