"""Repair an ONNX file for a backend: predicted problems first, then what the backend itself refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from enginesmith.compat.findings import Finding
from enginesmith.compat.graphs import named
from enginesmith.compat.mending import with_repairs
from enginesmith.compat.repairs import Engine
from enginesmith.compat.repairs.local import fixed
from enginesmith.compat.saving import save
from enginesmith.compat.target import Target
from enginesmith.converters.core.records import RepairReport
from enginesmith.converters.graphs.proof import Feed, prove
from enginesmith.converters.graphs.prover import Prover
from enginesmith.converters.graphs.value_types import complete

MAX_TRIALS = 12
"""How often the backend itself is asked, between rounds of repairs."""
FINAL_SECONDS = 20.0
"""For the proof of the end result."""
Refused = Callable[[Path], list[Finding]]
"""Asks the backend: findings for the nodes that it refuses, none when it takes the graph."""


def repair_file(
    source: Path,
    out: Path,
    target: Target,
    refused: Refused | None = None,
    given: Sequence[Feed] = (),
    progress: Callable[[str], None] = lambda text: None,
) -> RepairReport:
    """Write the repaired graph to `out`; nothing is written when nothing had to be repaired.

    The rules say what is refused, and `refused` has the last word. `given` are inputs on which every repair of the
    whole graph, and the end result, is proved beside generated ones.
    """
    original = onnx.load(str(source))
    engine = Engine(complete(ir.from_proto(original), given), target, Prover(given))
    left = refused(source) if refused is not None else engine.left()
    if not _errors(left):
        return RepairReport(left=left)
    for trial in range(MAX_TRIALS):
        progress(f"repairing, round {trial + 1}")
        if not engine.run(_errors(left)):
            break
        save(engine.model, out)
        left = refused(out) if refused is not None else engine.left()
        if not _errors(left):
            break
    report = RepairReport(attempts=engine.attempts, left=left)
    if report.made:
        before, after = (fixed(model, engine.assumed) for model in (original, onnx.load(str(out))))
        report.proof = prove(before, after, max(_tolerances(report), default=0.0), given, FINAL_SECONDS)
    return report


def work_around(source: Path, out: Path, target: Target, given: Sequence[Feed] = ()) -> RepairReport:
    """Write the graph to `out` as the target computes it rightly, where it is known to compute it wrongly; nothing is written where
    nothing is known, or nothing could be done about it. Proved as `repair_file` does; `left` is what is still known of it.
    """
    from enginesmith.compat.workarounds import rewrites

    known = {repair.id: repair for repair in rewrites(target)}
    original = onnx.load(str(source))
    engine = Engine(complete(ir.from_proto(original), given), target, Prover(given))
    named(engine.model)
    if not {finding.rule for finding in engine.left()} & known.keys():
        return RepairReport()
    engine.make(known.values())
    report = RepairReport(attempts=engine.attempts, left=[finding for finding in engine.left() if finding.silent])
    if report.made:
        save(engine.model, out)
        tolerance = max(known[made.repair].tolerance for made in report.made)
        report.proof = prove(original, onnx.load(str(out)), tolerance, given, FINAL_SECONDS)
    return report


def name_repairs(path: Path, target: Target, findings: list[Finding]) -> list[Finding]:
    """What a backend found about an ONNX file, each with the repair that would mend it."""
    if not findings:
        return findings
    model = complete(ir.load(path))
    named(model)
    return with_repairs(model, target, findings)


def _errors(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


def _tolerances(report: RepairReport) -> list[float]:
    from enginesmith.compat.repairs import GRAPH_REPAIRS, REPAIRS

    return [(REPAIRS.get(made.repair) or GRAPH_REPAIRS[made.repair]).tolerance for made in report.made]
