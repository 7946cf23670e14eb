"""Every rule and every repair brings an example: the rule fires on it, the repair applies to it and proves right."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from enginesmith.compat.checks import RULES, Rule, problems
from enginesmith.compat.graphs import infer, named
from enginesmith.compat.repairs import GRAPH_REPAIRS, REPAIRS, local
from enginesmith.compat.repairs.repair import Repair
from enginesmith.compat.target import Target
from enginesmith.compat.values import qualified
from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.trial import TRIAL
from enginesmith.converters.core.isolated import Isolated
from enginesmith.converters.graphs.proof import prove
from enginesmith.converters.graphs.repair import repair_file

TARGETS = {"tensorrt-rtx": "sm_89", "tvm": "x86-64-v3"}
VERSIONS = {"tensorrt": "10.3", **{name: get_backend(name).version() for name in TARGETS}}


def parsed(text: str) -> ir.Model:
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model)
    found = infer(ir.from_proto(model))
    named(found)
    return found


@pytest.mark.parametrize("id", GRAPH_REPAIRS)
def test_a_graph_repair_changes_its_example_once_and_keeps_what_it_computes(id: str) -> None:
    repair = GRAPH_REPAIRS[id]
    target = Target(repair.backends[0], VERSIONS[repair.backends[0]])
    before = parsed(repair.example)
    after = before.clone()
    assert repair.rewrite(after, target) > 0
    proof = prove(ir.to_proto(before), ir.to_proto(after), repair.tolerance)
    assert proof.agrees, proof.reason
    again = infer(ir.from_proto(ir.to_proto(after)))
    assert repair.rewrite(again, target) == 0


@pytest.mark.parametrize("id", REPAIRS)
def test_a_repair_keeps_what_its_example_computes_and_the_backend_takes_it(
    id: str, asked: Isolated, tmp_path: Path
) -> None:
    repair = REPAIRS[id]
    for backend in TARGETS:
        if backend in repair.backends:
            _repaired(repair, Target(backend, VERSIONS[backend]), asked, tmp_path / f"{backend}.onnx")


def _repaired(repair: Repair, target: Target, asked: Isolated, path: Path) -> None:
    before = parsed(repair.example)
    after = before.clone()
    node = next(n for n in after.graph.all_nodes() if qualified(n) in repair.ops or "*" in repair.ops)
    builder = local.apply(repair, node, target)
    repaired = ir.to_proto(after)
    onnx.checker.check_model(repaired)
    for case in builder.cases or [{}]:
        proof = prove(local.fixed(ir.to_proto(before), case), local.fixed(repaired, case), repair.tolerance)
        assert proof.agrees, proof.reason
    ir.save(after, path)
    rejection = asked.call(TRIAL, target.backend, str(path), TARGETS[target.backend], timeout=60)
    # what stands for an operator of another domain is standard, and may have a repair of its own
    if rejection is not None and "::" in qualified(node):
        done = path.with_name(f"{target.backend}-done.onnx")
        repair_file(path, done, target)
        assert done.exists(), f"{target.backend}: {rejection['message']}"
        rejection = asked.call(TRIAL, target.backend, str(done), TARGETS[target.backend], timeout=60)
    assert rejection is None, f"{target.backend}: {rejection['message']}"


@pytest.mark.parametrize("id", RULES)
def test_a_rule_fires_on_its_example_and_the_backend_refuses_it(id: str, asked: Isolated, tmp_path: Path) -> None:
    rule = RULES[id]
    for backend in rule.backends:
        target = Target(backend, _version(rule.versions, VERSIONS[backend]))
        found = [problem.finding.rule for problem in problems(parsed(rule.example), target)]
        assert id in found or not rule.applies_to(target)
    onnx.save(onnx.parser.parse_model(rule.example), tmp_path / "model.onnx")
    for backend, built_for in TARGETS.items():
        if (
            rule.severity == "error"
            and not _unseen(rule, backend)
            and rule.applies_to(Target(backend, VERSIONS[backend]))
        ):
            rejection = asked.call(TRIAL, backend, str(tmp_path / "model.onnx"), built_for, timeout=60)
            assert rejection is not None, backend


AFTER_IMPORT = {("if-branch-ranks", "tvm")}
"""Rules about graphs that TVM's frontend imports and its compiler fails by: a trial imports alone."""


def _unseen(rule: Rule, backend: str) -> bool:
    """Wrong results, which no trial shows; that of TVM knows them from the rules. And what only a build fails by."""
    return (rule.silent and backend != "tvm") or (rule.id, backend) in AFTER_IMPORT


def _version(versions: str, installed: str) -> str:
    """A version that the range holds: the installed one, or else the range's end."""
    if Target("", installed).within(versions):
        return installed
    bounds = [part.lstrip("<>=") for part in versions.split(",")]
    return next((bound for bound in bounds if Target("", bound).within(versions)), f"{bounds[-1]}")
