"""The plug-in of `examples/openvino_backend`, installed as its users install it, beside this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

pytest.importorskip("openvino")

PLUGIN = Path(__file__).parents[2] / "examples" / "openvino_backend"
REFUSED = """<ir_version: 10, opset_import: ["" : 18, "my.ops" : 1]> main (float[4] x) => (float[4] y) {
    [wobble] a = my.ops.Wobble (x)
    [relu] y = Relu (a)
}"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it is installed in. pip builds beside the sources: it gets a copy of them."""
    folder = tmp_path_factory.mktemp("plugin")
    sources = folder / "sources"
    sources.mkdir()
    for path in PLUGIN.iterdir():
        if path.is_file():
            (sources / path.name).write_bytes(path.read_bytes())
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--target", str(folder / "site"))
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, str(sources)], check=True)
    return folder / "site"


@pytest.fixture
def enginesmith(plugin: Path, tmp_path: Path):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "enginesmith", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(plugin), "ENGINESMITH_STORE": str(tmp_path / "store")}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


def test_builds_compares_and_measures_lenet(enginesmith, tmp_path):
    done = enginesmith("build", "lenet", "--backend", "openvino", "--out", "out", "--measure", "0.2")
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    (engine,) = manifest["engines"]
    assert (engine["backend"], engine["target"], engine["verified"]) == ("openvino", "native", "yes")
    assert engine["latency"]["runs"] >= 3
    assert {path.name for path in (tmp_path / "out" / "openvino_native").iterdir()} >= {"model.xml", "model.bin"}
    built = next(stage for stage in manifest["stages"] if stage["id"] == "compile openvino native")
    assert built["tools"].keys() >= {"openvino", "enginesmith-openvino"}


def test_is_known_where_backends_are_listed(enginesmith):
    told = json.loads(enginesmith("env", "--json").stdout)
    assert "openvino" in json.dumps(told)
    done = enginesmith("build", "lenet", "--backend", "openvino", "--target", "sm_89")
    assert done.returncode == 2
    assert "unknown target of openvino 'sm_89'; known: native" in done.stderr


def test_doctor_asks_it_for_every_node(enginesmith, tmp_path):
    onnx.save(onnx.parser.parse_model(REFUSED), tmp_path / "refused.onnx")
    done = enginesmith("doctor", "refused.onnx", "--for", "openvino")
    assert done.returncode == 1
    assert "my.ops::Wobble" in done.stdout
    assert "No conversion rule found" in done.stdout


def test_a_refusal_names_the_node(enginesmith, tmp_path):
    """Nothing is on record about it, so that there are no rules and no repairs."""
    text = '<ir_version: 10, opset_import: ["" : 18]> main (float[3, 3] x) => (float y) { [volume] y = Det (x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "det.onnx")
    done = enginesmith("build", "det.onnx", "--backend", "openvino", "--out", "out", "--no-simplify")
    assert done.returncode == 1, done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    compiled = next(stage for stage in manifest["stages"] if stage["id"] == "compile openvino native")
    assert compiled["error"].startswith("openvino refuses 1 node: Det")
    assert [finding["node"] for finding in compiled["facts"]["findings"]] == ["volume"]


def test_a_range_of_batches_runs_at_all_of_them(enginesmith, tmp_path):
    # OpenVINO's Relu makes 0 of NaN, which is told
    graph = "(float[N, 3, 8, 8] x) => (float[N, 3, 8, 8] y) { y = Relu (x) }"
    onnx.save(
        onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> main {graph}'), tmp_path / "dynamic.onnx"
    )
    arguments = ("--backend", "openvino", "--shape", "x:1..2..4x3x8x8", "--out", "out", "--measure", "0")
    done = enginesmith("build", "dynamic.onnx", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    compared = next(stage for stage in manifest["stages"] if stage["id"] == "compare openvino native")
    batches = {sample["shapes"]["x"][0] for sample in compared["facts"]["comparison"]["samples"]}
    assert {1, 2, 4} <= batches
