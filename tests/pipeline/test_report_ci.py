"""JUnit's XML and SARIF, of builds and of `doctor`, as a CI reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from jsonschema import Draft202012Validator
from junitparser import Error, Failure, JUnitXml, Skipped
from report_manifests import detector, failure
from running import Answer, Built
from test_doctor import RESIZED

from enginesmith.compat.checks import RULES
from enginesmith.compat.findings import Finding
from enginesmith.converters.backends.examination import Examination, Examined, TargetReport
from enginesmith.converters.core.records import RepairReport
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.report import junit, sarif

Command = Callable[..., Answer]


def closed(required: str, optional: str = "", **properties: Any) -> dict[str, Any]:
    """An object with these keys and no others."""
    keys = [*required.split(), *optional.split()]
    whole = {**{key: {"type": "string", "minLength": 1} for key in keys}, **properties}
    return {"type": "object", "properties": whole, "required": required.split(), "additionalProperties": False}


TEXT = closed("text", "markdown")
RULE = closed("id shortDescription help", shortDescription=TEXT, help=TEXT)
PHYSICAL = closed(
    "artifactLocation region",
    artifactLocation=closed("uri", uri={"type": "string", "pattern": r"^[^\s\\]+$"}),
    region=closed("startLine", startLine={"type": "integer", "minimum": 1}),
)
LOGICAL = {"type": "array", "items": closed("name kind")}
LOCATION = closed("physicalLocation", "logicalLocations", physicalLocation=PHYSICAL, logicalLocations=LOGICAL)
RESULT = closed(
    "ruleId ruleIndex level message locations partialFingerprints properties",
    ruleIndex={"type": "integer", "minimum": 0},
    level={"enum": ["none", "note", "warning", "error"]},
    message=TEXT,
    locations={"type": "array", "items": LOCATION, "minItems": 1},
    partialFingerprints={"type": "object", "additionalProperties": {"type": "string"}},
    properties={"type": "object"},
)
DRIVER = closed("name version rules", rules={"type": "array", "items": RULE, "uniqueItems": True})
RUN = closed(
    "tool invocations results",
    tool=closed("driver", driver=DRIVER),
    invocations={"type": "array", "items": closed("executionSuccessful", executionSuccessful={"type": "boolean"})},
    results={"type": "array", "items": RESULT},
)
SARIF = closed(
    "$schema version runs",
    version={"const": "2.1.0"},
    runs={"type": "array", "items": RUN, "minItems": 1, "maxItems": 1},
)
"""The part of SARIF 2.1.0's schema that we write, with its own names and types."""


def read_sarif(path: Path) -> dict[str, Any]:
    log = json.loads(path.read_text())
    Draft202012Validator(SARIF).validate(log)
    run = log["runs"][0]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    return run  # type: ignore[no-any-return]


def cases(path: Path) -> dict[str, Any]:
    (suite,) = JUnitXml.fromfile(str(path))
    assert suite.tests == len(list(suite))
    return {case.name: case for case in suite}


def broken() -> Manifest:
    """With a bug of ours, told in colours."""
    build = failure().model_copy(deep=True)
    build.stages[0].status, build.stages[0].error = "failed", "bug: KeyError: \x1b[31m'x'\x00"
    return build


def test_a_test_case_for_every_stage(tmp_path: Path) -> None:
    junit.write_build(broken(), tmp_path / "build.xml")
    found = cases(tmp_path / "build.xml")
    assert list(found) == [stage.id for stage in broken().stages]
    (bug,) = found["source"].result
    assert isinstance(bug, Error)
    assert bug.message == "bug: KeyError: \\x1b[31m'x'\\x00"
    (refused,) = found["compile tensorrt-rtx sm_120"].result
    assert isinstance(refused, Failure)
    assert refused.message == "2 nodes are refused by tensorrt-rtx 1.3"
    for told in ("remedy: Apply the repair", "/blocks.3/attn/Einsum", "repair: unfuse-matmul", "log: /build"):
        assert told in refused.text, told
    assert isinstance(found["compare tensorrt-rtx sm_120"].result[0], Skipped)
    assert found["export"].is_passed
    assert found["export"].time == 22.4


def test_what_did_not_run_is_no_pass(tmp_path: Path) -> None:
    junit.write_build(detector(), tmp_path / "build.xml")
    (skipped,) = cases(tmp_path / "build.xml")["compare tensorrt sm_89"].result
    assert isinstance(skipped, Skipped)
    assert skipped.message == "not run: no GPU on this machine"


