"""Which repair would mend what was found: the one place that names it, for `doctor`, reports and pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import onnx_ir as ir

from enginesmith.compat.checks import findings
from enginesmith.compat.findings import Finding
from enginesmith.compat.graphs import infer, named
from enginesmith.compat.repairs import applicable, graph_repairs
from enginesmith.compat.target import Target
from enginesmith.compat.values import qualified

About = tuple[str, str, str]
"""Node, operator and rule of a finding."""


def with_repairs(model: ir.Model, target: Target, found: Sequence[Finding]) -> list[Finding]:
    """The findings, each with the repair that `doctor --fix` would make for it, if there is one. Nothing is proved yet.

    The model is inferred and named, and stays as it is. An error of a node is mended by a repair of that node, or as
    anything else by one of the whole graph, after which it is gone.
    """
    nodes = {}
    for node in model.graph.all_nodes():
        for name in filter(None, (*(value.name for value in node.outputs), node.name)):
            nodes[name, qualified(node)] = node
    result = []
    for finding in found:
        refused = nodes.get((finding.node, finding.op)) if finding.severity == "error" else None
        id = applicable(refused, model, target) if refused is not None else ""
        result.append(finding.model_copy(update={"repair_id": id or None}))
    left = {_about(finding) for finding in result if finding.rule and finding.repair_id is None}
    whole = _by_graph_repairs(model, target, left) if left else {}
    return [
        finding if finding.repair_id else finding.model_copy(update={"repair_id": whole.get(_about(finding))})
        for finding in result
    ]


def _by_graph_repairs(model: ir.Model, target: Target, left: set[About]) -> dict[About, str]:
    """Those of `left` that the rules no longer say of a copy that graph repairs changed, with the repair of each."""
    said = {_about(finding) for finding in findings(model, target)}
    mended: dict[About, str] = {}
    before, after = model, model.clone()
    for repair in graph_repairs(target.backend):
        if left <= mended.keys():
            break
        try:
            changes = repair.rewrite(after, target)
        except Exception:  # noqa: BLE001 - NotApplicable, or a bug in one of many repairs
            after = before.clone()
            continue
        if not changes:
            continue
        named(infer(after))
        now = {_about(finding) for finding in findings(after, target)}
        # A node with another name is not mended: the rule must have less to say.
        fewer = _by_rule(said) - _by_rule(now)
        mended |= {about: repair.id for about in left & said - now if fewer[about[2]]}
        said &= now
        before, after = after, after.clone()
    return mended


def _about(finding: Finding) -> About:
    return finding.node, finding.op, finding.rule


def _by_rule(said: Iterable[About]) -> Counter[str]:
    return Counter(rule for _, _, rule in said)
