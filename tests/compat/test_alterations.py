"""Changes to a graph that keep what it computes: run before and after, in ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enginesmith.compat.alterations import Alteration, altered, other_forms, read_all
from enginesmith.compat.building import NotApplicable
from enginesmith.compat.graphs import infer
from enginesmith.compat.target import Target

TVM = Target("tvm", "0.27.0")
GRAPH = """
<ir_version: 10, opset_import: ["" : 18]>
net (float[2, 4, 6] x, float[6, 5] w) => (float[2, 4, 5] y) {
  h = MatMul (x, w)
  s = Sigmoid (h)
  n = LpNormalization <axis = 1, p = 2> (s)
  y = Add (n, h)
}
"""


def model(text: str = GRAPH) -> ir.Model:
    return infer(ir.from_proto(onnx.parser.parse_model(text)))


def run(graph: ir.Model, **inputs: Any) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(ir.to_proto(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([each.name for each in session.get_outputs()], session.run(None, inputs), strict=True))


def inputs(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shapes = {"x": (2, 4, 6), "w": (6, 5)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


CHANGES = ("barrier:h", "barrier:s", "barrier:n", "wide:h", "wide:s", "wide:n", "wide:y")


@given(st.lists(st.sampled_from(CHANGES), unique=True, max_size=4), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_whatever_is_changed_the_graph_computes_the_same(changes: list[str], seed: int) -> None:
    given = model()
    changed = altered(given, read_all(",".join(changes)), TVM)
    before, after = run(given, **inputs(seed)), run(changed, **inputs(seed))
    np.testing.assert_allclose(after["y"], before["y"], rtol=1e-5, atol=1e-6)
    assert {name for name in after if name != "y"} == {c.removeprefix("barrier:") for c in changes if "barrier" in c}
    assert list(run(given, **inputs(seed))) == ["y"], "the model that was given stays as it is"


def test_a_node_computes_in_the_next_wider_type() -> None:
    changed = altered(model(), read_all("wide:h"), TVM)
    product = next(node for node in changed.graph if node.op_type == "MatMul")
    assert {value.dtype for value in product.inputs if value} == {ir.DataType.DOUBLE}
    half = GRAPH.replace("float[", "float16[")
    changed = altered(model(half), read_all("wide:h"), TVM)
    product = next(node for node in changed.graph if node.op_type == "MatMul")
    assert {value.dtype for value in product.inputs if value} == {ir.DataType.FLOAT}
    assert changed.graph.outputs[0].dtype == ir.DataType.FLOAT16


def test_another_form_of_an_operator_is_a_repair_for_any_backend() -> None:
    given = model()
    node = next(node for node in given.graph if node.op_type == "LpNormalization")
    forms = list(other_forms(node, given, TVM))
    assert forms
    for form in forms:
        assert Alteration.read(str(form)) == form
        changed = altered(given, [form], TVM)
        assert "LpNormalization" not in {each.op_type for each in changed.graph}
        np.testing.assert_allclose(run(changed, **inputs())["y"], run(given, **inputs())["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("barrier:q", "no node makes a tensor 'q'"),
        ("barrier:y", "it is an output already"),
        ("barrier:x", "no node makes a tensor 'x'"),
        ("wide:q", "there is no node 'q'"),
        ("h=no-repair", "there is no repair no-repair"),
    ],
)
def test_what_can_not_be_made_is_told(text: str, reason: str) -> None:
    with pytest.raises(NotApplicable, match=f"{text}: {reason}"):
        altered(model(), read_all(text), TVM)


@pytest.mark.parametrize("text", ["h", "=x", "node=", "barriers"])
def test_what_is_no_alteration(text: str) -> None:
    with pytest.raises(ValueError, match="write barrier:TENSOR, wide:NODE or NODE=REPAIR"):
        read_all(text)
