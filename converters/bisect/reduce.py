"""The reducer: from a model that fails to the smallest part of it that fails alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from enginesmith.compat.graphs import weight_bytes
from enginesmith.converters.bisect.judge import OutOfTime
from enginesmith.converters.bisect.minimise import minimise, narrow
from enginesmith.converters.bisect.shrink import FIRST, WAYS, Way, weights, weights_to_inputs
from enginesmith.converters.bisect.surgery import MAIN, Place, bodies, graph_at, keep, lift

LIGHT_BYTES = 1 << 20
"""Weights up to this size don't slow a test down."""
ROUNDS = 3
"""A smaller size can make a node superfluous, and so on: but the gain of more rounds is small."""


class Judging(Protocol):
    """What the reducer asks: `judge.Judge`, or a function of a test."""

    def fails(self, model: ir.Model, *, must_run: bool = False) -> bool: ...

    def runs(self, model: ir.Model) -> bool: ...

    def annotate(self, model: ir.Model) -> None: ...


@dataclass
class Reducer:
    """Reduces one model. `best` is the smallest failing one so far, whatever ends the search."""

    best: ir.Model
    judge: Judging
    step: Callable[[str, int], None] = lambda name, nodes: None
    """Told what is being tried, and how many nodes the best model has."""

    def run(self) -> bool:
        """Reduce until nothing gets smaller. False where the time or Ctrl-C ended it before."""
        try:
            self._inline_functions()
            self._lighten()
            for way in FIRST:
                self._shrink(way)
            for _ in range(ROUNDS):
                before = self.best
                self._nodes()
                self._descend()
                for way in WAYS:
                    self._shrink(way)
                if self.best is before:
                    break
                self.judge.annotate(self.best)
        except (OutOfTime, KeyboardInterrupt):
            return False
        return True

    def _take(self, candidate: ir.Model | None, must_run: bool = False) -> bool:
        """Whether the candidate fails; it is the best one then."""
        if candidate is None or not self.judge.fails(candidate, must_run=must_run):
            return False
        self.best = candidate
        return True

    def _inline_functions(self) -> None:
        """A call of a model's own function can't be cut in two."""
        if not self.best.functions:
            return
        self.step("functions", count(self.best))
        inlined = self.best.clone()
        InlinePass()(inlined)
        if self._take(inlined):
            self.judge.annotate(self.best)

    def _lighten(self) -> None:
        """Without its weights a large model is quick to write and to read, for all tests that follow."""
        if weight_bytes(self.best) > LIGHT_BYTES:
            self.step("weights to inputs", count(self.best))
            self._take(weights_to_inputs(self.best, [str(name) for name in weights(self.best)]))

    def _nodes(self) -> None:
        """Take out nodes: first with small integers cut off as constants, since sizes and axes that are inputs are
        another failure in most backends; then as inputs, for a failure that comes from just that."""
        for constants in (True, False):
            if len(self.best.graph) > 1:
                self._nodes_at(MAIN, constants)
        for place in reversed(bodies(self.best)):
            if place in bodies(self.best):  # what is outside may have gone
                self._nodes_at(place, True)

    def _nodes_at(self, place: Place, constants: bool) -> None:
        """Leave out nodes of one graph. Items that are kept are counted in the graph as it is now."""
        base = self.best
        total = len(graph_at(base, place))
        name = "nodes" if place == MAIN else f"nodes in {_label(base, place)}"

        def fails(kept: Sequence[int]) -> bool:
            self.step(name, count(self.best))
            if len(kept) == total:
                return True
            return self._take(keep(base, place, set(kept), constants=constants))

        indices: Sequence[int] = range(total)
        if place == MAIN:
            indices = narrow(indices, fails)
        minimise(indices, fails)

    def _descend(self) -> None:
        """A subgraph that fails by itself takes the place of the whole, again and again."""
        found = True
        while found:
            found = False
            for place in bodies(self.best):
                self.step(f"the body of {_label(self.best, place)}", count(self.best))
                label = _label(self.best, place)
                lifted = lift(self.best, place)
                if lifted is not None and self._take(lifted):
                    self.best.graph.name = f"{label} {place[-1][1]}"
                    self.judge.annotate(self.best)
                    self._nodes()
                    found = True
                    break

    def _shrink(self, way: Way) -> None:
        """Drop all of a way's items but those that have to stay."""
        base = self.best
        items = list(way.items(base))
        if not items:
            return
        must_run = way.must_run and self.judge.runs(base)
        drop: Callable[[Collection[Any]], ir.Model | None] = partial(way.drop, base)

        def fails(kept: Sequence[Any]) -> bool:
            self.step(way.name, count(self.best))
            gone = [item for item in items if item not in set(kept)]
            return not gone or self._take(drop(gone), must_run)

        minimise(items, fails)


def count(model: ir.Model) -> int:
    """Nodes of a model, those in subgraphs and functions included."""
    return sum(1 for _ in model.graph.all_nodes()) + sum(
        sum(1 for _ in function.all_nodes()) for function in model.functions.values()
    )


def _label(model: ir.Model, place: Place) -> str:
    node = graph_at(model, place[:-1])[place[-1][0]]
    return node.name or str(node.outputs[0].name)
