"""What is built here is nobody else's business."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

ENGINESMITH = str(Path(sys.executable).with_name("enginesmith"))
SECRET = "hf_6b1f0c5e2d"
REPORTS = "import onnxruntime, time; time.sleep(0.2)"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"], "relu")],
        "g",
        [value("x", TensorProto.FLOAT, [1, 4])],
        [value("y", TensorProto.FLOAT, [1, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "home"


def run(home: Path, *command: str) -> None:
    """As a user does, who is no CI: ONNX Runtime is silent there by itself."""
    silent = ("CI", "TF_BUILD", "ORT_DISABLE_TELEMETRY", "DO_NOT_TRACK", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST")
    environment = {name: value for name, value in os.environ.items() if name not in silent}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "HF_TOKEN": SECRET}
    environment |= {"ENGINESMITH_STORE": str(home.parent / "store")}
    done = subprocess.run(command, cwd=home.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def left_by_telemetry(home: Path) -> list[Path]:
    """Its id of the machine, and its database of what is still to be sent."""
    return [path for path in home.rglob("*") if path.name in ("deviceid", "onnxruntime.db")]


def test_onnxruntime_reports_nothing_in_any_process(home):
    run(home, ENGINESMITH, "build", "model.onnx", "--backend", "tvm", "--measure", "0", "--out", "out")
    run(home, ENGINESMITH, "doctor", "model.onnx", "--for", "tvm", "--fix", "fixed.onnx")
    run(home, sys.executable, "-c", f"import enginesmith; {REPORTS}")
    assert not left_by_telemetry(home)


def test_the_test_would_see_a_report(home):
    run(home, sys.executable, "-c", REPORTS)
    if not left_by_telemetry(home):
        pytest.skip("this ONNX Runtime was built without telemetry")


def test_the_environment_is_in_no_file(home):
    run(home, ENGINESMITH, "build", "model.onnx", "--backend", "tvm", "--measure", "0", "--out", "out", "--verbose")
    files = [path for folder in ("out", "store") for path in (home.parent / folder).rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
