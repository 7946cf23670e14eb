"""`enginesmith bisect MODEL --fails CONDITION`: files, statuses, limits and bad requests."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from running import CommandLine

from enginesmith.converters.bisect.judge import Judge
from enginesmith.converters.core.files import hash_file

node = helper.make_node


def value(name, shape=(1, 3, 8, 8), dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def save(path: Path, nodes, inputs, outputs, initializers=(), **how) -> Path:
    graph = helper.make_graph(nodes, "whole", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path, **how)
    return path


def chain(path: Path, length: int = 12, bad: int = 7, shape=(1, 3, 8, 8)) -> Path:
    """Unary nodes, and in front of `n{bad}` a NonZero."""
    nodes, tensor = [], "x"
    for place in range(length):
        if place == bad:
            nodes.append(node("NonZero", [tensor], ["places"], name="the culprit"))
        nodes.append(node(("Relu", "Abs", "Sigmoid")[place % 3], [tensor], [f"t{place}"], name=f"n{place}"))
        tensor = f"t{place}"
    return save(path, nodes, [value("x", shape)], [value(tensor, shape), value("places", (4, "n"), TensorProto.INT64)])


def tool(folder: Path, text: str) -> str:
    """A condition: a program that knows whether its model is `bad`, which has a NonZero. It imports nothing heavy."""
    path = folder / "tool.py"
    path.write_text(f"import os, sys, time\nbad = b'NonZero' in open(sys.argv[1], 'rb').read()\n{text}\n")
    return f"command: {sys.executable} -I -S {path} {{}}"


def metadata(model) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def test_a_node_that_tensorrt_refuses_is_found_and_saved(enginesmith, tmp_path):
    path = chain(tmp_path / "whole.onnx")
    answer = enginesmith("bisect", "whole.onnx", "--fails", "build on tensorrt-rtx")
    assert answer.status == 0, answer
    assert "1 of 13" in answer.out
    assert "the culprit" in answer.out
    left = onnx.load(tmp_path / "whole-reduced.onnx")
    onnx.checker.check_model(left, full_check=True)
    assert [n.name for n in left.graph.node] == ["the culprit"]
    about = metadata(left)
    assert about["enginesmith.source"] == "whole.onnx"
    assert about["enginesmith.source_sha256"] == hash_file(path)
    assert about["enginesmith.condition"] == "build on tensorrt-rtx"
    assert "NonZero" in about["enginesmith.failure"]
    assert not (tmp_path / "whole-reduced.onnx.data").exists()


def test_json_says_it_all(enginesmith, tmp_path):
    chain(tmp_path / "whole.onnx")
    answer = enginesmith("bisect", "whole.onnx", "--fails", "parse on tensorrt-rtx", "--out", "small.onnx", "--json")
    said = json.loads(answer.out)
    assert answer.status == 0
    assert said["ops"] == {"NonZero": 1}
    assert (said["nodes_before"], said["nodes_after"], said["file"]) == (13, 1, "small.onnx")
    assert said["failure"]["step"] == "parse"
    assert said["finished"] is True
    assert said["confirmed"] is True
    assert said["runs"] is True
    assert said["size"] == (tmp_path / "small.onnx").stat().st_size


def test_a_model_that_does_not_fail(enginesmith, tmp_path):
    chain(tmp_path / "whole.onnx")
    answer = enginesmith("bisect", "whole.onnx", "--fails", "run in onnxruntime", "--out", "small.onnx")
    assert answer.status == 1
    assert "doesn't fail" in answer.out
    assert not (tmp_path / "small.onnx").exists()


def test_a_crash_is_the_failure_that_is_looked_for(enginesmith, tmp_path):
    chain(tmp_path / "whole.onnx", length=3, bad=1)
    condition = tool(tmp_path, "os.abort() if bad else sys.exit(0)")
    answer = enginesmith("bisect", "whole.onnx", "--fails", condition, "--json")
    said = json.loads(answer.out)
    assert answer.status == 0
    assert said["ops"] == {"NonZero": 1}
    assert "SIGABRT" in said["failure"]["message"]


def test_external_data_and_unsorted_nodes(enginesmith, tmp_path):
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.random((64, 64), np.float32), f"w{i}") for i in range(3)]
    nodes = [
        node("MatMul", ["b", "w2"], ["y"], name="third"),
        node("MatMul", ["x", "w0"], ["a"], name="first"),
        node("MatMul", ["a", "w1"], ["b"], name="second"),
        node("NonZero", ["b"], ["places"], name="the culprit"),
    ]
    (tmp_path / "models").mkdir()
    outputs = [value("y", (2, 64)), value("places", (2, "n"), TensorProto.INT64)]
    path = tmp_path / "models" / "whole.onnx"
    save(
        path,
        nodes,
        [value("x", (2, 64))],
        outputs,
        weights,
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
    )
    # TensorRT sorts nodes by itself
    answer = enginesmith("bisect", "models/whole.onnx", "--fails", "parse on tensorrt-rtx", "--json")
    assert answer.status == 0, answer
    assert json.loads(answer.out)["names"] == ["the culprit"]


def test_a_failure_of_the_file_and_not_of_a_node(enginesmith, tmp_path):
    nodes = [node("Relu", ["a"], ["y"]), node("Abs", ["x"], ["a"])]
    save(tmp_path / "unsorted.onnx", nodes, [value("x")], [value("y")])
    answer = enginesmith("bisect", "unsorted.onnx", "--fails", "check")
    assert answer.status == 1
    assert "in how the file is written" in answer.out


def out_of_range(path: Path, shape) -> Path:
    """A Gather that fails in every run, behind a Relu."""
    index = numpy_helper.from_array(np.array([99]), "i")
    nodes = [node("Relu", ["x"], ["a"]), node("Gather", ["a", "i"], ["y"], name="the culprit", axis=1)]
    return save(path, nodes, [value("x", shape)], [value("y", (shape[0], 1, *shape[2:]))], [index])


def test_dynamic_inputs(enginesmith, tmp_path):
    out_of_range(tmp_path / "batch.onnx", ("n", 3, 8, 8))
    answer = enginesmith("bisect", "batch.onnx", "--fails", "run in onnxruntime", "--json")
    assert json.loads(answer.out)["names"] == ["the culprit"]
    out_of_range(tmp_path / "free.onnx", ("n", 3, "h", "w"))
    answer = enginesmith("bisect", "free.onnx", "--fails", "run in onnxruntime")
    assert (answer.status, answer.err.count("\n")) == (2, 1)
    assert "input x has dynamic dimensions (nx3xhxw)" in answer.err
    answer = enginesmith("bisect", "free.onnx", "--fails", "run in onnxruntime", "--shape", "1x3x8x8")
    assert answer.status == 0


def test_a_range_of_shapes(enginesmith, tmp_path):
    chain(tmp_path / "whole.onnx", length=3, bad=1, shape=("n", 3, 8, 8))
    answer = enginesmith(
        "bisect", "whole.onnx", "--fails", "build on tensorrt-rtx", "--shape", "x:1..2..4x3x8x8", "--json"
    )
    assert json.loads(answer.out)["names"] == ["the culprit"]


def test_the_time_is_over_and_the_best_is_saved(enginesmith, tmp_path, monkeypatch):
    chain(tmp_path / "whole.onnx", length=200, bad=3)
    fails = Judge.fails

    def hurried(self, model, **how):
        if self.tests == 3:
            self.deadline = 0
        return fails(self, model, **how)

    monkeypatch.setattr(Judge, "fails", hurried)
    answer = enginesmith("bisect", "whole.onnx", "--fails", tool(tmp_path, "sys.exit(bad)"), "--json")
    said = json.loads(answer.out)
    assert answer.status == 0
    assert (said["finished"], said["confirmed"], said["tests"]) == (False, True, 3)
    assert 1 < said["nodes_after"] < 201
    assert "NonZero" in said["ops"]
    assert (tmp_path / "whole-reduced.onnx").exists()


def test_no_time_for_the_whole_model(enginesmith, tmp_path):
    chain(tmp_path / "whole.onnx", length=3, bad=1)
    answer = enginesmith("bisect", "whole.onnx", "--fails", tool(tmp_path, "time.sleep(60)"), "--time", "1")
    assert answer.status == 2
    assert "1 s are not enough to test the whole model" in answer.err


def test_ctrl_c_saves_the_best(tmp_path, shared_store):
    chain(tmp_path / "whole.onnx", length=200, bad=3)
    log = tmp_path / "log"
    condition = tool(tmp_path, f"open({str(log)!r}, 'a').write('x'); time.sleep(0.3); sys.exit(bad)")
    with CommandLine(tmp_path, shared_store).start("bisect", "whole.onnx", "--fails", condition) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (log.exists() and len(log.read_text()) >= 5):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "a smaller model may exist" in out
    left = onnx.load(tmp_path / "whole-reduced.onnx")
    assert 1 < len(left.graph.node) < 201
    assert "the culprit" in [n.name for n in left.graph.node]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.onnx", "--fails", "check"], ["no file nowhere.onnx"]),
        (["text.onnx", "--fails", "check"], ["is no ONNX file", "text file"]),
        (["good.onnx", "--fails", "chekc"], ["unknown condition 'chekc'", "did you mean 'check'"]),
        (["good.onnx", "--fails", "build on openvino"], ["unknown backend 'openvino'"]),
        (["good.onnx", "--fails", "build on tensorrt"], ["backend tensorrt can't be asked here"]),
        (["good.onnx", "--fails", "command: ls"], ["needs {}"]),
        (["good.onnx", "--fails", "command: /no/such/tool {}"], ["can't run the command '/no/such/tool'"]),
        (["good.onnx"], ["--fails CONDITION", "--diverges"]),
        (["good.onnx", "--fails", "check", "--diverges"], ["one of --fails CONDITION"]),
        (["good.onnx", "--fails", "check", "--stages", "a,b"], ["--stages goes with --diverges"]),
        (["good.onnx", "--fails", "check", "--out", "good.onnx"], ["is the model itself"]),
        (["good.onnx", "--fails", "check", "--out", "no/folder/x.onnx"], ["can't write no/folder/x.onnx", "--out"]),
        (["good.onnx", "--fails", "check", "--shape", "z:1x3x8x8"], ["has no input 'z'; it has x"]),
        (["good.onnx", "--fails", "check", "--shape", "x:1x3x9x9"], ["the shape given for x doesn't fit"]),
        (["cyclic.onnx", "--fails", "check"], ["cyclic.onnx: the graph has a cycle", "(Add a)", "cut it"]),
        (["data.onnx", "--fails", "check"], ["gone.bin", "missing"]),
    ],
)
def test_bad_requests(enginesmith, tmp_path, arguments, words):
    chain(tmp_path / "good.onnx", length=2, bad=1)
    (tmp_path / "text.onnx").write_text("This is not the graph that you are looking for.\n")
    save(
        tmp_path / "cyclic.onnx",
        [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])],
        [value("x")],
        [value("b")],
    )
    weight = numpy_helper.from_array(np.ones((8, 8), np.float32), "w")
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    save(
        tmp_path / "data.onnx",
        nodes,
        [value("x")],
        [value("y")],
        [weight],
        save_as_external_data=True,
        location="gone.bin",
        size_threshold=0,
    )
    (tmp_path / "gone.bin").unlink()
    answer = enginesmith("bisect", *arguments)
    assert answer.status == 2, answer
    (line,) = answer.err.splitlines()
    for word in words:
        assert word in line
    assert not list(tmp_path.glob("*-reduced.onnx"))
