"""Workarounds of known miscompilations: rewrites that keep what a graph computes and leave nothing for the pattern to find.

`rewrites` makes a repair of whole graphs of each entry of `compat.miscompiles` that has one; it is proved like every repair, and
made only where `build --workarounds` asks for it. The table calls the functions by their names; one module a family.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

import onnx_ir as ir

from enginesmith.compat.building import NotApplicable, replace
from enginesmith.compat.checks import RULES
from enginesmith.compat.graphs import infer, named, opset
from enginesmith.compat.miscompiles import Miscompilation, table
from enginesmith.compat.miscompiles.patterns import PATTERNS
from enginesmith.compat.repairs.repair import GraphRepair
from enginesmith.compat.target import Target
from enginesmith.compat.values import qualified
from enginesmith.compat.workarounds.workaround import WORKAROUNDS, Around

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["WORKAROUNDS", "has_rewrite", "rewrites"]

OLDEST = 13
"""The opset from which the rewrites speak."""


def rewrites(target: Target) -> list[GraphRepair]:
    """The workarounds of the entries that apply to a target, as repairs named like these."""
    entries = [entry for entry in table() if entry.rewrite and RULES[entry.id].applies_to(target)]
    return [
        GraphRepair(entry.id, (entry.backend,), WORKAROUNDS[entry.rewrite].tolerance, entry.example, _of(entry))
        for entry in entries
    ]


def has_rewrite(rule: str) -> bool:
    """Is there a workaround that is a rewrite for the miscompilation of a rule?"""
    return any(entry.id == rule and entry.rewrite for entry in table())


def _of(entry: Miscompilation) -> Callable[[ir.Model, Target], int]:
    pattern, make = PATTERNS[entry.pattern], WORKAROUNDS[entry.rewrite].rewrite

    def rewrite(model: ir.Model, target: Target) -> int:
        if opset(model) < OLDEST:
            raise NotApplicable(f"its opset is older than {OLDEST}")
        infer(model)
        named(model)
        changes, refused = 0, None
        for node in list(model.graph.all_nodes()):
            if node.graph is None or qualified(node) not in pattern.ops or not pattern.looks(node):
                continue
            builder = Around(node, target, model)
            try:
                results = make(node, builder)
                if results is not None:
                    replace(builder.node, builder, results)
                changes += 1
            except NotApplicable as reason:
                refused = reason
        if refused is not None and not changes:
            raise refused
        return changes

    rewrite.__doc__ = f"{make.__doc__}"
    return rewrite
