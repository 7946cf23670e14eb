"""A repair: a rewrite of one node, or of a whole graph, that keeps what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import onnx_ir as ir

from enginesmith.compat import plugins
from enginesmith.compat.building import Builder, Replacement
from enginesmith.compat.repairs import order
from enginesmith.compat.target import EVERY, Target

Rewrite = Callable[[ir.Node, Builder], Replacement]
GraphRewrite = Callable[[ir.Model, Target], int]

REPAIRS: dict[str, Repair] = plugins.registry()
"""Every node repair by its id."""
GRAPH_REPAIRS: dict[str, GraphRepair] = plugins.registry()
"""Every graph repair by its id."""


@dataclass(frozen=True)
class Repair:
    """A rewrite of one node. `tolerance` is relative to the largest magnitude of each output; 0 means bit for bit.

    `example` is a minimal model, in ONNX's textual form, to which the repair applies.
    """

    id: str
    ops: tuple[str, ...]
    backends: tuple[str, ...]
    tolerance: float
    example: str
    rewrite: Rewrite

    @property
    def summary(self) -> str:
        return " ".join((self.rewrite.__doc__ or "").split())


@dataclass(frozen=True)
class GraphRepair:
    """A rewrite of a whole model, subgraphs included. Returns how many changes it made; 0 leaves the model as it was.

    Runs in every round of repairs, unasked: it is for what makes any graph easier to take and loses nothing.
    """

    id: str
    backends: tuple[str, ...]
    tolerance: float
    example: str
    rewrite: GraphRewrite

    @property
    def summary(self) -> str:
        return " ".join((self.rewrite.__doc__ or "").split())


def repair(
    id: str,
    *,
    ops: str | Iterable[str],
    example: str,
    backends: Sequence[str] = EVERY,
    tolerance: float = 0.0,
) -> Callable[[Rewrite], Rewrite]:
    """Register a function as the rewrite of one node. It raises NotApplicable, with the reason, where it doesn't fit."""

    def register(rewrite: Rewrite) -> Rewrite:
        if id in REPAIRS:
            raise ValueError(f"two repairs {id}")
        operators = (ops,) if isinstance(ops, str) else tuple(ops)
        REPAIRS[id] = Repair(id, operators, tuple(backends), tolerance, example.strip(), rewrite)
        return rewrite

    return register


def graph_repair(
    id: str, *, example: str, backends: Sequence[str] = EVERY, tolerance: float = 0.0
) -> Callable[[GraphRewrite], GraphRewrite]:
    """Register a function as the rewrite of a whole model."""

    def register(rewrite: GraphRewrite) -> GraphRewrite:
        if id in GRAPH_REPAIRS:
            raise ValueError(f"two repairs {id}")
        GRAPH_REPAIRS[id] = GraphRepair(id, tuple(backends), tolerance, example.strip(), rewrite)
        return rewrite

    return register


def candidates(op: str, backend: str) -> list[Repair]:
    """The repairs of an operator for a backend, in the order in which they are tried; those of every one (`*`) last."""
    plugins.load()
    fitting = _sorted((found for found in REPAIRS.values() if backend in found.backends), order.NODES)
    return [found for found in fitting if op in found.ops] + [found for found in fitting if "*" in found.ops]


def graph_repairs(backend: str) -> list[GraphRepair]:
    """The repairs of whole graphs for a backend, in the order in which they run."""
    plugins.load()
    return _sorted((found for found in GRAPH_REPAIRS.values() if backend in found.backends), order.GRAPHS)


_Either = TypeVar("_Either", Repair, GraphRepair)


def _sorted(found: Iterable[_Either], ids: Sequence[str]) -> list[_Either]:
    places = {id: place for place, id in enumerate(ids)}
    return sorted(found, key=lambda repair: places.get(repair.id, len(places)))
