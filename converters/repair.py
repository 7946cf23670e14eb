"""Repair an ONNX file for a backend: predicted problems first, then what the backend itself refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from pydantic import BaseModel

from enginesmith.compat.findings import Finding
from enginesmith.compat.repairs import Attempted, Engine, Proof
from enginesmith.compat.target import Target
from enginesmith.converters.prove import prove

MAX_TRIALS = 12
"""How often the backend itself is asked, between rounds of repairs."""
Feed = Mapping[str, NDArray[Any]]
Refused = Callable[[Path], list[Finding]]
"""Asks the backend: findings for the nodes that it refuses, none when it takes the graph."""


class RepairReport(BaseModel):
    """What was done to a graph: `attempts` in order, the whole graph's `proof`, and the findings that are `left`."""

    attempts: list[Attempted] = []
    proof: Proof | None = None
    left: list[Finding] = []

    @property
    def made(self) -> list[Attempted]:
        return [attempt for attempt in self.attempts if attempt.made]


def repair_file(
    source: Path, out: Path, target: Target, refused: Refused | None = None, given: Sequence[Feed] = ()
) -> RepairReport:
    """Write the repaired graph to `out`, with `refused` as the last word on what is refused.

    `given` are inputs on which every repair of the whole graph, and the end result, is proved beside generated ones.
    """
    original = onnx.load(str(source))

    def proved(before: onnx.ModelProto, after: onnx.ModelProto, tolerance: float) -> Proof:
        return prove(before, after, tolerance, given if _same_inputs(before, original) else ())

    engine = Engine(ir.from_proto(original), target, proved)
    engine.run()
    left = engine.left()
    _save(engine.model, out)
    if refused is not None:
        for _ in range(MAX_TRIALS):
            left = refused(out)
            if not left or not engine.run(left):
                break
            _save(engine.model, out)
    report = RepairReport(attempts=engine.attempts, left=left)
    if report.made:
        loosest = max(_tolerances(report), default=0.0)
        report.proof = proved(original, onnx.load(str(out)), loosest)
    return report


def _tolerances(report: RepairReport) -> list[float]:
    from enginesmith.compat.repairs import GRAPH_REPAIRS, REPAIRS

    every = {**REPAIRS, **GRAPH_REPAIRS}
    return [every[attempt.repair].tolerance for attempt in report.made]


def _same_inputs(one: onnx.ModelProto, other: onnx.ModelProto) -> bool:
    return {value.name for value in one.graph.input} == {value.name for value in other.graph.input}


def _save(model: ir.Model, path: Path) -> None:
    ir.save(model, path)
