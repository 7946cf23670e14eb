"""The standard's own definition in the place of an operator, with its optional inputs, outputs and attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from one_node import RTX, one_node, proof, repaired
from onnx import TensorProto

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.findings import Finding
from enginesmith.compat.graphs import infer, named
from enginesmith.compat.repairs import REPAIRS, Engine, local
from enginesmith.converters.graphs.proof import prove

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
HEADS = [[1, 4, 5, 8], [1, 2, 6, 8], [1, 2, 6, 8]]
"""Queries, keys and values of four heads in two groups."""

CASES: dict[str, Any] = {
    "Celu": ("Celu", [[2, 3]], {"alpha": 0.5}),
    "HardSwish": ("HardSwish", [[2, 3]], {}),
    "Mish": ("Mish", [[2, 3]], {}),
    "Shrink": ("Shrink", [[2, 3]], {"lambd": 0.4, "bias": 0.1}),
    "ThresholdedRelu": ("ThresholdedRelu", [[2, 3]], {"alpha": 0.2}),
    "Swish": ("Swish", [[2, 3]], {"opset": 24, "alpha": 0.5}),
    "Gelu": ("Gelu", [[2, 3]], {"opset": 20, "approximate": "tanh"}),
    "default attribute": ("Selu", [[2, 3]], {}),
    "MeanVarianceNormalization": ("MeanVarianceNormalization", [[2, 3, 4, 5]], {"outputs": [(FLOAT, [2, 3, 4, 5])]}),
    "three outputs": ("LayerNormalization", [[2, 3, 4], [3, 4], [3, 4]], {"outputs": [(FLOAT, ())] * 3, "axis": 1}),
    "no bias": ("LayerNormalization", [[2, 3, 4], [4]], {}),
    "one group": ("GroupNormalization", [[2, 4, 3, 3], [4], [4]], {"opset": 21, "num_groups": 1, "outputs": [(FLOAT, [2, 4, 3, 3])]}),
    "RMSNormalization": ("RMSNormalization", [[2, 3, 4], [3, 4]], {"opset": 23, "axis": 1}),
    "RotaryEmbedding": ("RotaryEmbedding", [[2, 3, 4, 8], [2, 4, 4], [2, 4, 4]], {"opset": 23}),
    "mean of losses": ("NegativeLogLikelihoodLoss", [[2, 3, 4], [2, 4]], {"dtypes": [FLOAT, INT64]}),
    "weighted losses": (
        "NegativeLogLikelihoodLoss", [[2, 3, 4], [2, 4], [3]],
        {"dtypes": [FLOAT, INT64], "reduction": "sum", "ignore_index": 1},
    ),
    "log of probabilities": (
        "SoftmaxCrossEntropyLoss", [[2, 3, 4], [2, 4]],
        {"dtypes": [FLOAT, INT64], "outputs": [(FLOAT, ()), (FLOAT, ())], "reduction": "none"},
    ),
    "attention": ("Attention", HEADS, {"opset": 23}),
    "causal": ("Attention", HEADS, {"opset": 23, "is_causal": 1, "scale": 0.1}),
    "softcap": ("Attention", HEADS, {"opset": 23, "softcap": 2.0}),
    "mask": ("Attention", [*HEADS, [5, 6]], {"opset": 23, "dtypes": [FLOAT, FLOAT, FLOAT, BOOL]}),
    "left out input": (
        "Attention", [*HEADS, None, [1, 2, 3, 8], [1, 2, 3, 8]],
        {"opset": 23, "outputs": [(FLOAT, ())] * 3},
    ),
    "three dimensions": ("Attention", [[2, 5, 32], [2, 6, 16], [2, 6, 16]], {"opset": 24, "q_num_heads": 4, "kv_num_heads": 2}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_body_computes_what_the_operator_does(case: str) -> None:
    op, shapes, options = CASES[case]
    model = one_node(op, *shapes, **options)
    after, _ = repaired("function-body", model)
    assert op not in {node.op_type for node in after.graph}
    found = proof("function-body", model)
    assert found.agrees, found.reason


def test_an_operator_without_a_body_says_so() -> None:
    with pytest.raises(NotApplicable, match="Conv by no other operators"):
        repaired("function-body", one_node("Conv", [1, 1, 4, 4], np.ones((1, 1, 3, 3), np.float32)))


def test_a_body_newer_than_the_graph_is_not_used() -> None:
    with pytest.raises(NotApplicable, match="in opset 13"):
        repaired("function-body", one_node("Relu", [2], opset=13))


def test_bodies_within_bodies_and_the_names_of_two_calls() -> None:
    model = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["" : 18]>
    losses (float[2, 3, 4] x, int64[2, 4] classes) => (float y) {
      a = SoftmaxCrossEntropyLoss (x, classes)
      b = SoftmaxCrossEntropyLoss <reduction = "sum"> (x, classes)
      y = Add (a, b)
    }""")
    op = "SoftmaxCrossEntropyLoss"
    refused = [
        Finding(severity="error", node=name, op=kind, backend=RTX.backend, versions="", message="refused")
        for name in ("a", "b") for kind in (op, "NegativeLogLikelihoodLoss")
    ]  # fmt: skip
    engine = Engine(ir.from_proto(model), RTX, prove)
    engine.run(refused)
    after = ir.to_proto(engine.model)
    onnx.checker.check_model(after, full_check=True)
    assert {"SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"}.isdisjoint(
        node.op_type for node in after.graph.node
    )
    found = prove(model, after, 1e-5)
    assert found.agrees, found.reason
    assert engine.run(refused) == 0


def test_subgraphs_of_a_body_have_names_of_their_own() -> None:
    model = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["" : 20]>
    grids (float[2, 2, 3] one, float[2, 2, 3] other) => (float[2, 4, 5, 2] y) <int64[4] size = {2, 1, 4, 5}> {
      a = AffineGrid (one, size)
      b = AffineGrid <align_corners = 1> (other, size)
      y = Add (a, b)
    }""")
    after = ir.from_proto(model)
    named(infer(after))
    for node in [node for node in after.graph if node.op_type == "AffineGrid"]:
        local.apply(REPAIRS["function-body"], node, RTX)
    proto = ir.to_proto(after)
    assert any(attribute.HasField("g") for node in proto.graph.node for attribute in node.attribute)
    onnx.checker.check_model(proto)
    found = prove(model, proto, 1e-5)
    assert found.agrees, found.reason
