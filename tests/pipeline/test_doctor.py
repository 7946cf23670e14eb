"""`enginesmith doctor`: its page, its repairs, and files that nobody should give it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import Answer

from enginesmith.converters.backends.examination import EXAMINE, Examination
from enginesmith.converters.core.isolated import Died, Isolated
from enginesmith.pipeline.job import doctor as job

Doctor = Callable[..., Answer]

RESIZED = """
<ir_version: 10, opset_import: ["" : 18]>
resized (float[1, 3, 8, 8] x) => (float[1, 3, 16, 16] z) <float[4] scales = {1, 1, 2, 2}> {
  y = Resize <mode = "linear", antialias = 1> (x, , scales)
  z = Celu <alpha = 2.0> (y)
}
"""
PLAIN = """
<ir_version: 10, opset_import: ["" : 18]>
plain (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) { y = Relu (x) }
"""
HOPELESS = """
<ir_version: 10, opset_import: ["" : 18, "acme" : 1]>
hopeless (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) { y = acme.Magic (x) }
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def model(text: str) -> str:
        onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
        return str(tmp_path / "model.onnx")

    return model


def test_a_clean_model(enginesmith: Doctor, write: Callable[[str], str]) -> None:
    readable = PLAIN.replace('"" : 18', '"" : 17')  # the latest opset that TensorRT 8.6 reads
    answer = enginesmith("doctor", write(readable), "--for", "tensorrt-rtx,tvm,tensorrt=8.6")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.count("no findings") == 3
    assert answer.out.count("accepted by its own parser and a trial build") == 2
    assert "tensorrt 8.6 is not installed" in answer.out


def test_a_platform_stands_for_the_tensorrt_that_it_ships(enginesmith: Doctor, write: Callable[[str], str]) -> None:
    answer = enginesmith("doctor", write(RESIZED), "--for", "jetpack=4.6")
    assert answer.status == 1
    assert "tensorrt 8.0.1 (which JetPack 4.6 ships) is not installed" in answer.out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("jetpack=99.1", "which TensorRT JetPack 99.1 ships is not on record; known are 4.2.2"),
        ("drive", "drive: give a release"),
        ("jetpak=6.1", "jetpack"),
    ],
)
def test_platforms_that_are_not_known(enginesmith: Doctor, write: Callable[[str], str], given: str, said: str) -> None:
    answer = enginesmith("doctor", write(PLAIN), "--for", given)
    assert answer.status == 2
    assert said in answer.err


HALF_ATTENTION = """
<ir_version: 10, opset_import: ["" : 18]>
attention (float16[1, 2, 8, 4] q, float16[1, 2, 4, 8] k, float16[1, 2, 8, 4] v) => (float16[1, 2, 8, 4] y) {
    s = MatMul (q, k)
    w = Softmax <axis = -1> (s)
    y = MatMul (w, v)
}
"""


@pytest.mark.parametrize(("gpu", "warned"), [("", True), ("@sm_120", True), ("@12.0", True), ("@SM89", False)])
def test_what_is_known_of_another_gpu_is_left_out(
    enginesmith: Doctor, write: Callable[[str], str], gpu: str, warned: bool
) -> None:
    answer = enginesmith("doctor", write(HALF_ATTENTION), "--for", f"tensorrt=10.16{gpu}")
    assert answer.status == 0
    assert ("tensorrt-wrong-attention-sm-120" in answer.out) == warned


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("tvm@sm_89", "it runs on no GPU"),
        ("tensorrt=10.3@", "give a compute capability, such as tensorrt=10.3@sm_89"),
        ("tensorrt@ada", "give a compute capability"),
        ("tensorrt-rtx@sm_10", "unknown target of tensorrt-rtx"),
    ],
)
def test_a_gpu_that_is_none(enginesmith: Doctor, write: Callable[[str], str], asked: str, says: str) -> None:
    answer = enginesmith("doctor", write(PLAIN), "--for", asked)
    assert answer.status == 2
    assert says in answer.err


def test_findings_are_confirmed_by_the_backend_itself(enginesmith: Doctor, write: Callable[[str], str]) -> None:
    answer = enginesmith("doctor", write(RESIZED), "--for", "tensorrt-rtx", "--json")
    assert answer.status == 1
    examination = Examination.model_validate(
        {k: v for k, v in json.loads(answer.out).items() if k in Examination.model_fields}
    )
    (report,) = examination.targets
    assert report.trial == "refused"
    (found,) = report.errors
    assert (found.finding.op, found.finding.node, found.verdict) == ("Resize", "y", "confirmed")
    assert "ntialias" in found.said
    assert found.finding.repair_id == "resize-by-matrix"


DYNAMIC = """
<ir_version: 10, opset_import: ["" : 17]>
repeated (float[b, 3] x, float[n, 2] points) => (float[m, 3] y) <int64[1] zero = {0}, int64[1] one = {1}> {
  size = Shape (points)
  count = Gather (size, zero)
  repeats = Concat <axis = 0> (count, one)
  y = Tile (x, repeats)
}
"""


