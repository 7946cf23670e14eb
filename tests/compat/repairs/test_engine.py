"""The engine: the order of repairs, and what becomes of those that fail at first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pytest
from one_node import RTX

from enginesmith.compat.findings import Proof
from enginesmith.compat.repairs import GRAPH_REPAIRS, REPAIRS, Engine, candidates, graph_repairs, order
from enginesmith.compat.target import EVERY
from enginesmith.converters.backends import examination
from enginesmith.converters.core.records import RepairReport
from enginesmith.converters.graphs import repair as repairing
from enginesmith.converters.graphs.proof import prove
from enginesmith.converters.graphs.repair import FINAL_SECONDS, repair_file

DYNAMICALLY_QUANTIZED = """
<ir_version: 10, opset_import: ["" : 18]>
linear (float[2, 4] x) => (float[2, 3] y)
  <int8[4, 3] w = {1, 2, 3, -4, 5, 6, 7, -8, 9, 1, 2, 3}, float s = {0.1}> {
  q, scale, zero = DynamicQuantizeLinear (x)
  p = MatMulInteger (q, w, zero)
  f = Cast <to = 1> (p)
  both = Mul (scale, s)
  y = Mul (f, both)
}
"""


def test_the_order_names_what_there_is_once() -> None:
    assert set(order.GRAPHS) == set(GRAPH_REPAIRS)
    assert set(order.NODES) <= set(REPAIRS)
    assert len({*order.GRAPHS, *order.NODES}) == len(order.GRAPHS) + len(order.NODES)
    assert [repair.id for repair in graph_repairs("tensorrt")] == list(order.GRAPHS)


def test_of_two_repairs_for_an_operator_one_at_most_has_no_place_in_the_order() -> None:
    for op in {op for repair in REPAIRS.values() for op in repair.ops} - {"*"}:
        for backend in EVERY:
            unlisted = [found.id for found in candidates(op, backend) if found.id not in order.NODES]
            assert len([id for id in unlisted if "*" not in REPAIRS[id].ops]) <= 1, (op, unlisted)


def test_a_repair_that_failed_is_tried_again_when_others_have_changed_the_graph(tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(DYNAMICALLY_QUANTIZED), tmp_path / "given.onnx")
    report = repair_file(tmp_path / "given.onnx", tmp_path / "out.onnx", RTX)
    assert not [finding for finding in report.left if finding.severity == "error"]
    assert report.proof is not None
    assert report.proof.agrees
    made = [attempt.repair for attempt in report.made]
    assert made.index("carried-integers") > made.index("quantize-in-float")
    failed = {(attempt.node, attempt.repair) for attempt in report.attempts if not attempt.made}
    assert not failed & {(attempt.node, attempt.repair) for attempt in report.made}, "its first failure is no news"


def test_repairs_that_never_prove_right_end() -> None:
    asked: list[float] = []

    def refuted(before: onnx.ModelProto, after: onnx.ModelProto, tolerance: float) -> Proof:
        asked.append(tolerance)
        return Proof(agrees=False, reason="other values")

    engine = Engine(ir.from_onnx_text(DYNAMICALLY_QUANTIZED), RTX, refuted)
    assert engine.run() == 0
    assert engine.run() == 0
    count = len(asked)
    assert 0 < count == len([attempt for attempt in engine.attempts if attempt.proof]), (
        "each is tried once, as nothing changes"
    )


def test_a_repair_is_tried_on_each_change_but_not_for_ever() -> None:
    """Of a node that is repaired into itself, as another repair changes the graph every time."""
    model = ir.from_onnx_text(DYNAMICALLY_QUANTIZED)
    calls: dict[int, int] = {}

    def sometimes(before: onnx.ModelProto, after: onnx.ModelProto, tolerance: float) -> Proof:
        whole = len(before.graph.node) > 1
        calls[whole] = calls.get(whole, 0) + 1
        return Proof(agrees=False, reason="other values") if whole else prove(before, after, tolerance)

    engine = Engine(model, RTX, sometimes)
    engine.run()
    assert any(attempt.made for attempt in engine.attempts)
    of_graph = [attempt for attempt in engine.attempts if not attempt.node and attempt.proof is not None]
    assert of_graph
    assert calls[True] <= 4 * len(of_graph)


def test_a_graph_whose_proof_failed_is_not_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each repair proves right, and the whole doesn't: of a sum of rounding errors, say."""
    onnx.save(onnx.parser.parse_model(DYNAMICALLY_QUANTIZED), tmp_path / "given.onnx")

    def by_parts(before: onnx.ModelProto, after: onnx.ModelProto, *rest: Any) -> Proof:
        if FINAL_SECONDS in rest:
            return Proof(agrees=False, samples=1, reason="other values", ran=ran)
        return prove(before, after, *rest)

    monkeypatch.setattr(repairing, "prove", by_parts)
    for ran, written in ((True, False), (False, True)):
        out = tmp_path / f"{ran}.onnx"
        found = RepairReport.model_validate(
            examination.fix("tensorrt-rtx", RTX.version, str(tmp_path / "given.onnx"), str(out), "", {}, "")
        )
        assert found.made
        assert not found.mended
        assert found.refuted is ran
        assert out.exists() is written, "what could not be run at all may still be given out"


def test_without_a_backend_to_ask_what_no_repair_mends_is_left(tmp_path: Path) -> None:
    text = '<ir_version: 10, opset_import: ["" : 18, "acme" : 1]> g (float[2] x) => (float[2] y) { y = acme.Twice (x) }'
    ir.save(ir.from_onnx_text(text), tmp_path / "given.onnx")
    report = repair_file(tmp_path / "given.onnx", tmp_path / "out.onnx", RTX)
    assert [finding.op for finding in report.left] == ["acme::Twice"]
    assert not report.made
    assert not (tmp_path / "out.onnx").exists()
