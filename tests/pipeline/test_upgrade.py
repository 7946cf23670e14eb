"""`enginesmith compare MODEL --for A,B`: what another version does to a model, by the rules alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from running import Answer

import enginesmith as package
from enginesmith.compat.findings import Finding
from enginesmith.converters.backends.examination import Examination, Examined, TargetReport
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.pipeline.job import upgrade as job

Command = Callable[..., Answer]

TRIANGLE = """
<ir_version: 10, opset_import: ["" : 17]>
triangle (float[8, 8] x) => (float[8, 8] y) {
  h = Trilu (x)
  y = Relu (h)
}
"""
ATTENTION = """
<ir_version: 10, opset_import: ["" : 17]>
attention (float16[1, 2, 8, 4] q, float16[1, 2, 4, 8] k, float16[1, 2, 8, 4] v) => (float16[1, 2, 8, 4] y) {
  s = MatMul (q, k)
  w = Softmax <axis = -1> (s)
  y = MatMul (w, v)
}
"""


def finding(severity: str, node: str = "n", rule: str = "r", op: str = "Op", silent: bool = False) -> Examined:
    return Examined(
        finding=Finding(
            severity=severity,  # type: ignore[arg-type]
            op=op,
            node=node,
            backend="tensorrt",
            versions="",
            message=f"{rule} says so",
            rule=rule,
            silent=silent,
        )
    )


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Examined], list[Examined]], job.Upgrade]:
    """The answer, where the rules say these things of the version before and the one after."""

    def ask(old: list[Examined], new: list[Examined]) -> job.Upgrade:
        reports = [
            TargetReport(backend="tensorrt", version=version, findings=found)
            for version, found in (("10.3", old), ("11.1", new))
        ]
        answer = Examination(path="m.onnx", nodes=3, targets=reports)
        monkeypatch.setattr(job.doctor, "examine", lambda *_, **__: answer)
        return job.upgrade(Path("m.onnx"), "tensorrt=10.3,tensorrt=11.1")

    return ask


E1, E2 = finding("error", rule="one"), finding("error", rule="two")
WRONG = finding("warning", rule="tensorrt-wrong-attention-sm-120", silent=True)


@pytest.mark.parametrize(
    ("old", "new", "effects"),
    [
        ([], [], []),
        ([], [E1], ["breaks"]),
        ([E1], [], ["mends"]),
        ([E1], [E1], ["stays"]),
        ([E1], [E2], ["stays"]),
        ([], [WRONG], ["breaks"]),
        ([WRONG], [WRONG], []),
        ([WRONG], [], ["unknown"]),
        ([], [finding("warning")], ["warns"]),
        ([finding("warning")], [], []),
        ([finding("error", node="a")], [finding("error", node="b")], ["breaks", "mends"]),
        (
            [finding("error", node="", op="", rule="x")],
            [finding("error", node="", op="", rule="y")],
            ["breaks", "mends"],
        ),
    ],
)
def test_what_two_versions_say_together(
    between: Callable[..., job.Upgrade], old: list[Examined], new: list[Examined], effects: list[str]
) -> None:
    found = between(old, new)
    assert [each.effect for each in found.effects] == effects
    assert found.breaks is ("breaks" in effects)


def test_a_wrong_result_that_is_fixed_is_mended(
    between: Callable[..., job.Upgrade], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [entry.model_copy(update={"status": "fixed"}) for entry in job.table()]
    monkeypatch.setattr(job, "table", lambda: entries)
    assert [each.effect for each in between([WRONG], []).effects] == ["mends"]


def test_operators_are_counted(between: Callable[..., job.Upgrade]) -> None:
    found = between(
        [], [finding("error", node="a"), finding("error", node="b"), finding("error", node="c", op="Other")]
    )
    assert [(each.op, each.breaks) for each in found.operators] == [("Op", 2), ("Other", 1)]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def model(text: str) -> str:
        onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
        return str(tmp_path / "model.onnx")

    return model


def test_the_page_and_its_status(enginesmith: Command, write: Callable[[str], str]) -> None:
    path = write(ATTENTION)
    worse = enginesmith("compare", path, "--for", "tensorrt=10.3", "--for", "tensorrt=10.9")
    assert (worse.status, "something breaks" in worse.out) == (1, True)
    unknown = enginesmith("compare", path, "--for", "tensorrt=10.9,tensorrt=11.0", "--json")
    told = json.loads(unknown.out)
    assert (unknown.status, told["breaks"], told["unknown"]) == (0, False, True)
    assert {(each["op"], each["node"], each["effect"]) for each in told["effects"]} == {("MatMul", "y", "unknown")}


def test_an_operator_that_the_version_before_lacks(write: Callable[[str], str]) -> None:
    back = package.upgrade(write(TRIANGLE), "tensorrt=10.3,tensorrt=8.4")
    forth = package.upgrade(write(TRIANGLE), "tensorrt=8.4,tensorrt=10.3")
    assert [each.op for each in back.effects if each.effect == "breaks"] == ["Trilu"]
    assert [each.node for each in back.effects if each.effect == "breaks"] == [
        each.node for each in forth.effects if each.effect == "mends"
    ]


def test_a_version_that_nothing_is_on_record_about_is_told(write: Callable[[str], str]) -> None:
    found = package.upgrade(write(ATTENTION), "jetpack=6.1,tensorrt=99.0")
    assert any("99.0" in note for note in found.notes)
    assert found.unknown


@pytest.mark.parametrize(
    "versions", ["", "tensorrt=10.3", "tensorrt=10.3,tensorrt=10.9,tvm", "tensorrt=10.3,tensorrt=10.3"]
)
def test_two_versions_are_asked_for(write: Callable[[str], str], versions: str) -> None:
    with pytest.raises(UserError, match="give two versions"):
        package.upgrade(write(ATTENTION), versions)


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nothing")
    with pytest.raises(ConversionError):
        package.upgrade(tmp_path / "m.onnx", "tensorrt=10.3,tensorrt=10.9")


@pytest.mark.parametrize("words", [("A",), ("A", "A", "--for", "tensorrt=10.3,tensorrt=10.9")])
def test_a_second_file_or_two_versions(
    enginesmith: Command, write: Callable[[str], str], words: tuple[str, ...]
) -> None:
    path = write(ATTENTION)
    answer = enginesmith("compare", *(path if word == "A" else word for word in words))
    assert answer.status == 2
