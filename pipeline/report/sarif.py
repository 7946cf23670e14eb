"""Findings as SARIF 2.1.0, which code scanning shows beside the file that they are about."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from enginesmith.compat.findings import Finding
from enginesmith.converters.backends.examination import Examination
from enginesmith.converters.core.hashing import hash_value
from enginesmith.converters.core.printable import printable_values
from enginesmith.converters.core.records import RepairReport
from enginesmith.converters.core.stage import MODEL
from enginesmith.pipeline import __version__
from enginesmith.pipeline.job.manifest import PASSED, Manifest

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {"error": "error", "warning": "warning", "info": "note"}
FILE = "onnx-file"
"""Rule of what is wrong with a file whatever the backend."""


@dataclass(frozen=True)
class Result:
    """A finding as it is told: `level` may be below its severity, where it was repaired or the backend disagrees."""

    finding: Finding
    level: str
    properties: dict[str, str | bool]

    @property
    def rule(self) -> str:
        return self.finding.rule or (f"{self.finding.backend}-refuses" if self.finding.backend else FILE)


def write_build(manifest: Manifest, folder: Path, path: Path) -> None:
    """What the stages of a build told; a failed stage without a finding of its own is one. `folder` is that of the build."""
    write_builds([(folder, manifest)], path)


def write_builds(builds: Sequence[tuple[Path, Manifest]], path: Path) -> None:
    """The same of several, each with its folder: what is told of one file alike is told once."""
    found = [(_subject(manifest, folder), result) for folder, manifest in builds for result in _of_build(manifest)]
    _write(found, path, all(manifest.success for _, manifest in builds))


def _subject(manifest: Manifest, folder: Path) -> Path:
    source = Path(manifest.model.spec.partition(":")[0])
    return source if source.is_file() else folder / MODEL


def write_examinations(found: Sequence[tuple[Examination, Sequence[RepairReport]]], path: Path) -> None:
    """What `doctor` found in some files; the repairs are those of its targets, in the same order, or none."""
    _write(
        [(Path(each.path), result) for each, repairs in found for result in _of_examination(each, repairs)], path, True
    )


def _of_build(manifest: Manifest) -> Iterator[Result]:
    for record in manifest.stages:
        made = {attempt.node: attempt.repair for attempt in record.facts.repairs if attempt.made}
        blamed = False
        for finding in record.facts.findings:
            about: dict[str, str | bool] = {"stage": record.id}
            if finding.node in made:
                about["repairedBy"] = made[finding.node]
            mended = record.status in PASSED or finding.node in made
            level = "note" if mended and finding.severity == "error" else LEVELS[finding.severity]
            blamed |= level == "error"
            yield Result(finding, level, about)
        if record.status == "failed" and not blamed:
            finding = Finding(
                severity="error",
                op="",
                node="",
                backend=record.backend,
                versions="",
                message=record.error,
                remedy=record.remedy,
                rule=f"stage-{record.stage}",
            )
            yield Result(finding, "error", {"stage": record.id})


def _of_examination(examination: Examination, repairs: Sequence[RepairReport]) -> Iterator[Result]:
    for problem in examination.problems:
        yield Result(problem, LEVELS[problem.severity], {})
    for number, target in enumerate(examination.targets):
        mended = bool(repairs) and repairs[number].mended
        for found in target.findings:
            about: dict[str, str | bool] = {"verdict": found.verdict}
            about |= {"said": found.said} if found.said else {}
            about |= {"acceptedBy": f"{target.backend} {found.accepted_by}"} if found.accepted_by else {}
            about |= {"repaired": True} if mended else {}
            accepted = mended or found.verdict == "not confirmed"
            level = LEVELS[found.finding.severity]
            yield Result(found.finding, "note" if accepted and level == "error" else level, about)


def _write(results: Sequence[tuple[Path, Result]], path: Path, successful: bool) -> None:
    found = list({(file, each.rule, each.finding, each.level): (file, each) for file, each in results}.values())
    rules = list(dict.fromkeys(each.rule for _, each in found))
    run = {
        "tool": {"driver": {"name": "enginesmith", "version": __version__, "rules": list(_rules(rules))}},
        "invocations": [{"executionSuccessful": successful}],
        "results": [_result(each, rules.index(each.rule), _uri(file)) for file, each in found],
    }
    path.write_text(
        json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [printable_values(run)]}, indent=1) + "\n"
    )


def _result(each: Result, index: int, uri: str) -> dict[str, Any]:
    finding = each.finding
    where = " ".join(filter(None, (finding.op, finding.node)))
    text = ": ".join(filter(None, (where, finding.message)))
    text += f"\nRemedy: {finding.remedy}" if finding.remedy else ""
    text += f"\n`enginesmith doctor --fix` repairs it: {finding.repair_id}." if finding.repair_id else ""
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}}
    if finding.node:
        location["logicalLocations"] = [{"name": finding.node, "kind": "node"}]
    known = {
        "op": finding.op,
        "backend": finding.backend,
        "versions": finding.versions,
        "remedy": finding.remedy,
        "repair": finding.repair_id or "",
    }
    return {
        "ruleId": each.rule,
        "ruleIndex": index,
        "level": each.level,
        "message": {"text": text},
        "locations": [location],
        "partialFingerprints": {"finding/v1": hash_value([each.rule, finding.backend, where, finding.message])},
        "properties": {key: value for key, value in known.items() if value} | each.properties,
    }


def _rules(ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """With the help of their pages; what a backend says itself has none."""
    from enginesmith.compat.pages import pages

    known = {page.id: page for page in pages() if page.kind == "rule"}
    for id in ids:
        if page := known.get(id):
            about, written = page.about, page.markdown
        elif id == FILE:
            about = written = "What is wrong with the file itself, whatever the backend."
        elif id.startswith("stage-"):
            about = written = f"The stage {id.removeprefix('stage-')} of a build failed."
        else:
            about = written = f"{id.removesuffix('-refuses')} says so itself: its parser, or a trial build."
        yield {"id": id, "shortDescription": {"text": about}, "help": {"text": about, "markdown": written}}


def _uri(file: Path) -> str:
    """Relative to the working folder where it lies in there, as code scanning wants it."""
    here = file.absolute()
    return quote(here.relative_to(Path.cwd()).as_posix()) if here.is_relative_to(Path.cwd()) else here.as_uri()
