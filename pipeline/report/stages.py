"""The table of stages, and what lies behind each row: attempts, findings, warnings, tools, the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from enginesmith.compat.findings import Finding, Severity
from enginesmith.converters.core.facts import GraphFacts
from enginesmith.converters.core.records import Lowering
from enginesmith.converters.precision.facts import LoweredFacts
from enginesmith.pipeline.job.manifest import Manifest, StageRecord
from enginesmith.pipeline.report import text
from enginesmith.pipeline.report.compare import VERDICTS, largest
from enginesmith.pipeline.report.sides import Sides, judgements
from enginesmith.pipeline.report.summary import STATUS_TONE, VERDICT_TONE, Tone

NODES_NAMED = 8
"""Of those that stay in float32 for one reason; the manifest has all."""
SEVERITY_TONE: Mapping[Severity, Tone] = {"error": "bad", "warning": "warn", "info": "mute"}
_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Row:
    record: StageRecord
    anchor: str
    tone: Tone
    seconds: str
    seconds_share: str
    """Of the longest stage, in per cent: the width of the bar behind the figure."""
    memory: str
    nodes: str
    largest: str
    """The largest difference to the stage before, and which output has it."""
    largest_of: str
    verdict: str
    verdict_tone: Tone
    verdict_href: str
    note: str
    log_href: str
    findings: list[tuple[Finding, Tone]]
    kept: list[tuple[str, str, str]]
    """Of a precision stage: operator, why it stays in float32, and which nodes."""
    needs: list[tuple[str, str, str]]
    """Role, stage, anchor of the stage."""
    opened: bool
    """A failed stage shows its details at once."""


def rows(manifest: Manifest, hrefs: Mapping[str, str], log_links: bool) -> list[Row]:
    longest = max((stage.seconds for stage in manifest.stages), default=0.0)
    judged = judgements(manifest)
    before: int | None = None
    made = []
    for stage in manifest.stages:
        made.append(_row(stage, judged.get(stage.id), hrefs, longest, before, log_links))
        before = before if (nodes := _count(stage)) is None else nodes
    return made


def _row(
    stage: StageRecord,
    side: Sides | None,
    hrefs: Mapping[str, str],
    longest: float,
    nodes_before: int | None,
    log_links: bool,
) -> Row:
    comparison = side.comparison if side else None
    worst, worst_of = largest(comparison) if comparison else ("", "")
    return Row(
        record=stage,
        anchor=hrefs[stage.id],
        tone=STATUS_TONE[stage.status],
        seconds=text.seconds(stage.seconds) if stage.seconds else "",
        seconds_share=f"{100 * stage.seconds / longest:.1f}" if longest > 0 else "0",
        memory=text.memory(stage.peak_memory_mb),
        nodes=_nodes(_count(stage), nodes_before),
        largest=worst,
        largest_of=worst_of,
        verdict=VERDICTS[comparison.verdict] if comparison else "",
        verdict_tone=VERDICT_TONE[comparison.verdict] if comparison else "mute",
        verdict_href=f"differences-{hrefs[side.stage.id]}" if side else "",
        note=stage.facts.note or stage.error.strip().partition("\n")[0],
        # Quoted whole: a path may not turn into a scheme such as `javascript:`.
        log_href=quote(stage.log) if log_links and stage.log else "",
        findings=[(f, SEVERITY_TONE[f.severity]) for f in sorted(stage.facts.findings, key=_weight)],
        kept=_kept(lowered.lowering) if (lowered := stage.told(LoweredFacts)) else [],
        needs=[(role, need, hrefs.get(need, "")) for role, need in stage.needs.items()],
        opened=stage.status == "failed",
    )


def _kept(lowering: Lowering) -> list[tuple[str, str, str]]:
    """Nodes of one operator and one reason in one row."""
    groups: dict[tuple[str, str], list[str]] = {}
    for kept in lowering.kept:
        groups.setdefault((kept.op, kept.reason), []).append(kept.node)
    return [(op, reason, _some(nodes)) for (op, reason), nodes in groups.items()]


def _some(nodes: list[str]) -> str:
    more = len(nodes) - NODES_NAMED
    return ", ".join(nodes[:NODES_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _count(stage: StageRecord) -> int | None:
    """Nodes of the graph that a stage wrote; None where it wrote none."""
    graph = stage.told(GraphFacts)
    return graph.nodes if graph else None


def _weight(finding: Finding) -> int:
    return _SEVERITIES.index(finding.severity)


def _nodes(nodes: int | None, before: int | None) -> str:
    """With the change from the graph before, in plan order."""
    if nodes is None:
        return ""
    if before is None or nodes == before:
        return text.count(nodes)
    return f"{text.count(nodes)} ({nodes - before:+,})"
