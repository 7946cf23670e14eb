"""`enginesmith bisect RUN --diverges` on a real run, with divergences planted in its artifacts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from running import Built

from enginesmith.converters.core.files import record_files
from enginesmith.pipeline.job.entry import ENTRY, sealed, unsealed
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.job.store import Store

MODEL = "model.onnx"


@pytest.fixture
def run(lenet: Built, shared_store: Path, tmp_path: Path) -> Path:
    """The folder of a finished build of LeNet, and `store` beside it with its artifacts: both may be spoilt."""
    manifest = lenet.manifest
    folder, store = tmp_path / "run", tmp_path / "store"
    folder.mkdir()
    shutil.copy(lenet.folder / "manifest.json", folder)
    for record in manifest.stages:
        if record.key:
            place = Path("entries") / record.key[:2] / record.key
            shutil.copytree(shared_store / place, store / place)
    return folder


def manifest_of(run: Path) -> Manifest:
    return Manifest.model_validate_json((run / "manifest.json").read_bytes())


def spoil(run: Path, stage: str, layer: int) -> str:
    """Change the weights of the convolution number `layer` in a stage's graph; its name."""
    store = Store(run.parent / "store")
    key = next(record.key for record in manifest_of(run).stages if record.id == stage)
    path = store.files(key) / MODEL
    model = onnx.load(path)
    conv = [node for node in model.graph.node if node.op_type == "Conv"][layer]
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == conv.input[1])
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.02), weight.name))
    onnx.save(model, path)
    record = path.parent.parent / ENTRY
    entry = unsealed(record.read_bytes())
    assert entry is not None
    record.write_bytes(sealed(entry.model_copy(update={"files": record_files(path.parent)})))
    return str(conv.name)


def bisect(enginesmith, run: Path, *arguments: str):
    return enginesmith("bisect", str(run), "--diverges", "--store", str(run.parent / "store"), *arguments)


def test_a_layer_spoilt_by_the_simplifier_is_found_by_name(enginesmith, run):
    name = spoil(run, "simplify", 1)
    answer = bisect(enginesmith, run, "--stages", "export,simplify")
    assert answer.status == 0, answer
    assert f"first at {name}" in answer.out
    assert "starts here" in answer.out
    (found,) = json.loads((run / "divergence.json").read_text())
    assert found["first"]["node"] == name
    assert [layer["node"] for layer in found["origins"]] == [name]
    agreeing = [layer for layer in found["layers"] if layer["excess"] <= 1]
    assert len(agreeing) >= 3
    assert all(layer["place"] < found["first"]["place"] for layer in agreeing)
    page = (run / "divergence.html").read_text()
    assert "Plotly.newPlot" in page
    assert name in page
    assert "<script src=" not in page.replace("'", '"')


def test_a_layer_spoilt_by_the_export_is_found_as_a_module(enginesmith, run):
    """PyTorch's second convolution is `3` in the Sequential, which the export wraps."""
    spoil(run, "export", 1)
    answer = bisect(enginesmith, run, "--json")
    assert answer.status == 0, answer
    (found,) = json.loads(answer.out)
    assert (found["expected"], found["found"]) == ("torch", "export")
    assert found["first"]["expected"] == "inner.3"
    assert found["first"]["op"] == "Conv2d"
    assert [layer["expected"] for layer in found["origins"]] == ["inner.3"]


def test_a_run_in_which_all_agrees(enginesmith, run):
    """All neighbours are compared, TVM's module by its outputs."""
    answer = bisect(enginesmith, run)
    assert answer.status == 1, answer
    for line in ("agree torch against export", "agree export against simplify", "agree simplify against compile tvm"):
        assert line in answer.out
    assert "no longer what it was" not in answer.out


