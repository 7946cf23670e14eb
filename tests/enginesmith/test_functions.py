"""`doctor`, `explain`, `bisect` and `sensitivity` as functions: what they take and return."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import numpy as np
import onnx
import pytest

import enginesmith
from enginesmith import Event, UserError

GRAPH = (
    '<ir_version: 9, opset_import: ["" : 18]> g (float[1, 4] x) => (float[1, 4] y)'
    " { a = Relu (x) b = {node} (a) y = Sigmoid (b) }"
)


def graph(node: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(GRAPH.replace("{node}", node))


def test_doctor_examines_and_repairs_a_graph_in_memory(tmp_path: Path) -> None:
    inputs = {"x": np.ones((1, 4), np.float32)}
    checkup = enginesmith.doctor(graph("Mish"), "tensorrt=8.6", fix=tmp_path / "fixed.onnx", inputs=inputs)
    (found,) = checkup.targets[0].errors
    assert (found.finding.op, found.finding.repair_id) == ("Mish", "function-body")
    assert checkup.clean
    assert checkup.fixed == tmp_path / "fixed.onnx"
    assert "Mish" not in {node.op_type for node in onnx.load(checkup.fixed).graph.node}
    assert not enginesmith.doctor(graph("Mish"), "tensorrt=8.6").clean


def test_explain_takes_text_and_files(tmp_path: Path) -> None:
    text = '[E] [9] (antialias == 0) && "Antialiasing is not supported currently."'
    log = tmp_path / "build.log"
    log.write_text(f"one\n{text}\n")
    for given in (text, f"one\n{text}", log, str(log)):
        cause = enginesmith.explain(given).cause
        assert cause is not None
        assert cause.id == "trt-resize-antialias"
    assert enginesmith.explain("all is well").cause is None
    with pytest.raises(UserError, match="can't read"):
        enginesmith.explain(tmp_path / "none.log")
    with pytest.raises(UserError, match="the log is empty"):
        enginesmith.explain("")


def test_bisect_reduces_a_graph_in_memory(tmp_path: Path) -> None:
    events: list[Event] = []
    condition = "command: sh -c '! grep -q Celu {}'"
    found = enginesmith.bisect(graph("Celu"), condition, out=tmp_path / "least.onnx", progress=events.append)
    assert found.failure is not None
    assert (found.nodes_before, found.ops) == (3, {"Celu": 1})
    assert [node.op_type for node in onnx.load(tmp_path / "least.onnx").graph.node] == ["Celu"]
    assert events[0].event == "start"
    assert any("of 3 nodes" in event.text for event in events)
    with pytest.raises(UserError, match="give a condition"):
        enginesmith.bisect(graph("Celu"))  # type: ignore[call-overload]


def test_bisect_compares_the_stages_of_a_result(tmp_path: Path) -> None:
    result = enginesmith.build(
        nets.net(), nets.pictures(1), backend="tvm", simplify=False, measure=0, out=tmp_path / "out"
    )
    (first, *_) = found = enginesmith.bisect(result)
    assert [divergence.first for divergence in found] == [None] * len(found)
    assert (first.expected, first.found) == ("torch", "export")
    assert first.layers  # the live module was loaded once more
    assert (tmp_path / "out" / "divergence.html").is_file()


def test_sensitivity_ranks_the_layers_of_a_live_module(tmp_path: Path) -> None:
    options: dict[str, Any] = {"simplify": False, "backend": "tvm", "out": tmp_path / "out"}
    found = enginesmith.sensitivity(nets.net(), nets.pictures(1), eval=nets.pictures(16), **options)
    assert {layer.op for layer in found.record.layers} == {"Conv", "Gemm"}
    assert found.record.data == "Tensor"
    assert found.report.is_file()
