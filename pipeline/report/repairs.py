"""Compatibility: what each backend refused, which repairs mended it, and how each was proved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from enginesmith.compat.findings import Attempted
from enginesmith.pipeline.job.manifest import Manifest, StageRecord
from enginesmith.pipeline.report import text
from enginesmith.pipeline.report.summary import Tone

NAMES_SHOWN = 3
"""Of nodes that one repair mended."""


@dataclass(frozen=True)
class Made:
    """One repair, on all the nodes where it had the same outcome."""

    repair: str
    nodes: str
    tone: Tone
    outcome: str
    """`made`, `taken back` or `does not apply`."""
    error: str
    """The largest difference that the proofs saw, relative to the output's largest magnitude."""
    samples: str
    reason: str


@dataclass(frozen=True)
class View:
    """What one backend has against the graph. `refused` counts the nodes by operator."""

    stage: str
    href: str
    refused: str
    verdict: str
    tone: Tone
    repairs: list[Made]


def views(manifest: Manifest, hrefs: Mapping[str, str]) -> list[View]:
    """A view for every stage that asked a backend, and found or repaired anything."""
    asked = [stage for stage in manifest.stages if stage.backend and (stage.facts.findings or stage.facts.repairs)]
    return [_view(stage, hrefs[stage.id]) for stage in asked]


def _view(stage: StageRecord, href: str) -> View:
    refused = Counter(finding.op or "the graph" for finding in stage.facts.findings if finding.severity == "error")
    made = any(attempt.made for attempt in stage.facts.repairs)
    verdict = "refused" if stage.status == "failed" else "accepted after repair" if made else "accepted"
    return View(
        stage=stage.id,
        href=href,
        refused=", ".join(f"{count} {op}" for op, count in refused.most_common()),
        verdict=verdict,
        tone="bad" if stage.status == "failed" else "good",
        repairs=_alike(stage.facts.repairs),
    )


def _alike(attempts: list[Attempted]) -> list[Made]:
    groups: dict[tuple[str, str, str], list[Attempted]] = {}
    for attempt in attempts:
        outcome = "made" if attempt.made else "taken back" if attempt.proof else "does not apply"
        groups.setdefault((outcome, attempt.repair, "" if attempt.made else attempt.reason), []).append(attempt)
    order = ("made", "taken back", "does not apply")
    tones: dict[str, Tone] = {"made": "good", "taken back": "warn", "does not apply": "mute"}
    return [
        Made(
            repair=repair,
            nodes=_names(group),
            tone=tones[outcome],
            outcome=outcome,
            error=text.difference(max(found.proof.error for found in group if found.proof)) if group[0].proof else "",
            samples=text.count(sum(found.proof.samples for found in group if found.proof)) if group[0].proof else "",
            reason=reason,
        )
        for (outcome, repair, reason), group in sorted(groups.items(), key=lambda item: order.index(item[0][0]))
    ]


def _names(group: list[Attempted]) -> str:
    names = list(dict.fromkeys(attempt.node or "the graph" for attempt in group))
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
