"""Rules and repairs of other distributions, found by their entry points."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = '''
import onnx_ir as ir
from enginesmith.compat.checks.rule import rule
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.target import TVM

MODEL = """
<ir_version: 10, opset_import: ["" : 18, "acme" : 1]>
twice (float[2] x) => (float[2] y) { y = acme.Twice (x) }
"""

@rule("acme-twice", ops="acme::Twice", backends=TVM, remedy="add it", source="acme", example=MODEL)
def twice(node, target):
    """TVM does not know it."""
    return "it is Twice"

@rule("acme-broken", ops="acme::Twice", backends=TVM, remedy="none", source="acme", example=MODEL)
def broken(node, target):
    """Its check fails."""
    raise LookupError("lost")

@repair("acme-twice-as-sum", ops="acme::Twice", backends=TVM, example=MODEL)
def twice_as_sum(node, build):
    """Twice is a sum."""
    return build.op("Add", node.inputs[0], node.inputs[0])
'''
HALF = """
from enginesmith.compat.repairs.repair import repair

@repair("acme-half", ops="Half", example="")
def half(node, build):
    return node.inputs[0]

@repair("fold", ops="Half", example="")
def fold(node, build):
    return node.inputs[0]

raise RuntimeError("no licence\\nfor this machine")
"""
ASKED = """
import json, onnx_ir as ir
from enginesmith.compat import plugins
from enginesmith.compat.checks import findings
from enginesmith.compat.graphs import infer, named
from enginesmith.compat.mending import with_repairs
from enginesmith.compat.pages import pages
from enginesmith.compat.repairs import REPAIRS
from enginesmith.compat.target import Target

text = '<ir_version: 10, opset_import: ["" : 18, "acme" : 1]> g (float[2] x) => (float[2] y) { z = Relu (x)  y = acme.Twice (z) }'
model = infer(ir.from_onnx_text(text))
model.graph[-1].outputs[0].shape = ir.Shape([2])
named(model)
target = Target("tvm", "0.27")
found = with_repairs(model, target, list(findings(model, target)))
print(json.dumps({
    "findings": {finding.rule: finding.repair_id for finding in found},
    "known": len(REPAIRS),
    "half": "acme-half" in REPAIRS,
    "pages": [page.markdown for page in pages() if page.id == "acme-twice"],
    "warnings": plugins.warnings(),
}))
"""


def distribution(folder: Path, name: str, module: str, group: str) -> None:
    (folder / f"{name}.py").write_text(module)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}\n")


@pytest.fixture
def asked(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    distribution(tmp_path, "acme_good", GOOD, "enginesmith.rules")
    distribution(tmp_path, "acme_half", HALF, "enginesmith.repairs")
    distribution(tmp_path, "acme_gone", "import no_such_module", "enginesmith.rules")
    return subprocess.run(
        [sys.executable, "-c", ASKED],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )


def test_rules_and_repairs_of_others_work_like_ours_and_broken_ones_cost_a_line(
    asked: subprocess.CompletedProcess[str],
) -> None:
    from enginesmith.compat.repairs import REPAIRS

    seen = json.loads(asked.stdout)
    assert seen["findings"]["acme-twice"] == "acme-twice-as-sum"
    assert "acme-broken" not in seen["findings"]
    assert "acme-twice-as-sum" in seen["pages"][0]
    assert not seen["half"], "what a broken one had registered is gone"
    assert seen["known"] == len(REPAIRS) + 1
    assert asked.stderr.splitlines() == [f"warning: {line}" for line in seen["warnings"]]
    assert len(seen["warnings"]) == 3
    assert any("acme_half" in line and "no licence for this machine" in line for line in seen["warnings"])
    assert any("acme_gone" in line and "no_such_module" in line for line in seen["warnings"])
    assert any("acme-broken" in line and "lost" in line for line in seen["warnings"])