def test_findings_of_a_build(tmp_path: Path) -> None:
    sarif.write_build(broken(), Path("build"), tmp_path / "build.sarif")
    run = read_sarif(tmp_path / "build.sarif")
    assert run["invocations"] == [{"executionSuccessful": False}]
    told = {(each["ruleId"], each["level"]) for each in run["results"]}
    assert told == {
        ("stage-source", "error"),
        ("tensorrt-rtx-refuses", "error"),
        ("tensorrt-rtx-refuses", "warning"),
    }
    unfused = next(each for each in run["results"] if each["properties"].get("repair"))
    assert unfused["properties"]["repair"] == "unfuse-matmul"
    assert unfused["locations"][0]["logicalLocations"] == [{"name": "/head/FusedMatMul", "kind": "node"}]
    assert unfused["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "build/model.onnx"


def examination(verdict: str = "confirmed") -> Examination:
    finding = Finding(
        severity="error",
        op="Resize",
        node="y",
        backend="tensorrt-rtx",
        versions="1.7",
        message="antialias is 1",
        remedy="export without",
        rule="resize-antialias",
        repair_id="resize-by-matrix",
    )
    found = Examined.model_validate({"finding": finding.model_dump(), "verdict": verdict})
    targets = [
        TargetReport(backend="tensorrt-rtx", version="1.7", trial="refused", findings=[found]),
        TargetReport(backend="tvm", version="0.27", trial="accepted"),
    ]
    return Examination(path="a model.onnx", nodes=2, targets=targets)


@pytest.mark.parametrize(
    ("verdict", "mended", "passes", "level"),
    [
        ("confirmed", None, False, "error"),
        ("confirmed", False, False, "error"),
        ("confirmed", True, True, "note"),
        ("not confirmed", None, True, "note"),
    ],
)
def test_what_was_repaired_or_is_accepted_fails_nothing(
    tmp_path: Path, verdict: str, mended: bool | None, passes: bool, level: str
) -> None:
    found = examination(verdict)
    left = [] if mended else [found.targets[0].findings[0].finding]
    repairs = [] if mended is None else [RepairReport(left=left), RepairReport()]
    junit.write_examinations([(found, repairs)], tmp_path / "x.xml")
    sarif.write_examinations([(found, repairs)], tmp_path / "x.sarif")
    about = cases(tmp_path / "x.xml")
    assert [about[name].is_passed for name in ("the file", "tensorrt-rtx 1.7", "tvm 0.27")] == [True, passes, True]
    (result,) = read_sarif(tmp_path / "x.sarif")["results"]
    assert result["level"] == level


def test_doctor_writes_both_with_the_rules_pages(enginesmith: Command, tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(RESIZED), tmp_path / "my model.onnx")
    flags = ("--for", "tensorrt=10.3", "--junit", "d.xml", "--sarif", "d.sarif", "--json")
    answer = enginesmith("doctor", "my model.onnx", *flags)
    assert answer.status == 1
    json.loads(answer.out)
    (refused,) = cases(tmp_path / "d.xml")["tensorrt 10.3"].result
    assert refused.message.startswith("Resize ")
    run = read_sarif(tmp_path / "d.sarif")
    rule = next(each for each in run["tool"]["driver"]["rules"] if each["id"] == "resize-antialias")
    assert rule["shortDescription"]["text"] == RULES["resize-antialias"].cause
    assert RULES["resize-antialias"].remedy in rule["help"]["markdown"]
    uris = {
        place["physicalLocation"]["artifactLocation"]["uri"] for each in run["results"] for place in each["locations"]
    }
    assert uris == {"my%20model.onnx"}


def test_build_writes_both(tiny: Built, tmp_path: Path) -> None:
    files = (tmp_path / "b.xml", tmp_path / "b.sarif")
    done = tiny.shell.run(*tiny.again, "--junit", str(files[0]), "--sarif", str(files[1]), "--json")
    assert done.returncode == 0, done.stderr
    manifest = Manifest.model_validate_json(done.stdout)
    assert list(cases(files[0])) == [stage.id for stage in manifest.stages]
    assert read_sarif(files[1])["results"] == []


@pytest.mark.parametrize("flag", ["--junit", "--sarif"])
def test_a_file_that_can_not_be_written_is_refused_before_the_work(enginesmith: Command, flag: str) -> None:
    answer = enginesmith("build", "lenet", flag, "nowhere/x")
    assert (answer.status, answer.out) == (2, "")
    assert "can't write nowhere/x" in answer.err
