"""What the samples show of the graph's operators, and what they don't."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from enginesmith.converters.core.comparisons import Coverage, Unexercised
from enginesmith.converters.core.facts import ModelFacts
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.report import text
from enginesmith.pipeline.report.summary import Tone


@dataclass(frozen=True)
class View:
    stage: str
    href: str
    tone: Tone
    verdict: str
    told: str
    rows: list[Unexercised]
    refused: list[str]


def views(manifest: Manifest, hrefs: Mapping[str, str]) -> list[View]:
    """Of each stage that brought a model in and looked."""
    return [
        _view(facts.coverage, stage.id, hrefs[stage.id]) for stage, facts in manifest.told(ModelFacts) if facts.coverage
    ]


def _view(found: Coverage, stage: str, href: str) -> View:
    told = (
        f"{text.counted(found.samples, 'sample')} show {text.count(found.met)} of {text.count(found.conditions)} things "
        "that the graph's operators can do with some input"
    )
    if found.searched:
        told += f"; a search found {text.count(found.searched)} of the samples"
    return View(
        stage=stage,
        href=href,
        tone="warn" if found.unexercised else "good",
        verdict=found.told or "all exercised",
        told=told,
        rows=found.unexercised,
        refused=found.refused,
    )
