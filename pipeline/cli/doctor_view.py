"""What `enginesmith doctor` shows on the terminal: findings by target, equal ones together, and what was repaired."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from enginesmith.compat.findings import BUG, Attempted, Finding
from enginesmith.converters.backends.examination import Examination, Examined, TargetReport
from enginesmith.converters.core.records import RepairReport
from enginesmith.pipeline.api.console import escape

COLOURS = {"error": "red", "warning": "yellow", "info": "dim"}
NAMES_SHOWN = 4
"""Of nodes with the same finding."""


def show_examination(console: Console, examination: Examination) -> None:
    """The whole page."""
    console.print(
        f"[bold]{escape(examination.path)}[/]: {examination.nodes} nodes, opset {examination.opset}", highlight=False
    )
    for problem in examination.problems:
        _problem(console, problem)
    for report in examination.targets:
        console.print()
        where = f" on {report.gpu}" if report.gpu else ""
        console.print(
            f"[bold]{escape(report.backend)} {escape(report.version)}{escape(where)}[/]: {_headline(report)}",
            highlight=False,
        )
        if report.note:
            console.print(f"  [yellow]note[/] {escape(report.note)}", highlight=False)
        for group in _groups(report.findings):
            _group(console, group)


def show_repairs(console: Console, targets: Sequence[str], reports: Sequence[RepairReport], written: str) -> None:
    """What was repaired for each target, with its proof, and what is left. `written` is empty if nothing was."""
    for target, report in zip(targets, reports, strict=True):
        console.print()
        console.print(f"[bold]repairs for {escape(target)}[/]: {len(report.made) or 'none'}", highlight=False)
        for attempts in _alike(report.made):
            names = list(dict.fromkeys(escape(attempt.node or "the graph") for attempt in attempts))
            nodes = ", ".join(names[:NAMES_SHOWN])
            more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
            proofs = [attempt.proof for attempt in attempts if attempt.proof]
            shown = f"largest difference {max(p.error for p in proofs):.1e} on {sum(p.samples for p in proofs)} inputs"
            console.print(f"  [green]✓[/] {attempts[0].repair}: {nodes}{more} [dim]({shown})[/]", highlight=False)
        for attempt in (a for a in report.attempts if a.proof is not None and not a.made):
            console.print(
                f"  [yellow]taken back[/] {attempt.repair}: {escape(attempt.node)}: {escape(attempt.reason)}",
                highlight=False,
            )
        left = {finding.node for finding in report.left}
        for attempt in (a for a in report.attempts if a.proof is None):
            # A reason that the user is left with: that of a whole graph's repair names the node that stands in its way.
            if attempt.node in left or (left and not attempt.node) or attempt.reason.startswith(BUG):
                console.print(
                    f"  [dim]not made[/] {attempt.repair}: {escape(attempt.node or 'the graph')}: {escape(attempt.reason)}",
                    highlight=False,
                )
        if report.proof is not None:
            verdict = "agrees with" if report.proof.agrees else "[red]differs from[/]"
            if not report.proof.ran:
                verdict = "[yellow]could not be held against[/]"
            detail = report.proof.reason or f"largest difference {report.proof.error:.1e}"
            console.print(f"  the whole graph {verdict} the one given: {escape(detail)}", highlight=False)
        for group in _groups([Examined(finding=finding) for finding in report.left]):
            _group(console, group, "left: ")
    if written:
        console.print(f"\nrepaired graph: {escape(written)}", highlight=False, soft_wrap=True)
    else:
        made = any(report.made for report in reports)
        why = "the repairs together failed their proof" if made else "nothing was repaired"
        console.print(f"\n{why}, and no file was written", highlight=False)


def _headline(report: TargetReport) -> str:
    counts = [
        f"{sum(found.verdict == verdict for found in report.findings)} {verdict}"
        for verdict in ("predicted", "confirmed", "missed", "not confirmed")
        if any(found.verdict == verdict for found in report.findings)
    ]
    said = ", ".join(counts) or "no findings"
    if report.trial.startswith("not run"):
        return f"{said} [dim](by rules alone; {escape(report.trial)})[/]"
    if report.failed:
        return f"[red]no answer[/]: its trial {escape(report.trial)}; {said} [dim](by rules alone)[/]"
    colour = "green" if report.trial == "accepted" else "red"
    return f"[{colour}]{report.trial}[/] by its own parser and a trial build; {said}"


def _groups(found: Sequence[Examined]) -> list[list[Examined]]:
    """Those that say the same of several nodes, the gravest first."""
    groups: dict[tuple[object, ...], list[Examined]] = {}
    for item in found:
        finding = item.finding
        key = (finding.severity, finding.op, finding.message, finding.remedy, item.verdict, finding.repair_id)
        groups.setdefault(key, []).append(item)
    order = list(COLOURS)
    return sorted(groups.values(), key=lambda group: order.index(group[0].finding.severity))


def _group(console: Console, group: list[Examined], prefix: str = "") -> None:
    first = group[0]
    finding = first.finding
    names = [escape(item.finding.node) for item in group if item.finding.node]
    nodes = ", ".join(names[:NAMES_SHOWN]) + (
        f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    )
    colour = COLOURS[finding.severity]
    console.print(
        f"  [{colour}]{finding.severity}[/] {prefix}[bold]{escape(finding.op)}[/] {nodes}"
        f" [dim]({first.verdict}{', rule ' + finding.rule if finding.rule else ''})[/]",
        highlight=False,
    )
    console.print(f"    {escape(finding.message)}", highlight=False)
    if first.said:
        console.print(f"    [dim]{finding.backend} says: {escape(first.said)}[/]", highlight=False)
    if finding.remedy:
        console.print(f"    [green]remedy:[/] {escape(finding.remedy)}", highlight=False)
    if finding.repair_id:
        console.print(f"    [green]--fix repairs it:[/] {finding.repair_id}", highlight=False)
    if first.accepted_by:
        console.print(f"    accepted by {finding.backend} {first.accepted_by}", highlight=False)


def _problem(console: Console, finding: Finding) -> None:
    colour = COLOURS[finding.severity]
    where = f" {escape(finding.node)}" if finding.node else ""
    console.print(f"  [{colour}]{finding.severity}[/]{where}: {escape(finding.message)}", highlight=False)
    if finding.remedy:
        console.print(f"    [green]remedy:[/] {escape(finding.remedy)}", highlight=False)


def _alike(made: Sequence[Attempted]) -> list[list[Attempted]]:
    groups: dict[str, list[Attempted]] = {}
    for attempt in made:
        groups.setdefault(attempt.repair, []).append(attempt)
    return list(groups.values())