def test_fixed_sizes_of_a_dynamic_model(enginesmith: Doctor, write: Callable[[str], str]) -> None:
    """They are written into the graph, which is looked at as a build would take it."""
    path = write(DYNAMIC)
    answer = enginesmith("doctor", path, "--for", "tensorrt-rtx,tvm", "--shape", "x:2x3,points:4x2")
    assert (answer.status, answer.err) == (0, "")
    assert f"{path}: 1 nodes" in answer.out
    assert answer.out.count("accepted by its own parser and a trial build") == 2


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ("x:2x3x4", "the shape given for x doesn't fit the model's bx3"),
        ("2x3", "each needs its name"),
    ],
)
def test_a_shape_that_does_not_fit(enginesmith: Doctor, write: Callable[[str], str], shape: str, says: str) -> None:
    answer = enginesmith("doctor", write(DYNAMIC), "--for", "tvm", "--shape", shape)
    assert answer.status == 2
    assert says in answer.err


def test_several_files(enginesmith: Doctor, tmp_path: Path) -> None:
    for name, text in {"plain": PLAIN, "resized": RESIZED}.items():
        onnx.save(onnx.parser.parse_model(text), tmp_path / f"{name}.onnx")
    asked = ("doctor", "plain.onnx", "resized.onnx", "--for", "tensorrt-rtx", "--no-trial")
    shown = enginesmith(*asked)
    assert shown.status == 1, "one of them has findings"
    assert shown.out.index("plain.onnx: 1 nodes") < shown.out.index("resized.onnx: 2 nodes")
    told = json.loads(enginesmith(*asked, "--json").out)
    assert [(one["path"], one["clean"]) for one in told] == [("plain.onnx", True), ("resized.onnx", False)]
    refused = enginesmith(*asked, "--fix", "fixed.onnx")
    assert (refused.status, refused.err) == (2, "enginesmith: --fix writes one graph: give one model\n")


def test_without_a_trial_findings_are_predictions(enginesmith: Doctor, write: Callable[[str], str]) -> None:
    answer = enginesmith("doctor", write(RESIZED), "--for", "tensorrt-rtx", "--no-trial")
    assert answer.status == 1
    assert "predicted" in answer.out
    assert "confirmed" not in answer.out


def test_an_older_version_refuses_more_and_says_which_accepts(enginesmith: Doctor, write: Callable[[str], str]) -> None:
    text = RESIZED.replace("Celu <alpha = 2.0>", "Hardmax <axis = 1>")
    answer = enginesmith("doctor", write(text), "--for", "tensorrt=7.2,tensorrt=8.6", "--json")
    old, new = json.loads(answer.out)["targets"]
    assert {found["finding"]["op"] for found in old["findings"]} >= {"Resize"}
    assert len(old["findings"]) >= len(new["findings"])
    answer = enginesmith("doctor", write(text), "--for", "tensorrt=7.2")
    assert answer.status == 1


def test_a_version_that_no_table_knows_is_noted(enginesmith: Doctor, write: Callable[[str], str]) -> None:
    answer = enginesmith("doctor", write(RESIZED), "--for", "tensorrt=99.1", "--no-trial", "--json")
    (report,) = json.loads(answer.out)["targets"]
    assert report["version"] == "99.1"
    assert "99.1" in report["note"]


def test_fix_writes_a_graph_that_is_accepted_and_computes_the_same(
    enginesmith: Doctor, write: Callable[[str], str], tmp_path: Path
) -> None:
    import onnxruntime as ort

    model, fixed = write(RESIZED), tmp_path / "fixed.onnx"
    answer = enginesmith("doctor", model, "--for", "tensorrt-rtx,tvm", "--fix", str(fixed))
    assert answer.status == 0, answer.out
    assert "the whole graph agrees" in answer.out
    assert enginesmith("doctor", str(fixed), "--for", "tensorrt-rtx,tvm").status == 0
    feed = {"x": np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)}
    before, after = (ort.InferenceSession(path).run(None, feed)[0] for path in (model, str(fixed)))
    np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-5)


def test_fix_of_a_clean_model_writes_nothing(enginesmith: Doctor, write: Callable[[str], str], tmp_path: Path) -> None:
    answer = enginesmith("doctor", write(PLAIN), "--for", "tensorrt-rtx", "--fix", str(tmp_path / "fixed.onnx"))
    assert answer.status == 0
    assert "nothing was repaired" in answer.out
    assert not (tmp_path / "fixed.onnx").exists()


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"y": np.zeros((1, 3, 8, 8), np.float32)}, "the model's inputs are x"),
        ({"x": np.zeros((1, 3, 9, 9), np.float32)}, "can't be run on inputs.npz"),
        (None, "is no .npz file"),
    ],
)
def test_inputs_that_would_prove_nothing_are_refused(
    enginesmith: Doctor, write: Callable[[str], str], tmp_path: Path, arrays: dict[str, np.ndarray] | None, says: str
) -> None:
    write(RESIZED)
    if arrays is None:
        (tmp_path / "inputs.npz").write_bytes(b"no archive")
    else:
        np.savez(tmp_path / "inputs.npz", **arrays)
    answer = enginesmith(
        "doctor", "model.onnx", "--for", "tvm", "--no-trial", "--fix", "fixed.onnx", "--inputs", "inputs.npz"
    )
    assert answer.status == 2
    assert says in answer.err
    assert not (tmp_path / "fixed.onnx").exists()


