"""A build, or what `doctor` found, as JUnit's XML: the test report that every CI shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from enginesmith.compat.findings import Finding
from enginesmith.converters.backends.examination import Examination, TargetReport
from enginesmith.converters.core.printable import LAYOUT, printable
from enginesmith.converters.core.records import RepairReport
from enginesmith.converters.graphs.comparison import worst_figures
from enginesmith.pipeline.farm.records import RunRecord
from enginesmith.pipeline.job.manifest import BUG, PASSED, Manifest, StageRecord


def write_build(manifest: Manifest, path: Path) -> None:
    """One test case a stage."""
    suite = TestSuite(_clean(f"enginesmith build {manifest.model.spec} in {manifest.precision}"))
    suite.timestamp = manifest.created[: len("2026-03-14T09:26:53")]  # JUnit's have no time zone
    for record in manifest.stages:
        suite.add_testcase(_stage(record, f"{manifest.model.name}.{manifest.precision}"))
    _write([suite], path)


def write_farm(run: RunRecord, path: Path) -> None:
    """One test case a cell, in a suite for each model."""
    suites: dict[str, TestSuite] = {}
    for cell in run.cells:
        suite = suites.setdefault(cell.model, TestSuite(_clean(f"enginesmith farm {run.matrix}: {cell.model}")))
        case = TestCase(_clean(cell.name), classname=_clean(f"{run.matrix}.{cell.model}"), time=cell.seconds)
        if cell.tone == "bad":
            message = ": ".join(filter(None, (cell.stage, cell.cause)))
            kind = Error if cell.cause.startswith(BUG) else Failure
            case.result = [_failure(message, cell.state, [f"report: {cell.folder}/report.html"], kind)]
        elif cell.state == "unfinished":
            case.result = [Skipped(_clean(f"unfinished: {cell.cause}"))]
        else:
            case.system_out = _clean(": ".join(filter(None, (f"verified {cell.state}", cell.cause))))
        suite.add_testcase(case)
    _write(list(suites.values()), path)


def write_examinations(found: Sequence[tuple[Examination, Sequence[RepairReport]]], path: Path) -> None:
    """A suite for each file, with one test case for the file itself, and one for each target. The repairs are those of the
    targets, in their order, or none.
    """
    _write([_file(examination, repairs) for examination, repairs in found], path)


def _file(examination: Examination, repairs: Sequence[RepairReport]) -> TestSuite:
    suite = TestSuite(_clean(f"enginesmith doctor {examination.path}"))
    file = TestCase("the file", classname=_clean(examination.path))
    broken = [finding for finding in examination.problems if finding.severity == "error"]
    if broken:
        file.result = [_refused("file", broken)]
    suite.add_testcase(file)
    for number, report in enumerate(examination.targets):
        suite.add_testcase(_target(report, repairs[number] if repairs else None, examination.path))
    return suite


def _stage(record: StageRecord, model: str) -> TestCase:
    case = TestCase(_clean(record.id), classname=_clean(model), time=round(record.seconds, 3))
    if record.status in PASSED:
        figures = worst_figures(record.comparison.samples) if record.comparison else ""
        reason = record.comparison.reason if record.comparison else ""
        told = dict.fromkeys((record.facts.note, reason, figures, *record.facts.warnings))
        case.system_out = _clean("\n".join(filter(None, told)))
    elif record.status == "failed":
        kind = Error if record.error.startswith(BUG) else Failure
        details = [*([f"remedy: {record.remedy}"] if record.remedy else []), *map(_told, record.facts.findings)]
        details += [f"log: {record.log}"] if record.log else []
        case.result = [_failure(record.error, record.stage, details, kind)]
    else:
        case.result = [Skipped(_clean(f"{record.status}: {record.error}"))]
    return case


def _target(report: TargetReport, mended: RepairReport | None, file: str) -> TestCase:
    case = TestCase(_clean(f"{report.backend} {report.version}"), classname=_clean(file))
    errors = [found.finding for found in report.errors]
    lines = [_told(found.finding) for found in report.findings if found.finding not in errors]
    if mended is not None:
        lines += [f"repaired by {attempt.repair}: {attempt.node or 'the graph'}" for attempt in mended.made]
        lines += list(map(_told, errors)) if mended.mended else []
        errors = [] if mended.mended else [each for each in mended.left if each.severity == "error"] or errors
    case.system_out = _clean("\n".join([f"trial: {report.trial}", *filter(None, [report.note]), *lines]))
    if errors:
        case.result = [_refused(report.backend, errors)]
    return case


def _refused(kind: str, errors: Sequence[Finding]) -> Failure | Error:
    first = _told(errors[0]).partition("\n")[0].removeprefix("error: ")
    return _failure(first + (f", and {len(errors) - 1} more" if len(errors) > 1 else ""), kind, map(_told, errors))


def _failure(
    message: str, kind: str, details: Iterable[str], result: type[Failure | Error] = Failure
) -> Failure | Error:
    """The cause in the message, and everything in the text."""
    failure = result(_clean(message.partition("\n")[0]), kind)
    failure.text = _clean("\n".join([message, *details]))
    return failure


def _told(finding: Finding) -> str:
    where = " ".join(filter(None, (finding.op, finding.node)))
    lines = [f"{finding.severity}: {where + ': ' if where else ''}{finding.message}"]
    lines += [f"  remedy: {finding.remedy}"] if finding.remedy else []
    lines += [f"  repair: {finding.repair_id}"] if finding.repair_id else []
    return "\n".join(lines)


def _clean(text: str) -> str:
    """Without what XML can't hold, such as the escapes with which tools colour their messages."""
    return printable(text, LAYOUT)


def _write(suites: Sequence[TestSuite], path: Path) -> None:
    xml = JUnitXml("enginesmith")
    for suite in suites:
        xml.add_testsuite(suite)
    xml.write(str(path))
