"""`enginesmith migrate`: recipes of commands and scripts, its page, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from migrated_forms import FORMS
from running import Answer

import enginesmith as package
from enginesmith.converters.core.errors import UserError
from enginesmith.pipeline.api.migrate import migrate
from enginesmith.pipeline.job.recipe import make_recipe

Command = Callable[..., Answer]


@pytest.mark.parametrize(("form", "recipes"), FORMS.values(), ids=FORMS)
def test_forms_that_people_write(form: str, recipes: list[dict[str, Any]], tmp_path: Path) -> None:
    script = tmp_path / ("build.py" if "import " in form else "build.sh")
    script.write_text(form)
    found = [job.recipe for job in migrate(script).jobs if job.builds]
    assert found == [{"backend": "tensorrt", **recipe} for recipe in recipes]


def recipe(command: str) -> dict[str, Any]:
    return migrate(command).jobs[0].recipe


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", {"precision": "fp32"}),
        ("--fp16", {"precision": "fp16"}),
        ("--bf16 --fp16", {"precision": "fp16"}),
        ("--int8", {"precision": "int8", "rest": "fp32"}),
        ("--int8 --bf16", {"precision": "int8", "rest": "bf16"}),
        ("--best", {"precision": "auto"}),
        ("--fp8 --fp16", {"precision": "fp16"}),
        ("--stronglyTyped", {"precision": "fp32"}),
        ("--int8 --fp16 --calib=c.cache", {"precision": "int8", "rest": "fp16", "ranges": "c.cache"}),
        ("--sparsity=enable", {"precision": "fp32", "sparse": True}),
        ("--sparsity=disable", {"precision": "fp32"}),
        ("--duration=30", {"precision": "fp32", "measure": 30.0}),
        ("--buildOnly", {"precision": "fp32", "measure": 0.0}),
        (
            "--fp16 --precisionConstraints=obey --layerPrecisions=/a/Add:fp32,*:fp16",
            {"precision": "fp16", "keep": "/a/Add"},
        ),
        ("--optShapes=x:4x3", {"precision": "fp32", "shape": "x:4x3"}),
    ],
)
def test_flags_of_trtexec(flags: str, said: dict[str, Any]) -> None:
    assert recipe(f"trtexec --onnx=m.onnx {flags}") == {"model": "m.onnx", "backend": "tensorrt", **said}


@pytest.mark.parametrize(
    ("command", "note"),
    [
        ("trtexec --deploy=m.prototxt --fp16", "m.prototxt is no ONNX file"),
        ("trtexec --fp16", "names no model"),
        ("polygraphy convert network.py", "which model"),
        ("trtexec --onnx=m.onnx --fp8", "fp8: no recipe asks for it"),
        ("trtexec --onnx=m.onnx --best", "`calib`"),
        ("trtexec --onnx=m.onnx --maxBatch=8", "a batch of up to 8"),
        ("trtexec --onnx=m.onnx --calib=c", "does not ask for int8"),
        ("trtexec --onnx=m.onnx --int8 --calib=c", "c is not here"),
        ("trtexec --onnx=m.onnx --optShapes=x:axb", "not taken over: 'a'"),
        ("trtexec --onnx=m.onnx --sparsity=force", "overwrote the weights"),
        ("trtexec --onnx=m.onnx --fp16 --layerPrecisions=a:fp32", "free to ignore"),
        ("trtexec --loadEngine=m.plan", "builds nothing"),
    ],
)
def test_what_a_recipe_cannot_say_is_a_note(command: str, note: str) -> None:
    assert any(note in each for each in migrate(command).jobs[0].notes)


def test_a_cache_that_is_here_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.cache").write_text("TRT-8601-MinMaxCalibration\nx: 3c010a14\n")
    (tmp_path / "build.sh").write_text("trtexec --onnx=m.onnx --int8 --calib=c.cache\n")
    (job,) = migrate(tmp_path / "build.sh").jobs
    assert job.recipe["method"] == "minmax"
    assert any("ranges of 1 tensors" in note and "8.6.1" in note for note in job.notes)


def test_a_damaged_cache_is_told(tmp_path: Path) -> None:
    (tmp_path / "c.cache").write_text("hello\n")
    (tmp_path / "build.sh").write_text("trtexec --onnx=m.onnx --int8 --calib=c.cache\n")
    assert any("line 1 is neither" in note for note in migrate(tmp_path / "build.sh").jobs[0].notes)


def test_the_recipe_the_command_and_the_dictionary_say_the_same(tmp_path: Path) -> None:
    job = migrate("trtexec --onnx='my model.onnx' --int8 --maxShapes=x:8x3").jobs[0]
    (tmp_path / "recipe.yaml").write_text(job.yaml)
    read = make_recipe({}, tmp_path / "recipe.yaml")
    assert read.model_dump() == make_recipe(job.recipe).model_dump()
    assert job.command.startswith("enginesmith build 'my model.onnx' --backend tensorrt --precision int8")


def test_the_page(enginesmith: Command, tmp_path: Path) -> None:
    out = tmp_path / "recipe.yaml"
    answer = enginesmith("migrate", "--out", str(out), "trtexec", "--onnx=m.onnx", "--fp16", "--maxBatch=4")
    assert answer.status == 0
    assert "precision: fp16" in answer.out
    assert "last in 8.6" in answer.out
    assert out.read_text().startswith("# a batch of up to 4")
    assert make_recipe({}, out).precision == "fp16"


def test_several_recipes_have_files_of_their_own(enginesmith: Command, tmp_path: Path) -> None:
    (tmp_path / "b.sh").write_text("trtexec --onnx=a.onnx\ntrtexec --onnx=b.onnx\ntrtexec --loadEngine=b.plan\n")
    enginesmith("migrate", str(tmp_path / "b.sh"), "--out", str(tmp_path / "r.yaml"))
    models = [make_recipe({}, tmp_path / name).model for name in ("r.yaml", "r-2.yaml")]
    assert models == ["a.onnx", "b.onnx"]
    assert not (tmp_path / "r-3.yaml").exists()


@pytest.mark.parametrize("words", [("--json", "FILE"), ("FILE", "--json")])
def test_json_and_a_status_for_what_was_not_read(enginesmith: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "b.sh").write_text("trtexec --onnx=a.onnx --fp15\n")
    answer = enginesmith("migrate", *(str(tmp_path / "b.sh") if word == "FILE" else word for word in words))
    told = json.loads(answer.out)
    assert answer.status == 1
    assert told["unread"] == [{"line": 1, "text": "--fp15", "reason": "no option of any trtexec since 5.1"}]
    assert told["jobs"][0]["recipe"]["model"] == "a.onnx"


def test_a_script_with_its_arguments(enginesmith: Command, tmp_path: Path) -> None:
    script = tmp_path / "b.py"
    script.write_text(
        "import sys, argparse, tensorrt as trt\nap = argparse.ArgumentParser()\nap.add_argument('onnx')\nargs = ap.parse_args()\n"
        "builder = trt.Builder(trt.Logger())\nparser = trt.OnnxParser(builder.create_network(), trt.Logger())\n"
        "parser.parse_from_file(args.onnx)\n"
    )
    answer = enginesmith("migrate", "python", str(script), "given.onnx")
    assert "model: given.onnx" in answer.out


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.sh", b"echo hello\n", "no command of trtexec"),
        ("a.py", b"print(1)\n", "nothing of TensorRT's Python API"),
        ("a.py", b"def (:\n", "line 1 is no Python 3"),
        ("a.plan", b"\xff\xfe\x00\x01" * 9, "is no text"),
        ("a.ipynb", b"{}", "is no notebook"),
    ],
)
def test_what_is_no_script_is_one_line(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=reason) as caught:
        package.migrate(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("words", ["nowhere.sh", ["python", "nowhere.py"], ["gcc", "-O2"]])
def test_what_is_no_command_is_told(words: str | list[str]) -> None:
    with pytest.raises(UserError):
        migrate(words)


def test_a_file_in_the_way_of_the_recipe(enginesmith: Command, tmp_path: Path) -> None:
    answer = enginesmith("migrate", "--out", str(tmp_path), "trtexec", "--onnx=m.onnx")
    assert answer.status == 2
