"""Known miscompilations as rules: `doctor` warns of a graph that is built without a word and computed wrongly."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.rule import NodeCheck, rule
from enginesmith.compat.miscompiles import Miscompilation, table
from enginesmith.compat.miscompiles.patterns import PATTERNS
from enginesmith.compat.target import Target


def _check(entry: Miscompilation) -> NodeCheck:
    looks = PATTERNS[entry.pattern].looks
    where = f" on {', '.join(entry.gpus)}" if entry.gpus else ""

    def check(node: ir.Node, target: Target) -> str | None:
        found = looks(node)
        return f"{found}, which {target} builds and computes wrongly{where}: {entry.wrong}" if found else None

    check.__doc__ = f"{entry.wrong[:1].upper()}{entry.wrong[1:]}{where}. Status: {entry.status}."
    return check


for _entry in table():
    rule(
        _entry.id,
        ops=PATTERNS[_entry.pattern].ops,
        backends=(_entry.backend,),
        versions=_entry.versions,
        gpus=_entry.gpus,
        severity=_entry.severity,
        silent=True,
        remedy=_entry.workaround,
        source=_entry.source,
        example=_entry.example,
    )(_check(_entry))
