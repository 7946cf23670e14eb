"""What another version of a backend does to a model, offline: what it breaks, mends, and what nobody knows any more.

The rules and the table of miscompilations are asked about both versions, neither of which need be here. A node is refused
where a rule finds an error in it. Of a miscompilation that was reported for the version before and not for the one after
nothing is known there, unless a report says that it is fixed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, computed_field

from enginesmith.compat.findings import Finding
from enginesmith.compat.miscompiles import table
from enginesmith.converters.backends.examination import TargetReport
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.pipeline.job import doctor

Effect = Literal["breaks", "mends", "unknown", "stays", "warns"]
"""On one node. `breaks`: refused, or computed wrongly, and it was not; `mends`: the other way; `stays`: refused by both;
`warns`: a warning that the version before has not."""
FORM = "give two versions: --for tensorrt=10.3,tensorrt=11.1, the one that you have first"


class Effected(BaseModel, frozen=True):
    """What the version after says of a node, or the one before where it alone says something. `node` is empty for the model
    as a whole."""

    effect: Effect
    op: str
    node: str
    message: str
    remedy: str = ""
    rule: str = ""
    repair_id: str | None = None


class Counted(BaseModel, frozen=True):
    """Of an operator, how many nodes each effect has."""

    op: str
    breaks: int = 0
    mends: int = 0
    unknown: int = 0
    stays: int = 0
    warns: int = 0


class Upgrade(BaseModel):
    """The answer for one model. `before` and `after` are backends with their versions."""

    model: str
    before: str
    after: str
    nodes: int
    effects: list[Effected] = []
    """The gravest first."""
    operators: list[Counted] = []
    notes: list[str] = []
    """Of versions that nothing is on record about."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def breaks(self) -> bool:
        return any(each.effect == "breaks" for each in self.effects)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def unknown(self) -> bool:
        """Is there a node of which nothing is known any more, or a version that nothing is on record about?"""
        return bool(self.notes) or any(each.effect == "unknown" for each in self.effects)


def upgrade(
    path: Path, versions: str, shape: str | None = None, timeout: float | None = None, memory: float | None = None
) -> Upgrade:
    """Ask about both versions. Raises UserError for other than two of them, and for a file that can't be read; ConversionError
    for one that is no model.
    """
    wanted = doctor.wanted(versions) if versions.strip(" ,") else []
    if len(wanted) != 2:
        raise UserError(f"--for names {len(wanted)} of two; {FORM}")
    found = doctor.examine(path, wanted, shape, trial=False, timeout=timeout, memory=memory)
    if not found.targets:
        problem = next((each for each in found.problems if each.severity == "error"), None)
        raise ConversionError(
            problem.message if problem else f"{path} can't be read", problem.remedy if problem else ""
        )
    before, after = found.targets
    effects = sorted(_effects(before, after), key=lambda each: ORDER.index(each.effect))
    return Upgrade(
        model=str(path),
        before=f"{before.backend} {before.version}",
        after=f"{after.backend} {after.version}",
        nodes=found.nodes,
        effects=effects,
        operators=_counted(effects),
        notes=[note for note in dict.fromkeys((before.note, after.note)) if note],
    )


ORDER: tuple[Effect, ...] = ("breaks", "unknown", "warns", "stays", "mends")


def _effects(before: TargetReport, after: TargetReport) -> Iterator[Effected]:
    """By node: all that the two say about it together."""
    told = [_by_node(report) for report in (before, after)]
    fixed = {entry.id for entry in table() if entry.status == "fixed"}
    for place in dict.fromkeys((*told[0], *told[1])):
        old, new = (side.get(place, []) for side in told)
        refused = [_errors(side) for side in (old, new)]
        if refused[1]:
            yield _effected("stays" if refused[0] else "breaks", refused[1][0])
        elif refused[0]:
            yield _effected("mends", refused[0][0])
        yield from _quiet(old, new, fixed)


def _quiet(old: Sequence[Finding], new: Sequence[Finding], fixed: set[str]) -> Iterator[Effected]:
    """What is built, and told in a warning: computed wrongly, or with a loss."""
    for finding in new:
        if finding.severity == "warning" and not _has(old, finding):
            yield _effected("breaks" if finding.silent else "warns", finding)
    for finding in old:
        if finding.silent and not _has(new, finding):
            effect: Effect = "mends" if finding.rule in fixed else "unknown"
            told = _effected(effect, finding)
            more = "" if effect == "mends" else "; of the version after there is no report, nor one that it is fixed"
            yield told.model_copy(update={"message": f"{told.message}{more}"})


def _has(findings: Sequence[Finding], other: Finding) -> bool:
    return any((each.rule or each.message) == (other.rule or other.message) for each in findings)


def _errors(findings: Sequence[Finding]) -> list[Finding]:
    return [each for each in findings if each.severity == "error"]


def _by_node(report: TargetReport) -> dict[tuple[str, str], list[Finding]]:
    """The findings about each node; those about the model as a whole each by itself."""
    places: dict[tuple[str, str], list[Finding]] = {}
    for found in report.findings:
        finding = found.finding
        place = (finding.op, finding.node) if finding.node else ("", finding.rule or finding.message)
        places.setdefault(place, []).append(finding)
    return places


def _effected(effect: Effect, finding: Finding) -> Effected:
    return Effected(
        effect=effect,
        op=finding.op,
        node=finding.node,
        message=finding.message,
        remedy=finding.remedy,
        rule=finding.rule,
        repair_id=finding.repair_id,
    )


def _counted(effects: Sequence[Effected]) -> list[Counted]:
    counts: dict[str, dict[str, int]] = {}
    for each in effects:
        own = counts.setdefault(each.op or "the model", {})
        own[each.effect] = own.get(each.effect, 0) + 1
    return [Counted(op=op, **own) for op, own in counts.items()]
