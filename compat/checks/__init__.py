"""Checks: rules over the nodes of a graph, for backends that need not be installed.

One module per family of operators; importing this package registers them all, and those of `compat.families`.
`problems` applies those about nodes, `whole` those about models as a whole, `findings` both. Functions that a model
brings along should be inlined first: a call of one is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import onnx_ir as ir

from enginesmith.compat import plugins
from enginesmith.compat.checks.rule import MODEL_RULES, RULES, ModelRule, Rule
from enginesmith.compat.findings import Finding
from enginesmith.compat.graphs import infer
from enginesmith.compat.target import Target
from enginesmith.compat.values import label, qualified

for _module in iter_modules(__path__):
    if _module.name != "rule":
        import_module(f"{__name__}.{_module.name}")

__all__ = ["MODEL_RULES", "RULES", "ModelRule", "Problem", "Rule", "accepts", "findings", "problems", "silent", "whole"]


@dataclass(frozen=True)
class Problem:
    """A finding with the node that it is about."""

    node: ir.Node
    finding: Finding


def problems(model: ir.Model, target: Target) -> Iterator[Problem]:
    """What the rules say about every node, subgraphs included. Shapes and dtypes must have been inferred."""
    for node in model.graph.all_nodes():
        if node.op_identifier() in model.functions:
            continue
        for found, message in _said(node, target):
            yield Problem(node, _finding(found, node, target, message))


def accepts(node: ir.Node, target: Target) -> bool:
    """Does no rule find an error in the node?"""
    return not any(found.severity == "error" for found, _ in _said(node, target))


def _said(node: ir.Node, target: Target) -> Iterator[tuple[Rule, str]]:
    by_op = _rules(target)
    for found in (*by_op.get(qualified(node), ()), *by_op.get("*", ())):
        message = found.check(node, target)
        if message:
            yield found, message


@cache
def _rules(target: Target) -> dict[str, list[Rule]]:
    """The rules for a target by operator."""
    plugins.load()
    by_op: dict[str, list[Rule]] = {}
    for found in RULES.values():
        if found.applies_to(target):
            for op in found.ops:
                by_op.setdefault(op, []).append(found)
    return by_op


def silent(model: ir.Model, target: Target) -> list[Finding]:
    """What no trial shows: nodes that the backend takes without a word and computes wrongly."""
    return [problem.finding for problem in problems(infer(model), target) if problem.finding.silent]


def whole(model: ir.Model, target: Target) -> Iterator[Finding]:
    """What the rules say about the model as a whole."""
    plugins.load()
    for found in MODEL_RULES.values():
        if found.applies_to(target):
            for message in found.check(model, target):
                yield Finding(
                    severity=found.severity,
                    op="",
                    node="",
                    backend=target.backend,
                    versions=target.version,
                    message=message,
                    remedy=found.remedy,
                    rule=found.id,
                )


def findings(model: ir.Model, target: Target) -> Iterator[Finding]:
    """Everything that the rules say, about the model first."""
    yield from whole(model, target)
    for problem in problems(model, target):
        yield problem.finding


def _finding(found: Rule, node: ir.Node, target: Target, message: str) -> Finding:
    return Finding(
        severity=found.severity,
        op=qualified(node),
        node=label(node),
        backend=target.backend,
        versions=target.version,
        message=message,
        remedy=found.remedies.get(qualified(node), found.remedy),
        rule=found.id,
        silent=found.silent,
    )


# Last: modules with repairs too import the engine, which needs what is above.
import_module("enginesmith.compat.families")
