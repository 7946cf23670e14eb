"""`enginesmith compare`: builds by their manifests alone, builds and graphs that run, and what is none of these."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_onnx
from onnx import numpy_helper
from report_manifests import detector
from running import Answer, Built
from test_cli import HEAVY

from enginesmith.pipeline.job.contrast import Change, Contrast
from enginesmith.pipeline.job.manifest import Manifest

Command = Callable[..., Answer]
TENSORRT = "tensorrt sm_89"


def contrast_of(answer: Answer) -> Contrast:
    return Contrast.model_validate({k: v for k, v in json.loads(answer.out).items() if k != "differs"})


def upgraded() -> Manifest:
    """The same build with a newer TensorRT: fused otherwise, faster, a finding less and another one more."""
    build = detector(gpu=True).model_copy(deep=True)
    for stage in build.stages:
        if "tensorrt" in stage.tools:
            stage.tools["tensorrt"] = "10.14.1"
    compiled = next(stage for stage in build.stages if stage.id == f"compile {TENSORRT}")
    resized, dynamic = compiled.facts.findings
    new = resized.model_copy(update={"versions": ">=10.14", "op": "TopK", "node": "/rpn/TopK", "message": "too many"})
    compiled.facts.findings = [dynamic.model_copy(update={"versions": ">=10.14"}), new]
    engine = build.engines[1]
    assert engine.latency is not None
    faster = engine.latency.model_copy(update={"engine_ms": 2.2})
    layers = {"float16": 120, "float32": 17, "int32": 4}
    build.engines[1] = engine.model_copy(update={"layers_by_dtype": layers, "size": 80_000_000, "latency": faster})
    return build


@pytest.fixture
def compared(enginesmith: Command, tmp_path: Path) -> Callable[[Manifest, Manifest], tuple[Answer, Contrast]]:
    """Two manifests, with nothing else beside them."""

    def run(a: Manifest, b: Manifest) -> tuple[Answer, Contrast]:
        a.write(tmp_path / "a.json")
        b.write(tmp_path / "b.json")
        answer = enginesmith("compare", "a.json", "b.json", "--json")
        return answer, contrast_of(answer)

    return run


Compared = Callable[[Manifest, Manifest], tuple[Answer, Contrast]]


def test_what_the_upgrade_of_tensorrt_changed_is_told_from_two_manifests_alone(compared: Compared) -> None:
    answer, found = compared(detector(gpu=True), upgraded())
    assert found.tools == [Change(what="tensorrt", before="10.13.3", after="10.14.1")]
    assert [(change.what, change.before, change.after) for change in found.precision] == [
        (f"{TENSORRT}: layers float16", 151, 120),
        (f"{TENSORRT}: layers float32", 19, 17),
    ]
    assert [(change.what, change.after) for change in found.sizes] == [(TENSORRT, 80_000_000)]
    assert [(change.what, change.before, change.after, change.note) for change in found.latencies] == [
        (TENSORRT, 3.11, 2.2, "")
    ]
    told = {change.what.split(":")[1].strip(): (change.before, change.after) for change in found.findings}
    assert told == {"Resize /transform/Resize": ("info", None), "TopK /rpn/TopK": (None, "info")}
    assert any("nodes" in note for note in found.notes)
    assert any("outputs" in note for note in found.notes)
    assert answer.status == 0, "layers that are fused otherwise, time and size are no difference of what is computed"


def test_a_verdict_that_changed_matters(compared: Compared) -> None:
    broken = upgraded()
    broken.engines[1] = broken.engines[1].model_copy(update={"verified": "no", "verified_reason": "boxes differ"})
    answer, found = compared(detector(gpu=True), broken)
    assert answer.status == 1
    assert [(c.what, c.before, c.after) for c in found.verdicts] == [(f"{TENSORRT} verified", "yes", "no")]


def test_a_dtype_that_an_engine_has_no_more_matters(compared: Compared) -> None:
    wide = upgraded()
    wide.engines[1] = wide.engines[1].model_copy(update={"layers_by_dtype": {"float32": 140, "int32": 4}})
    answer, _ = compared(detector(gpu=True), wide)
    assert answer.status == 1


@pytest.mark.parametrize(
    ("machine", "reference", "load", "note"),
    [
        ({}, 1.1, 0.3, "within the noise: ONNX Runtime moved by 28%"),
        ({"gpu": "L4"}, 1.52, 0.3, "another machine"),
        ({}, 1.52, 9.0, "a busy machine: load 9.0"),
    ],
)
def test_a_latency_says_where_it_can_not_be_held_against_the_other(
    compared: Compared, machine: dict[str, str], reference: float, load: float, note: str
) -> None:
    other = upgraded()
    other.machine = other.machine.model_copy(update=machine)
    latency = other.engines[1].latency
    assert latency is not None
    moved = latency.model_copy(update={"engine_ms": 2.4, "onnxruntime_ms": reference, "load_before": load})
    other.engines[1] = other.engines[1].model_copy(update={"latency": moved})
    _, found = compared(detector(gpu=True), other)
    assert [change.note for change in found.latencies] == [note]


def test_an_engine_for_another_target_is_held_against_the_only_one_of_its_backend(compared: Compared) -> None:
    other = detector(gpu=True).model_copy(deep=True)
    for stage in other.stages:
        stage.id = stage.id.replace("sm_89", "sm_90")
        stage.target = stage.target.replace("sm_89", "sm_90")
    other.engines[1] = other.engines[1].model_copy(update={"target": "sm_90", "size": 5})
    answer, found = compared(detector(gpu=True), other)
    assert answer.status == 0
    assert [(change.what, change.after) for change in found.sizes] == [(TENSORRT, 5)]


def test_a_build_is_like_itself_and_both_run(tiny: Built, enginesmith: Command) -> None:
    answer = enginesmith("compare", str(tiny.folder), str(tiny.folder / "manifest.json"))
    assert answer.status == 0
    assert answer.out.count("pass A: ") == 2
    assert "nothing that matters differs" in answer.out


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """The graph of `tiny` with another weight, and a node more."""
    model = onnx.load(tiny_onnx.linear(tmp_path / "changed.onnx"))
    weights = numpy_helper.to_array(model.graph.initializer[0]) + np.float32(0.5)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
    model.graph.node[1].output[0] = "z"
    model.graph.node.append(onnx.helper.make_node("Identity", ["z"], ["y"], name="last"))
    onnx.save(model, tmp_path / "changed.onnx")
    return tmp_path / "changed.onnx"


def test_two_graphs_by_their_nodes_and_by_what_they_compute(changed: Path, enginesmith: Command) -> None:
    given = tiny_onnx.linear(changed.parent / "given.onnx")
    answer = enginesmith("compare", str(given), str(changed), "--json")
    assert answer.status == 1
    found = contrast_of(answer)
    assert [(node.op, node.name) for node in found.nodes_b] == [("Relu", "z"), ("Identity", "last")]
    assert [(c.what, c.before, c.after) for c in found.operators] == [("Identity", None, 1)]
    assert [each.verdict for each in found.outputs] == ["fail"]
    assert found.precision == []


def test_a_graph_against_an_engine(tiny: Built, changed: Path, enginesmith: Command) -> None:
    engine = tiny.folder / tiny.manifest.engines[0].path
    same = enginesmith("compare", str(tiny.folder / "model.onnx"), str(engine), "--json")
    assert [each.verdict for each in contrast_of(same).outputs] == ["pass", "pass"]
    assert same.status == 0
    other = contrast_of(enginesmith("compare", str(engine), str(changed), "--json"))
    assert [each.verdict for each in other.outputs] == ["fail", "fail"]
    assert other.nodes_b[-1].name == "last"


def test_an_engine_that_breaks_down_is_a_difference(tiny: Built, tmp_path: Path, enginesmith: Command) -> None:
    copy = shutil.copytree(tiny.folder, tmp_path / "copy")
    (copy / tiny.manifest.engines[0].path).write_bytes(b"no module")
    strange = contrast_of(enginesmith("compare", str(tiny.folder), str(copy), "--json"))
    assert [each.verdict for each in strange.outputs] == ["pass", "not run"]
    assert "it was not built here" in strange.outputs[1].reason
    answer = enginesmith("compare", str(tiny.folder), str(copy), "--trust", "--json")
    assert answer.status == 1
    graph, engine = contrast_of(answer).outputs
    assert (graph.verdict, engine.verdict) == ("pass", "fail")
    assert engine.reason.startswith("B: tvm")


def test_of_a_live_graph_nothing_is_imported_here_to_run_it(tmp_path: Path) -> None:
    files = [str(tiny_onnx.linear(tmp_path / name)) for name in ("a.onnx", "b.onnx")]
    code = f"""
import sys
from enginesmith.pipeline.api.compare import compare
contrast = compare({files[0]!r}, {files[1]!r})
assert [each.verdict for each in contrast.outputs] == ["pass"], contrast
print(*sorted({HEAVY!r} & set(sys.modules)))
import onnx
model = onnx.load({files[1]!r})
model.graph.node[1].op_type = "Neg"
assert compare({files[0]!r}, model).differs
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_bad_requests(tiny: Built, tmp_path: Path, enginesmith: Command) -> None:
    stray = tmp_path / "stray.so"
    stray.touch()
    text = tmp_path / "text.onnx"
    text.write_text("no graph")
    for wrong, said in (
        (tmp_path / "nowhere", "no file or folder"),
        (tmp_path, "no build's output folder"),
        (stray, "not in a build's output folder"),
        (text, "no ONNX file"),
    ):
        answer = enginesmith("compare", str(tiny.folder), str(wrong))
        assert (answer.status, answer.out) == (2, ""), said
        assert said in answer.err
        assert answer.err.count("\n") == 1