def test_tvm_is_asked_for_ever_shorter_graphs(enginesmith, run, monkeypatch):
    """A tolerance of nothing: rounding then counts, and its first layer is found by bisection."""
    from enginesmith.converters.graphs import tolerances

    nothing = replace(tolerances.TOLERANCES["fp32"], scale=0.0, relative=1e-12)
    monkeypatch.setitem(tolerances.TOLERANCES, "fp32", nothing)
    answer = bisect(enginesmith, run, "--stages", "simplify,tvm", "--json", "--time", "1")
    (found,) = json.loads(answer.out)
    assert answer.status == 0
    assert found["trials"][0]["change"] == "", "first the engine as it was"
    assert not found["workaround"]
    assert any("give more --time" in note for note in found["notes"])
    assert found["first"]["op"] in ("Conv", "Gemm")
    assert found["compared"] > 3


def test_the_pair_that_failed_in_the_build_comes_first(enginesmith, run):
    name = spoil(run, "simplify", 0)
    manifest = manifest_of(run)
    record = next(record for record in manifest.stages if record.id == "compare simplify")
    assert record.comparison is not None
    record.comparison.verdict, record.status = "fail", "failed"
    manifest.write(run / "manifest.json")
    answer = bisect(enginesmith, run, "--out", str(run.parent / "elsewhere"), "--json")
    assert answer.status == 0
    (found,) = json.loads(answer.out)
    assert (found["expected"], found["found"], found["first"]["node"]) == ("export", "simplify", name)
    assert (run.parent / "elsewhere" / "divergence.html").is_file()
    assert not (run / "divergence.html").exists()


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ("export", ["two stages", "torch, export, simplify"]),
        ("export,export", ["two stages"]),
        ("export,simplfy", ["unknown stage 'simplfy'", "did you mean simplify"]),
        ("torch,simplify", ["torch and simplify", "no tensors in common"]),
    ],
)
def test_bad_stages(enginesmith, run, stages, words):
    refused(bisect(enginesmith, run, "--stages", stages), *words)


def refused(answer, *words: str) -> None:
    assert answer.status == 2, answer
    (line,) = answer.err.splitlines()
    for word in words:
        assert word in line


def test_folders_that_are_no_run(enginesmith, run, tmp_path):
    refused(bisect(enginesmith, tmp_path / "nowhere"), "no build's output folder", "manifest.json")
    (run / "manifest.json").write_text('{"schema_version": 1}')
    refused(bisect(enginesmith, run), "is no manifest of this version")
    (run / "manifest.json").write_text("not even JSON")
    refused(bisect(enginesmith, run), "is no manifest of this version")


def test_artifacts_that_were_collected(enginesmith, run):
    store = Store(run.parent / "store")
    key = next(record.key for record in manifest_of(run).stages if record.id == "simplify")
    store.remove(key)
    refused(
        bisect(enginesmith, run), "the artifact of simplify is not in the store", "build again: enginesmith build lenet"
    )


def test_a_model_that_is_gone_does_not_hide_the_rest(enginesmith, run):
    name = spoil(run, "simplify", 1)
    manifest = manifest_of(run)
    manifest.recipe["model"] = "nowhere.py:factory"
    manifest.write(run / "manifest.json")
    answer = bisect(enginesmith, run)
    assert answer.status == 0, answer
    assert "not compared torch against export" in answer.out
    assert "nowhere.py" in answer.out
    assert f"first at {name}" in answer.out
    refused(bisect(enginesmith, run, "--stages", "torch,export"), "nowhere.py")


def test_a_process_that_dies_is_one_line(enginesmith, run, monkeypatch):
    from enginesmith.converters.core.isolated import Died, Isolated

    def die(self, *arguments, timeout):
        raise Died("the tool crashed (SIGSEGV)")

    monkeypatch.setattr(Isolated, "call", die)
    answer = bisect(enginesmith, run, "--stages", "export,simplify")
    assert answer.status == 1
    assert answer.err == (
        "enginesmith: export and simplify can't be compared tensor by tensor: the tool crashed (SIGSEGV)\n"
    )
