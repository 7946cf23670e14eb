"""`enginesmith farm` as it is typed: a matrix of small models, run again, stopped, compared, forgotten; and bad matrices."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tiny_onnx
from running import Answer, CommandLine

from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.farm.cells import make_cells
from enginesmith.pipeline.farm.matrix import read_matrix
from enginesmith.pipeline.farm.records import RunRecord, find_run
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.job.store import Store

Run = Callable[..., Answer]
MATRIX = """
models: [a.onnx, {model: b.onnx, name: wide, shapes: ["1x8"]}]
backends: [tvm]
precisions: [fp32, fp16]
recipe: {measure: 0, simplify: false}
exclude: [{model: wide, precision: fp16}]
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandLine, RunRecord]:
    """A farm of three cells that has run once, in a store of its own."""
    folder = tmp_path_factory.mktemp("farm")
    tiny_onnx.linear(folder / "a.onnx")
    tiny_onnx.linear(folder / "b.onnx", width=8)
    (folder / "m.yaml").write_text(MATRIX)
    shell = CommandLine(folder, folder / "store")
    done = shell.run("farm", "m.yaml", "--json", "--junit", "j.xml", "--sarif", "s.json")
    assert done.returncode == 0, done.stderr
    return shell, RunRecord.model_validate_json(done.stdout)


def test_every_cell_leaves_what_a_build_leaves(built: tuple[CommandLine, RunRecord]) -> None:
    shell, run = built
    farm = shell.folder / "build/farm/m"
    assert [(cell.model, cell.precision, cell.state) for cell in run.cells] == [
        ("a.onnx", "fp32", "yes"),
        ("a.onnx", "fp16", "yes"),
        ("wide", "fp32", "yes"),
    ]
    for cell in run.cells:
        assert (farm / cell.folder / "report.html").is_file()
        (engine,) = Manifest.read(farm / cell.folder).engines
        assert engine.sha256 == cell.sha256
    assert (farm / "farm.html").is_file()
    suites = ElementTree.parse(shell.folder / "j.xml").getroot()
    assert [case.get("name") for case in suites.iter("testcase")] == [cell.name for cell in run.cells]
    assert json.loads((shell.folder / "s.json").read_text())["runs"][0]["invocations"] == [
        {"executionSuccessful": True}
    ]


@pytest.mark.slow
def test_its_engines_are_those_of_builds_one_by_one(built: tuple[CommandLine, RunRecord], tmp_path: Path) -> None:
    shell, run = built
    alone = CommandLine(shell.folder, tmp_path / "store")
    for cell in run.cells[:2]:
        place = tmp_path / cell.precision
        options = ("--backend", "tvm", "--precision", cell.precision, "--measure", "0", "--no-simplify")
        done = alone.run("build", cell.model, *options, "--out", str(place))
        assert done.returncode == 0, done.stderr
        assert [engine.sha256 for engine in Manifest.read(place).engines] == [cell.sha256]


def test_a_second_run_runs_nothing_and_differs_in_nothing(built: tuple[CommandLine, RunRecord]) -> None:
    shell, run = built
    assert run.built > 0
    done = shell.run("farm", "m.yaml")
    assert done.returncode == 0, done.stderr
    assert f"3 cells: 3 verified; 0 of {run.tasks} stages were run" in done.stdout
    told = shell.run("farm", "diff", "previous", "last", "--out", "build/farm/m")
    assert (told.returncode, told.stdout.splitlines()[-1]) == (0, "nothing got worse")
    retried = shell.run("farm", "retry", "m.yaml", "--failed")
    assert (retried.returncode, "there is nothing to try again" in retried.stderr) == (2, True)


