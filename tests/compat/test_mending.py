"""A finding names the repair that would mend it."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from enginesmith.compat.checks import RULES, findings
from enginesmith.compat.findings import Finding
from enginesmith.compat.graphs import infer, named
from enginesmith.compat.mending import with_repairs
from enginesmith.compat.pages import pages
from enginesmith.compat.target import Target


def found(text: str, target: Target) -> dict[str, str | None]:
    """The repair named for each rule that has something to say."""
    model = infer(ir.from_onnx_text(f'<ir_version: 10, opset_import: ["" : 18]> {text}'))
    named(model)
    before = ir.to_proto(model)
    result = with_repairs(model, target, list(findings(model, target)))
    assert ir.to_proto(model) == before, "the model is left as it was"
    return {finding.rule: finding.repair_id for finding in result}


def test_an_error_of_a_node_names_the_repair_of_that_node() -> None:
    text = "g (float[1, 5000] x) => (float[1, 4000] y) <int64[1] k = {4000}> { y, i = TopK (x, k) }"
    assert found(text, Target("tensorrt-rtx", "1.7")) == {"topk-limit": "topk-in-parts"}


def test_what_no_repair_of_the_node_mends_names_the_repair_of_the_graph() -> None:
    text = """g (float[4] x) => (float[n] y) <float zero = {0}> {
      above = Greater (x, zero)  places = NonZero (above)  rows = Squeeze (places)  y = Gather (x, rows)
    }"""
    assert found(text, Target("tensorrt", "8.6"))["data-dependent-size"] is None, "TensorRT takes it, with a warning"
    text = """g (float[2] x) => (uint16[2] y) { y = Cast <to = 4> (x) }"""
    named_repairs = found(text, Target("tensorrt-rtx", "1.7"))
    assert set(named_repairs.values()) == {"carried-integers"}
    assert "interface-type" in named_repairs, "of the model as a whole"


def test_what_nothing_mends_names_nothing_and_a_backends_own_words_do_as_well() -> None:
    model = infer(
        ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 18]> g (float[4] x) => (float[4] y) { y = Elu (x) }')
    )
    named(model)
    said = [
        Finding(severity="error", op=op, node="y", backend="tvm", versions="", message="no") for op in ("Elu", "Celu")
    ]
    assert [finding.repair_id for finding in with_repairs(model, Target("tvm", "0.27"), said)] == [
        "function-body",
        None,
    ]


@pytest.mark.parametrize("id", [id for id, rule in RULES.items() if "doctor --fix" in rule.remedy])
def test_a_rule_that_promises_a_repair_has_one(id: str) -> None:
    page = next(page for page in pages() if page.id == id)
    assert "**Repairs**" in page.markdown
