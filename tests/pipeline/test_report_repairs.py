"""The report's section on compatibility: what was refused, what mended it, and how that was proved."""

from __future__ import annotations

import report_manifests as manifests
from report_manifests import recorded

from enginesmith.compat.findings import Attempted, Finding, Proof
from enginesmith.pipeline.job.manifest import StageRecord
from enginesmith.pipeline.report import render, repairs


def compilation(status: str, attempts: list[Attempted]) -> StageRecord:
    refused = Finding(
        severity="error",
        op="Resize",
        node="up",
        backend="tvm",
        versions="0.27",
        message="antialias is 1",
        remedy="none",
    )
    return recorded(
        id="compile tvm x", stage="compile", backend="tvm", status=status, findings=[refused], repairs=attempts
    )


MADE = Attempted(repair="resize-by-matrix", node="up", op="Resize", proof=Proof(agrees=True, error=2e-7, samples=8))
TAKEN_BACK = Attempted(
    repair="resize-plain", node="up", op="Resize", proof=Proof(agrees=False, error=0.5, samples=1), reason="it differs"
)
IDLE = Attempted(repair="fold", node="", op="", reason="nothing is constant")


def test_each_repair_has_its_outcome_proof_and_reason() -> None:
    manifest = manifests.minimal()
    manifest.stages.append(compilation("built", [IDLE, TAKEN_BACK, MADE, MADE]))
    (view,) = repairs.views(manifest, {"compile tvm x": "here"})
    assert (view.verdict, view.refused, view.tone) == ("accepted after repair", "1 Resize", "good")
    assert [(made.repair, made.outcome) for made in view.repairs] == [
        ("resize-by-matrix", "made"),
        ("resize-plain", "taken back"),
        ("fold", "does not apply"),
    ]
    assert (view.repairs[0].nodes, view.repairs[0].samples, view.repairs[0].error) == ("up", "16", "2.0e-7")
    assert view.repairs[1].reason == "it differs"
    page = render(manifest)
    assert "resize-by-matrix" in page
    assert "it differs" in page


def test_a_graph_that_stays_refused_says_so() -> None:
    manifest = manifests.minimal()
    manifest.stages.append(compilation("failed", [IDLE]))
    (view,) = repairs.views(manifest, {"compile tvm x": "here"})
    assert (view.verdict, view.tone) == ("refused", "bad")


def test_without_findings_there_is_no_section() -> None:
    assert repairs.views(manifests.minimal(), {}) == []
    assert 'id="compatibility"' not in render(manifests.minimal())
