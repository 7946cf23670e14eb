"""Which two sides each comparison holds against each other, named so that no two sides read the same."""

from __future__ import annotations

from dataclasses import dataclass

from enginesmith.converters.core.comparisons import Comparison
from enginesmith.pipeline.job.manifest import Manifest, StageRecord


@dataclass(frozen=True)
class Sides:
    """A comparison, with the stages behind it."""

    stage: StageRecord
    """It holds the comparison."""
    comparison: Comparison
    candidate: str
    """Id of the stage whose outputs were judged."""
    before: str
    """Id of the stage that holds what was expected."""
    expected: str
    found: str
    """Names for people: `PyTorch`, `ONNX Runtime (simplify)`, `tvm x86-64-v4`."""


def compared(manifest: Manifest) -> list[Sides]:
    """All comparisons in plan order, those that this machine couldn't run among them."""
    stages = {stage.id: stage for stage in manifest.stages}
    names: dict[str, str] = {}
    made = []
    for stage in manifest.stages:
        candidate = stages.get(stage.needs.get("candidate", ""), stage)
        before = stage.needs.get("expected", "")
        comparison = stage.comparison
        if comparison is None:
            if stage.stage != "compare" or stage.status != "not run":
                continue
            comparison = Comparison(
                expected=names.get(before, before), found=stage.backend, verdict="not run", reason=stage.error
            )
        names[stage.id] = _name(comparison.found, candidate)
        expected = names.get(before, comparison.expected)
        made.append(Sides(stage, comparison, candidate.id, before, expected, names[stage.id]))
    return made


def judgements(manifest: Manifest) -> dict[str, Sides]:
    """By stage: the comparison of what it made, and for a compare stage its own."""
    sides = compared(manifest)
    return {side.candidate: side for side in sides} | {side.stage.id: side for side in sides}


def _name(found: str, candidate: StageRecord) -> str:
    """An engine by its backend and target; a graph by the stage that wrote it, since one tool runs several graphs."""
    if candidate.stage == "compile":
        return f"{candidate.backend} {candidate.target}".strip()
    return found if candidate.stage == "compare" else f"{found} ({candidate.id})"
