"""The order of simplifiers, what makes one of them fail, and that a result which differs is not taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from stages import simplify

from enginesmith.converters.stages import simplify as simplify_module

FLOAT = TensorProto.FLOAT
tensor = helper.make_tensor_value_info
node = helper.make_node

COPY = "import sys, shutil; shutil.copyfile(sys.argv[1], sys.argv[2])"


def constant(name: str, values: object, dtype: str = "float32") -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y = relu(x) + (1 + 2), with an Identity: three nodes too many."""
    nodes = [
        node("Add", ["one", "two"], ["three"]),
        node("Identity", ["x"], ["same"]),
        node("Relu", ["same"], ["r"]),
        node("Add", ["r", "three"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [tensor("x", FLOAT, ["n", 4])],
        [tensor("y", FLOAT, ["n", 4])],
        [constant("one", [1.0] * 4), constant("two", [2.0] * 4)],
    )
    return write(tmp_path / "model", graph)


def write(folder: Path, graph: onnx.GraphProto, **how: object) -> Path:
    folder.mkdir()
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(content, str(folder / "model.onnx"), **how)
    return folder


def tools(monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    monkeypatch.setattr(simplify_module, "TOOLS", scripts)


def edit(code: str) -> str:
    """A tool that loads the model, runs `code` on it, and saves it."""
    return f"import sys, onnx; m = onnx.load(sys.argv[1])\n{code}\nonnx.save(m, sys.argv[2])"


def test_onnxsim(tmp_path: Path, model: Path) -> None:
    facts = simplify(tmp_path / "out", model, "x:1..2..8x4")
    assert [(attempt.tool, attempt.error) for attempt in facts.attempts] == [("onnxsim", "")]
    assert facts.ops == {"Relu": 1, "Add": 1}
    assert facts.note == "onnxsim, 4 to 2 nodes"
    assert facts.inputs[0].shape == ["n", 4], "the batch stays dynamic"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.onnx"]


def test_onnxslim_after_onnxsim_failed(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = "import sys; open(sys.argv[2], 'w').write('half'); raise ValueError('Nodes must be topologically sorted')"
    monkeypatch.setitem(simplify_module.TOOLS, "onnxsim", failing)
    facts = simplify(tmp_path / "out", model, "x:1..2..8x4")
    assert [(attempt.tool, attempt.error) for attempt in facts.attempts] == [
        ("onnxsim", "ValueError: Nodes must be topologically sorted"),
        ("onnxslim", ""),
    ]
    assert facts.nodes == 2
    assert not facts.warnings


DEFECTS = {
    "slow": ("import time; time.sleep(60)", "stopped after 1 s"),
    "crash": ("import os; os.abort()", r"it crashed \(signal 6\)"),
    "silent": ("import sys; sys.exit(3)", "exit status 3"),
    "nothing written": ("pass", "exit status 0"),
    "hungry": ("x = bytearray(40 * 2**30)", "MemoryError"),
    "rubbish": ("import sys; open(sys.argv[2], 'wb').write(b'\\x08\\xff\\xff')", "the result can't be used"),
    "no text": ("import sys; sys.stderr.buffer.write(b'\\xff\\xfe'); sys.exit(1)", "\N{REPLACEMENT CHARACTER}"),
    "new domain": (
        edit("m.opset_import.add(domain='com.microsoft', version=1); m.graph.node[2].domain = 'com.microsoft'"),
        "operator domain com.microsoft, which the model did not",
    ),
    "other values": (
        edit(
            "m.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(__import__('numpy').full(4, 1.1, 'f'), 'one'))"
        ),
        "the result gives other outputs than the model: sample 'random 0': output y differs by 1.0",
    ),
    "other output name": (
        edit("m.graph.node[3].output[0] = m.graph.output[0].name = 'z'"),
        "the result can't be used: the outputs y are gone; there are z",
    ),
    "fixed batch": (
        edit("m.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2"),
        "the result has other inputs than the model",
    ),
    "invalid graph": (edit("m.graph.node[3].input[0] = 'nowhere'"), "the result can't be used: .*nowhere"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_result_that_is_none(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, defect: str) -> None:
    """Each defect is recorded, and the next tool gets a clean folder."""
    script, message = DEFECTS[defect]
    tools(monkeypatch, bad=script, good=COPY)
    facts = simplify(tmp_path / "out", model, "x:1..2..8x4", seconds=1.0 if defect == "slow" else 60.0)
    bad, good = facts.attempts
    assert (bad.tool, good.tool, good.error) == ("bad", "good", "")
    import re

    assert re.search(message, bad.error), bad.error
    assert "\n" not in bad.error
    assert facts.note == "good, 4 to 4 nodes"


def test_rounding_is_no_difference(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "m.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(__import__('numpy').full(4, 1.000001, 'f'), 'one'))"
    tools(monkeypatch, nearly=edit(script))
    assert [attempt.error for attempt in simplify(tmp_path / "out", model, "x:2x4").attempts] == [""]


def test_no_tool_takes_it(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools(monkeypatch, one="raise ValueError('no')", two="import sys; open(sys.argv[2] + '.data', 'w'); sys.exit(1)")
    facts = simplify(tmp_path / "out", model, "x:1..2..8x4")
    assert [attempt.tool for attempt in facts.attempts] == ["one", "two"]
    assert all(attempt.error for attempt in facts.attempts)
    assert facts.note == "unsimplified"
    assert facts.warnings == ["no simplifier took the graph; it goes on as it was"]
    assert (tmp_path / "out" / "model.onnx").read_bytes() == (model / "model.onnx").read_bytes()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.onnx"]


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Weights in model.onnx.data."""
    weights = np.random.default_rng(0).standard_normal((64, 64))
    graph = helper.make_graph(
        [node("Identity", ["x"], ["same"]), node("MatMul", ["same", "w"], ["y"])],
        "test",
        [tensor("x", FLOAT, [2, 64])],
        [tensor("y", FLOAT, [2, 64])],
        [constant("w", weights)],
    )
    how = {"save_as_external_data": True, "location": "model.onnx.data", "size_threshold": 1024}
    return write(tmp_path / "large", graph, **how)


@pytest.mark.parametrize("tool", ["onnxsim", "onnxslim"])
def test_external_data_stays_external(tmp_path: Path, large: Path, monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    tools(monkeypatch, **{tool: simplify_module.TOOLS[tool]})
    facts = simplify(tmp_path / "out", large, "x:2x64")
    assert [attempt.error for attempt in facts.attempts] == [""]
    assert facts.nodes == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.onnx", "model.onnx.data"}
    assert (tmp_path / "out" / "model.onnx").stat().st_size < 1024


def test_external_data_goes_on_unsimplified(tmp_path: Path, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools(monkeypatch, none="raise ValueError")
    simplify(tmp_path / "out", large, "x:2x64")
    for name in ("model.onnx", "model.onnx.data"):
        assert (tmp_path / "out" / name).read_bytes() == (large / name).read_bytes()


def test_a_file_of_the_users_does_not_shadow_onnx(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnx.py").write_text("raise ImportError('the wrong onnx')")
    monkeypatch.chdir(tmp_path)
    assert not simplify(tmp_path / "out", model, "x:2x4").attempts[0].error


def test_a_lower_limit_of_the_machine_is_kept(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ulimit -v` may be below ours, which can't be raised."""
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**33, 2**33))
    tools(monkeypatch, print="import resource, sys; sys.exit(str(resource.getrlimit(resource.RLIMIT_AS)[0]))")
    (attempt,) = simplify(tmp_path / "out", model, "x:2x4").attempts
    assert attempt.error == str(2**33)


def test_detections_are_matched_not_compared_by_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A simplifier may swap equal scores; a detector's graph is judged like one."""
    boxes = np.array([[[0, 0, 10, 10], [20, 20, 40, 40]]], np.float32)
    graph = helper.make_graph(
        [
            node("ReduceSum", ["images"], ["sum"], keepdims=0),
            node("Mul", ["sum", "zero"], ["nothing"]),
            *(node("Add", [f"{name}_", "nothing"], [name]) for name in ("boxes", "scores", "labels")),
        ],
        "test",
        [tensor("images", FLOAT, [1, 3, 32, 32])],
        [tensor("boxes", FLOAT, [1, 2, 4]), tensor("scores", FLOAT, [1, 2]), tensor("labels", FLOAT, [1, 2])],
        [
            constant("zero", 0.0),
            constant("boxes_", boxes),
            constant("scores_", [[0.5, 0.5]]),
            constant("labels_", [[1, 2]]),
        ],
    )
    swap = (
        "import numpy as np\nfor t in m.graph.initializer:\n    if t.name.endswith('_'):\n"
        "        t.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(onnx.numpy_helper.to_array(t)[:, ::-1]), t.name))"
    )
    tools(monkeypatch, swap=edit(swap))
    model = write(tmp_path / "model", graph)
    facts = simplify(tmp_path / "out", model, "images:1x3x32x32", task="detection")
    assert [attempt.error for attempt in facts.attempts] == [""]
    facts = simplify(tmp_path / "tensor", model, "images:1x3x32x32")
    assert "gives other outputs" in facts.attempts[0].error