@pytest.mark.slow
def test_gc_forgets_runs_and_what_they_alone_made(built: tuple[CommandLine, RunRecord]) -> None:
    shell, _ = built
    (shell.folder / "other.yaml").write_text(
        "models: [a.onnx]\nbackends: [tvm]\nrecipe: {measure: 0, simplify: false, seed: 7}"
    )
    assert shell.run("farm", "other.yaml", "--out", "other").returncode == 0
    (shell.folder / "other.yaml").write_text(MATRIX)
    assert shell.run("farm", "other.yaml", "--out", "other").returncode == 0
    store = Store(shell.store)
    before = {entry.key for entry, _ in store.entries()}
    done = shell.run("farm", "gc", "other", "--keep", "1", "--json")
    told = json.loads(done.stdout)
    kept = {key for cell in find_run(shell.folder / "other", "last").cells for key in cell.keys}
    left = {entry.key for entry, _ in store.entries()}
    assert told["runs"] == 1
    assert told["artifacts"] == len(before - left) > 0
    assert kept <= left


@pytest.mark.slow
def test_a_failing_cell_is_in_the_exit_status_and_is_tried_again(tmp_path: Path, shared_store: Path) -> None:
    tiny_onnx.linear(tmp_path / "good.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    (tmp_path / "m.yaml").write_text(
        "models: [good.onnx, bad.onnx]\nbackends: [tvm]\nrecipe: {measure: 0, simplify: false}"
    )
    shell = CommandLine(tmp_path, shared_store)
    done = shell.run("farm", "m.yaml", "--json", "--junit", "j.xml")
    assert done.returncode == 1
    run = RunRecord.model_validate_json(done.stdout)
    assert [cell.state for cell in run.cells] == ["yes", "failed"]
    assert "bad.onnx" in run.cells[1].cause
    assert len(ElementTree.parse(tmp_path / "j.xml").getroot().findall(".//failure")) == 1
    tiny_onnx.linear(tmp_path / "bad.onnx", width=5)
    again = shell.run("farm", "retry", "m.yaml", "--failed", "--json")
    assert again.returncode == 0, again.stderr
    retried = RunRecord.model_validate_json(again.stdout)
    assert [cell.state for cell in retried.cells] == ["yes", "yes"]
    assert retried.cells[0] == run.cells[0], "what had passed is carried over"


@pytest.mark.slow
def test_ctrl_c_leaves_a_record_and_the_next_run_goes_on(tmp_path: Path, shared_store: Path) -> None:
    tiny_onnx.linear(tmp_path / "a.onnx", width=6)
    (tmp_path / "m.yaml").write_text("models: [a.onnx]\nbackends: [tvm]\nrecipe: {measure: 30, simplify: false}")
    shell = CommandLine(tmp_path, shared_store)
    log = tmp_path / "build/farm/m/cells"
    with shell.start("farm", "m.yaml") as process:
        end = time.monotonic() + 120
        while not list(log.rglob("measure*.log")) and time.monotonic() < end:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "enginesmith: stopped; what is finished is in the store")
    run = find_run(tmp_path / "build/farm/m", "last")
    assert (run.stopped, [cell.state for cell in run.cells]) == ("Ctrl-C", ["unfinished"])
    (tmp_path / "m.yaml").write_text("models: [a.onnx]\nbackends: [tvm]\nrecipe: {measure: 0.1, simplify: false}")
    done = shell.run("farm", "m.yaml", "--json")
    again = RunRecord.model_validate_json(done.stdout)
    assert (again.cells[0].state, again.built) == ("yes", 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("modles: [lenet]", "unknown key 'modles'; did you mean models?"),
        ("models: [lenett]", "model lenett: unknown model 'lenett' (nearest: lenet"),
        (
            "models: [lenet]\ntargets: [sm_8999]",
            "targets: unknown target of tensorrt-rtx 'sm_8999'; did you mean sm_89",
        ),
        ("models: [lenet, lenet]", "two models are called 'lenet'; give one of them a name"),
        ("models: [lenet]\ntargets: [native, native]", "targets: 'native' stands twice"),
        ("models: [lenet]\nrecipe: {mesure: 1}", "recipe: unknown key 'mesure'; did you mean measure"),
        ("models: [{model: lenet, prioritty: 3}]", "models[1]: unknown key 'prioritty'; did you mean priority?"),
        ("models: [lenet]\nprecisions: [fp17]", "unknown precision 'fp17'; did you mean fp16"),
        ("models: [lenet]\nexclude: [{modell: x}]", "exclude[1]: unknown key 'modell'; did you mean model?"),
        ("models: [lenet]\nexclude: [{model: lenat}]", "exclude[1]: no model is 'lenat'; did you mean lenet?"),
        ("models: [lenet]\nexclude: [{}]", "exclude[1]: it names no model, backend, target, precision or shape"),
        ('models: [lenet]\nexclude: [{model: "*"}]', "no combination is left to build"),
        ("models: [lenet]\npriorities: [{model: lenet}]", "priorities[1]: priority is missing"),
        ("models: [lenet]\nbackends: [tvmm]", "unknown backend 'tvmm'; did you mean tvm?"),
        ("models: [lenet]\nrecipe: {trust: true}", "that is for who runs it to say: give --trust"),
        ("models: [lenet]\nrecipe: {backend: tvm}", "recipe: backend is for the matrix to say"),
        ("models: [lenet]\nrecipe: {measure: -1}", "model lenet: measure = -1"),
        ("models: [lenet]\ntime: 3 weeks", "can't read time = '3 weeks'; write it like 2h"),
        ("models: [{name: x}]", "models[1]: model is missing"),
        ("models: [3]", "models[1] = 3"),
        ("models: [lenet]\nshapes: [abc]", "model lenet: shape 'abc' doesn't parse"),
        ("- lenet", "must be a mapping such as"),
        ("models: [lenet", "is no YAML, line"),
    ],
)
def test_a_bad_matrix_is_one_line_before_anything_starts(
    enginesmith: Run, tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "m.yaml").write_text(text)
    answer = enginesmith("farm", "m.yaml")
    assert (answer.status, len(answer.err.splitlines())) == (2, 1)
    assert "m.yaml" in answer.err
    assert told in answer.err
    assert not (tmp_path / "build").exists()


