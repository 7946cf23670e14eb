"""Graphs of ONNX Runtime's optimizer and quantizer and of ai.onnx.ml: nothing but standard operators is left, which give the same."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from one_node import proof

from enginesmith.compat.target import Target
from enginesmith.converters.graphs.proof import difference, runner
from enginesmith.converters.graphs.repair import repair_file

sys.path.append(str(Path(__file__).parents[3]))
from benchmarks.fused_forms_cases import normal, one, whole
from benchmarks.fused_forms_fresh import CASES

LEVELS = 2.02 / 127
"""Two sums in another order may each move a result across a tie."""
ROUNDED = 0.02
"""Of MatMulNBits in int8."""
# The others are graphs of standard operators, most of which this target has.
NOT_REPAIRED = (
    "Inverse",
    "CropAndResize",
    "SVMClassifier with probabilities",
    "MatMulNBits with an order of groups",  # and zero points, which ONNX Runtime passes over
)


def test_weights_of_few_bits_in_an_order_of_groups() -> None:
    groups = np.random.default_rng(1).permutation(72).astype(np.int32) // 32
    case = one("MatMulNBits", [normal(3, 72)], [whole(5, 3, 16), normal(15, scale=0.1), None, groups], K=72, N=5, bits=4,
               block_size=32, opset=18)  # fmt: skip
    found = proof("matmul-of-few-bits", case.model)
    assert found.agrees, found.reason


@pytest.mark.parametrize(
    "name", [name for name, make in CASES.items() if isinstance(make, partial) and name not in NOT_REPAIRED]
)
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
