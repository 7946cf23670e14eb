"""The comparison of precisions: what a peer does badly becomes a row with the reason."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import pytest
import trained

sys.path.append(str(trained.TRAINED.parent))  # behind the packages: there is a tvm.py
import precision
from precision_cases import CASES


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """y = Relu(x), and beside it an operator that nobody knows."""
    path = tmp_path / "graph.onnx"
    onnx.save(
        onnx.parser.parse_model(
            '<ir_version: 9, opset_import: ["": 18]> g (float[1,3] x) => (float[1,3] y) {y = Relu(x)}'
        ),
        path,
    )
    return path


def test_a_graph_that_tensorrt_takes_becomes_an_engine(graph: Path, tmp_path: Path) -> None:
    size, remark = precision.build_apart(graph, tmp_path / "engine.trt")
    assert remark == ""
    assert size == (tmp_path / "engine.trt").stat().st_size > 0


def test_a_graph_that_it_refuses_gives_its_message(graph: Path, tmp_path: Path) -> None:
    model = onnx.load(graph)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, graph)
    size, remark = precision.build_apart(graph, tmp_path / "engine.trt")
    assert size is None
    assert remark.startswith("refused by TensorRT-RTX: NoSuchOperator: ")


def test_a_peer_that_fails_is_a_row_with_its_message(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "environment", lambda folder: Path(sys.executable))
    examples = tmp_path / "none.npz"
    row = precision.peer(CASES["digits"], "modelopt-int8", graph, examples, None, tmp_path, tmp_path)
    assert row.engine is None
    assert row.remark.startswith("conversion fails: ")
    assert row.remark in precision.line(row)