def test_places_that_cannot_be_written_are_told_before_anything_starts(enginesmith: Run, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("models: [lenet]\nbackends: [tvm]")
    (tmp_path / "file").touch()
    for option in ("--out", "--store", "--junit", "--sarif"):
        answer = enginesmith("farm", "m.yaml", option, "file/within")
        assert (answer.status, len(answer.err.splitlines())) == (2, 1), option


def test_code_of_strangers_needs_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "net.py").write_text("def net(): ...")
    (elsewhere / "m.yaml").write_text(f"models: [{elsewhere}/net.py:net]\nbackends: [tvm]\nshapes: [1x4]")
    monkeypatch.chdir(tmp_path)
    file = elsewhere / "m.yaml"
    with pytest.raises(UserError, match="give --trust"):
        make_cells(read_matrix(file), file, tmp_path)
    assert len(make_cells(read_matrix(file), file, tmp_path, trust=True).cells) == 1


def test_axes_multiply_and_targets_go_to_the_backends_that_know_them(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        "models: [lenet, {model: resnet50, name: r50, priority: 2, shapes: [1x3x64x64, 1x3x96x96], seed: 3}]\n"
        "backends: [tvm, tensorrt-rtx]\ntargets: [x86-64-v3, sm_86, sm_89]\nprecisions: [fp32, int8]\n"
        "exclude: [{target: sm_86, precision: int8}]\npriorities: [{backend: tvm, priority: 5}]\n"
    )
    cells = make_cells(read_matrix(file), file, tmp_path).cells
    assert len(cells) == 3 * (2 * 3 - 1)
    assert len({cell.recipe.out for cell in cells}) == len({cell.name for cell in cells}) == len(cells)
    assert {(cell.backend, cell.target) for cell in cells} == {
        ("tvm", "x86-64-v3"),
        ("tensorrt-rtx", "sm_86"),
        ("tensorrt-rtx", "sm_89"),
    }
    assert {(cell.model, cell.backend): cell.priority for cell in cells} == {
        ("lenet", "tvm"): 5,
        ("lenet", "tensorrt-rtx"): 0,
        ("r50", "tvm"): 7,
        ("r50", "tensorrt-rtx"): 2,
    }
    assert {cell.recipe.seed for cell in cells if cell.model == "r50"} == {3}