def test_what_can_not_be_repaired_is_left_with_exit_1(
    enginesmith: Doctor, write: Callable[[str], str], tmp_path: Path
) -> None:
    answer = enginesmith("doctor", write(HOPELESS), "--for", "tensorrt-rtx,tvm", "--fix", str(tmp_path / "fixed.onnx"))
    assert answer.status == 1
    assert "acme::Magic" in answer.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.onnx"], "no file missing.onnx"),
        (["."], "is a folder"),
        (["model.onnx", "--for", "tensorflow"], "tensorrt"),
        (["model.onnx", "--for", "tensorrt=new"], "give a version"),
        (["model.onnx", "--fix", "model.onnx"], "would overwrite"),
        (["model.onnx", "--fix", "nowhere/fixed.onnx"], "no folder"),
        (["model.onnx", "--fix", "f.onnx", "--inputs", "none.npz"], "no file none.npz"),
        (["model.onnx", "--shape", "x:axb"], "x"),
        (["model.onnx", "--shape", "y:1x3x8x8", "--for", "tvm"], "the model has no input 'y'; it has x"),
        (["model.onnx", "--inputs", "model.onnx"], "give --fix"),
    ],
)
def test_bad_requests(enginesmith: Doctor, write: Callable[[str], str], arguments: list[str], says: str) -> None:
    write(RESIZED)
    answer = enginesmith("doctor", *arguments)
    assert answer.status == 2
    assert says in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_a_file_that_is_no_model_is_a_finding(enginesmith: Doctor, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x00\x01garbage" * 100)
    answer = enginesmith("doctor", "model.onnx", "--fix", "fixed.onnx")
    assert answer.status == 1
    assert "no ONNX file" in answer.out
    assert not (tmp_path / "fixed.onnx").exists()


def whole() -> bytes:
    text = """
<ir_version: 10, opset_import: ["" : 18]>
mixed (float[1, 3, 8, 8] x, bool c) => (float[1, 4, 8, 8] z, int64[k] n)
  <float[4, 3, 3, 3] w, float[4] b = {1, 2, 3, 4}> {
  y = Conv <pads = [1, 1, 1, 1]> (x, w, b)
  z = If (c) <then_branch = t () => (float[1, 4, 8, 8] a) { a = Relu (y) },
              else_branch = e () => (float[1, 4, 8, 8] d) { d = Celu (y) }>
  size = Shape (z)
  n = Gather (size, size)
}
"""
    model = onnx.parser.parse_model(text.replace("float[4, 3, 3, 3] w, ", ""))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w"))
    return bytes(model.SerializeToString())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_model_never_brings_it_down(data: st.DataObject, asked: Isolated, tmp_path: Path) -> None:
    content = bytearray(whole())
    for _ in range(data.draw(st.integers(1, 12))):
        place = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["set", "cut", "repeat", "drop"])):
            case "set":
                content[place] = data.draw(st.integers(0, 255))
            case "cut" if place:
                content = content[:place]
            case "repeat":
                content[place:place] = content[place : place + 30]
            case "drop":
                del content[place : place + data.draw(st.integers(1, 30))]
        if not content:
            content = bytearray(b"\0")
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(content))
    try:
        found = asked.call(EXAMINE, str(path), [("tensorrt-rtx", "1.7"), ("tvm", "0.27")], timeout=60)
    except Died as error:  # a crash inside onnx's own code, which the command line reports as a finding
        if "crashed" not in str(error):
            raise
    else:
        Examination.model_validate(found)


TRIALS = """
import os

def crash(*given): os.abort()
def exit(*given): os._exit(0)
def lacks(*given): raise ImportError("libnvinfer.so: cannot open shared object file")
def answers(*given): return []
"""


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        ("crash", "SIGABRT"),
        ("exit", "status 0"),
        ("lacks", "libnvinfer.so"),
        ("answers", ""),
    ],
)
def test_a_trial_without_an_answer_is_no_good_news(
    enginesmith: Doctor,
    write: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trial: str,
    words: str,
) -> None:
    """Of a model with which nothing is wrong: the rules alone would have exit status 0."""
    (tmp_path / "failing_trials.py").write_text(TRIALS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(job, "ASK", f"failing_trials:{trial}")
    model = write(PLAIN)
    answer = enginesmith("doctor", model, "--for", "tvm", "--json")
    (target,) = json.loads(answer.out)["targets"]
    if not words:
        assert (answer.status, target["trial"]) == (0, "accepted")
        return
    assert answer.status == 1
    assert target["trial"].startswith("failed: ")
    assert words in target["trial"]
    (found,) = target["findings"]
    assert found["verdict"] == "failed"
    assert found["finding"]["remedy"]
