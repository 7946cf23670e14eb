"""`enginesmith explain` as a command, and what a failed stage says."""

from __future__ import annotations

import io
import json
import sys

import onnx
import pytest

from enginesmith.pipeline.job.artifacts import _fail
from enginesmith.pipeline.job.manifest import StageRecord
from enginesmith.pipeline.job.worker import Result

LOG = """[W] Your ONNX model has been generated with INT64 weights, while TensorRT does not natively support INT64.
[E] [TRT] ModelImporter.cpp:140: While parsing node number 7 [Resize -> "y"]:
[E] [TRT] ModelImporter.cpp:151: ERROR: onnxOpCheckers.cpp:749 In function checkResize:
[9] (antialias == 0) && "Antialiasing is not supported currently."
[E] Failed to parse onnx file
"""
UNKNOWN = "one\ntwo\n[E] \x1b[31mnobody [bold]knows\x1b[0m this\n"


@pytest.fixture
def log(tmp_path):
    def write(content: str | bytes):
        path = tmp_path / "build.log"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def test_the_page(enginesmith, log):
    answer = enginesmith("explain", log(LOG))
    assert (answer.status, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert all(len(line) <= 100 and line == line.rstrip() for line in lines[1:])
    page = [line.strip() for line in lines]
    assert page.index("cause") < page.index("operator: Resize") < page.index("warnings that matter")
    assert any(line.startswith("line 4  [9] (antialias == 0)") for line in page)
    assert any(line.startswith("remedy: ") for line in page)
    assert any("trt-int64-narrowed" in line for line in page[page.index("warnings that matter") :])


def test_json(enginesmith, log):
    answer = enginesmith("explain", log(LOG), "--json")
    record = json.loads(answer.out)
    assert record["cause"]["id"] == "trt-resize-antialias"
    assert (record["cause"]["op"], record["cause"]["line"]["number"]) == ("Resize", 4)
    assert answer.status == 0


def test_an_unknown_error(enginesmith, log):
    answer = enginesmith("explain", log(UNKNOWN))
    assert answer.status == 1
    assert "no diagnosis knows" in answer.out
    assert "line 3  [E] nobody [bold]knows this" in answer.out


def test_no_error(enginesmith, log):
    answer = enginesmith("explain", log("all went well\n"))
    assert answer.status == 1
    assert "no error in this log" in answer.out


@pytest.mark.parametrize("arguments", [("explain", "-"), ("explain",)])
def test_standard_input(enginesmith, monkeypatch, arguments):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(LOG.encode()))))
    answer = enginesmith(*arguments)
    assert answer.status == 0
    assert answer.out.startswith("standard input: 5 lines")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\r\n\n", "is empty"),
        (b"\x08\x0a\x12\x07pytorch" * 50, "is not a text log"),
        (b"ftrt\0\0\0\0" * 50, "is not a text log"),
        (b"\x1f\x8b\x08\0", "is not a text log"),
    ],
)
def test_what_is_no_log(enginesmith, log, content, message):
    answer = enginesmith("explain", log(content))
    assert (answer.status, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert message in line


def test_no_file_and_a_folder(enginesmith, tmp_path):
    for path, message in ((tmp_path / "none.log", "No such file"), (tmp_path, "Is a directory")):
        answer = enginesmith("explain", str(path))
        assert (answer.status, answer.out) == (2, "")
        (line,) = answer.err.splitlines()
        assert message in line


def test_bytes_that_are_no_text_are_replaced(enginesmith, log):
    answer = enginesmith("explain", log("pfad: ä\n".encode("latin-1") + LOG.encode()))
    assert answer.status == 0


def record(tmp_path, log: str) -> StageRecord:
    path = tmp_path / "stage.log"
    path.write_text(log)
    return StageRecord(id="compile tvm native", stage="compile", status="built", log=str(path))


def test_a_failed_stage_without_a_remedy_gets_one_by_its_message(tmp_path):
    stage = record(tmp_path, LOG)
    _fail(stage, Result(outcome="conversion error", message="tvm could not compile the graph: Did you forget to bind?"))
    assert stage.error.startswith("tvm could not compile the graph: Did you forget to bind? (a function was compiled")
    assert "schedule" in stage.remedy
    assert "https://" in stage.remedy


def test_or_by_its_log(tmp_path):
    stage = record(tmp_path, LOG)
    _fail(stage, Result(outcome="conversion error", message="it did not work"))
    assert "antialiased" in stage.error
    assert stage.remedy


def test_but_keeps_its_own_and_a_symptom_of_the_log_is_none(tmp_path):
    stage = record(tmp_path, LOG)
    _fail(stage, Result(outcome="conversion error", message="it did not work", remedy="do it again"))
    assert (stage.error, stage.remedy) == ("it did not work", "do it again")
    stage = record(tmp_path, "Segmentation fault (core dumped)\n")
    _fail(stage, Result(outcome="conversion error", message="it did not work"))
    assert (stage.error, stage.remedy) == ("it did not work", "")
    _fail(stage, Result(outcome="bug", message="CUDA out of memory"))
    assert (stage.error, stage.remedy) == ("bug: CUDA out of memory", "")


MODEL = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[1, 1, 8, 8] x) => (float[1, 1, 16, 16] z) <float[4] scales = {1, 1, 2, 2}> {
    y = Resize <mode = "linear", antialias = 1> (x, , scales)
    z = Relu (y)
}
"""


def test_with_the_model_at_hand_the_node_is_shown_and_the_repair_tried(enginesmith, log, tmp_path):
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "m.onnx")
    fixed = tmp_path / "fixed.onnx"
    answer = enginesmith(
        "explain", log(LOG), "--model", str(tmp_path / "m.onnx"), "--for", "tensorrt=10.3", "--fix", str(fixed)
    )
    assert answer.status == 0
    assert "Resize y" in answer.out
    assert "in: scales float[4], constant" in answer.out
    assert "tensorrt=10.3 says: antialias is 1" in answer.out
    assert "repair tried: resize-by-matrix (y); the whole graph agrees" in answer.out
    assert "Resize" not in {node.op_type for node in onnx.load(fixed).graph.node}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fix", "f.onnx"), "give --model too"),
        (("--for", "tvm"), "give --model too"),
        (("--model", "none.onnx"), "no file none.onnx"),
        (("--model", __file__), "it is no ONNX file"),
    ],
)
def test_a_model_is_wanted_where_something_is_asked_of_it(enginesmith, log, options, message):
    answer = enginesmith("explain", log(LOG), *options)
    assert answer.status == 2
    assert message in answer.err
