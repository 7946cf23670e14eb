"""Graphs of ONNX Runtime's optimizer and quantizer and of ai.onnx.ml: nothing but standard operators is left, which give the same."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import pytest

from enginesmith.compat.target import Target
from enginesmith.converters.graphs.proof import difference, runner
from enginesmith.converters.graphs.repair import repair_file

sys.path.append(str(Path(__file__).parents[3]))
from benchmarks.fused_forms_further import CASES

LEVELS = 2.02 / 127
"""Two sums in another order may each move a result across a tie."""
ROUNDED = 0.02
"""Of MatMulNBits in int8."""


@pytest.mark.parametrize("name", CASES)
def test_a_form_is_written_in_standard_operators(name: str, tmp_path: Path) -> None:
    case = CASES[name]()
    onnx.save(case.model, tmp_path / "model.onnx")
    target = Target("tensorrt", "10.3")  # which has none of them
    repair_file(tmp_path / "model.onnx", tmp_path / "out.onnx", target, None, case.feeds)
    repaired = onnx.load(tmp_path / "out.onnx")
    assert {node.domain for node in repaired.graph.node} == {""}
    assert onnx.checker.check_model(repaired, full_check=True) is None
    tolerance = ROUNDED if case.atol else LEVELS if "Q" in name or "Quant" in name else 1e-3
    for feed in case.feeds:
        expected, found = (runner(model)(feed) for model in (case.model, repaired))
        apart, reason = difference(expected, found, tolerance)
        assert not reason, f"{reason}: {apart}"
