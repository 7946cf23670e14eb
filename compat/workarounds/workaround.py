"""A workaround: a rewrite of one node and what lies around it, after which a known miscompilation has no place there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.interface import record_barrier
from enginesmith.compat.target import Target

EXACT = 0.0
ROUNDED = 1e-5
"""Tolerances: another order of sums rounds differently."""


class Around(Builder):
    """Collects what replaces `node`, and outputs that only keep the backend from a fusion."""

    def __init__(self, node: ir.Node, target: Target, model: ir.Model) -> None:
        super().__init__(node, target)
        self.model = model

    def keep(self, value: ir.Value) -> None:
        """Make the value an output. Raises NotApplicable within a subgraph, whose values can't be."""
        if self.node.graph is not self.model.graph:
            raise NotApplicable("it stands in a branch or a loop, whose values can't be outputs")
        if not value.is_graph_output():
            record_barrier(self.model, value, f"which keeps {self.target.backend} from a fusion")


Rewrite = Callable[[ir.Node, Around], Replacement | None]
"""What takes the place of the builder's node; None where nothing does, since another thing was changed."""


@dataclass(frozen=True)
class Workaround:
    tolerance: float
    rewrite: Rewrite


WORKAROUNDS: dict[str, Workaround] = {}
"""Every workaround by its function's name."""


def workaround(tolerance: float) -> Callable[[Rewrite], Rewrite]:
    """Register a function as a workaround, by its name. It raises NotApplicable, with the reason, where it doesn't fit."""

    def register(rewrite: Rewrite) -> Rewrite:
        WORKAROUNDS[rewrite.__name__] = Workaround(tolerance, rewrite)
        return rewrite

    return register
