"""ONNX Runtime isn't always right: a second witness is heard, and a disagreement is told with the node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from stages import compare, import_onnx

from enginesmith.converters.core.samples import load_beside
from enginesmith.converters.graphs import witness
from enginesmith.converters.graphs.evaluator import disagreeing_nodes, in_double, widened

value = helper.make_tensor_value_info


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "SECONDS", 60.0)
    monkeypatch.setattr(witness, "SEARCH_SECONDS", 60.0)


def write(path: Path, nodes: list[onnx.NodeProto], kind: int, *weights: onnx.TensorProto) -> Path:
    """x and y of shape [2, 3]."""
    graph = helper.make_graph(nodes, "test", [value("x", kind, [2, 3])], [value("y", kind, [2, 3])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def maximum(path: Path) -> Path:
    """Max(x, 2**31) of int64, which ONNX Runtime computes as if by 32 bits."""
    most = numpy_helper.from_array(np.array([2**31]), "k")
    nodes = [helper.make_node("Add", ["x", "x"], ["d"]), helper.make_node("Max", ["d", "k"], ["y"], name="the_max")]
    return write(path, nodes, TensorProto.INT64, most)


def gemm(path: Path) -> Path:
    weights = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    return write(
        path, [helper.make_node("MatMul", ["x", "w"], ["y"])], TensorProto.FLOAT, numpy_helper.from_array(weights, "w")
    )


def test_a_disagreement_is_a_doubt_that_names_the_node(tmp_path: Path) -> None:
    facts = import_onnx(tmp_path / "out", maximum(tmp_path / "m.onnx"))
    assert facts.doubt is not None
    assert facts.doubt.verified == "proves nothing"
    assert "output y" in facts.doubt.reason
    assert "Max 'the_max'" in facts.doubt.reason
    assert facts.warnings == [facts.doubt.reason]


def test_who_agrees_with_the_second_witness_has_not_failed(tmp_path: Path) -> None:
    out, right, wrong = tmp_path / "out", tmp_path / "right", tmp_path / "wrong"
    import_onnx(out, maximum(tmp_path / "m.onnx"))
    for folder, chosen in ((right, ["d", "k"]), (wrong, ["d", "x"])):
        folder.mkdir()
        most = numpy_helper.from_array(np.array([2**31]), "k")
        nodes = [
            helper.make_node("Add", ["x", "x"], ["d"]),
            helper.make_node("Less", ["d", "k"], ["less"]),
            helper.make_node("Where", ["less", *reversed(chosen)], ["y"]),
        ]
        write(folder / "model.onnx", nodes, TensorProto.INT64, most)
    comparison = compare(tmp_path / "compared", out, right)
    assert comparison.verdict == "proves nothing"
    assert comparison.reason.endswith("contradicts what was expected there, and not what was found")
    assert compare(tmp_path / "other", out, wrong).verdict == "fail", "neither witness says so"


def test_agreement_tells_what_rounding_does(tmp_path: Path) -> None:
    facts = import_onnx(tmp_path / "out", gemm(tmp_path / "m.onnx"))
    assert facts.doubt is None
    assert facts.warnings == []
    assert all("y" in result for result in load_beside(tmp_path / "out", "exact.json"))
    assert load_beside(tmp_path / "out", "witness.json") == []
    (output,) = compare(tmp_path / "compared", tmp_path / "out").samples[0].outputs
    assert output.rounding_abs is not None
    assert 0 < output.allowed_abs < 1e-4


def test_a_graph_in_float64(tmp_path: Path) -> None:
    double = in_double(onnx.load(gemm(tmp_path / "m.onnx")))
    from onnx.reference import ReferenceEvaluator

    x = np.full((2, 3), 1 / 3, np.float32)
    (y,) = ReferenceEvaluator(double).run(None, widened({"x": x}))
    weights = numpy_helper.to_array(onnx.load(tmp_path / "m.onnx").graph.initializer[0])
    assert y.dtype == np.float64
    assert np.array_equal(y, x.astype(np.float64) @ weights.astype(np.float64))


def test_the_node_is_found_where_values_disagree(tmp_path: Path) -> None:
    model = onnx.load(maximum(tmp_path / "m.onnx"))
    x = np.array([[1, 2, 3], [4, 5, 6]])
    right = {"x": x, "d": x + x, "y": np.maximum(x + x, 2**31)}
    assert list(disagreeing_nodes(model, right)) == []
    assert list(disagreeing_nodes(model, {**right, "y": x})) == [("the_max", "Max")]
    assert list(disagreeing_nodes(model, {**right, "d": x})) == [("d", "Add")], "Max is right on what it was given"


def test_without_a_witness_the_inputs_are_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "LARGE", 0)
    facts = import_onnx(tmp_path / "out", gemm(tmp_path / "m.onnx"))
    assert facts.note.startswith("no second witness")
    assert load_beside(tmp_path / "out", "exact.json") == []
    assert any("y" in result for result in load_beside(tmp_path / "out", "moved.json"))
    comparison = compare(tmp_path / "compared", tmp_path / "out")
    assert comparison.verdict == "pass"
    assert comparison.samples[0].outputs[0].rounding_abs is not None
