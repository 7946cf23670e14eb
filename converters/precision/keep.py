"""The nodes that `--keep` names: by patterns of names or of operators, at the ends of the graph, between two others."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase

import onnx_ir as ir

from enginesmith.compat.values import label
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.graphs.structure import ordered
from enginesmith.converters.precision import rules

ENDS = ("first", "last")
BETWEEN = ".."
"""`from..to`: all nodes on the ways from the one to the other, both among them."""


def kept(
    model: ir.Model, patterns: Iterable[str], among: Collection[ir.Node], products: Collection[ir.Node], what: str
) -> dict[ir.Node, str]:
    """Those of the nodes `among`, called `what`, that the patterns name, and which pattern it was; `products` are those that can be
    the first and the last. Raises UserError where a pattern names none of the nodes."""
    found: dict[ir.Node, str] = {}
    for pattern in patterns:
        if not (named := _named(model, pattern, products) & set(among)):
            raise UserError(f"--keep {pattern!r} matches no {what}; {_example(pattern, among)}")
        found |= dict.fromkeys(named, f"kept: {pattern}")
    return found


def wide(model: ir.Model, patterns: Iterable[str]) -> tuple[str, ...]:
    """Names of the nodes of a prepared model that are to stay in float32. Raises UserError as `kept` does."""
    nodes = [node for node in ordered(model.graph) if node.op_type != "Constant"]
    products = [node for node in rules.products(model) if node.op_type != "Gather"]
    return tuple(node.name or "" for node in kept(model, patterns, nodes, products, "node"))


def first_and_last(model: ir.Model, among: Iterable[ir.Node]) -> tuple[set[ir.Node], set[ir.Node]]:
    """Those of the products `among` that no other comes before, and those that no other comes after: of a detector, the ends of
    its heads. What only chooses elements or positions ends a path.
    """
    choosers = rules.choosers(model)
    products = set(among)
    first, last = set(products), set(products)
    for node in products:
        reached = products & _behind({node}, passes=lambda user: user not in choosers, ends=products)
        first -= reached
        if reached:
            last.discard(node)
    return first, last


def _named(model: ir.Model, pattern: str, products: Collection[ir.Node]) -> set[ir.Node]:
    if pattern in ENDS:
        return first_and_last(model, products)[ENDS.index(pattern)]
    if found := _matching(model, pattern):
        return found
    before, between, after = pattern.partition(BETWEEN)
    if not between:
        return set()
    starts, ends = _matching(model, before), _matching(model, after)
    leading = set(ends)
    for node in reversed(_all(model)):
        if any(user in leading for value in node.outputs for user in value.consumers()):
            leading.add(node)
    return (starts | _behind(starts)) & leading


def _matching(model: ir.Model, pattern: str) -> set[ir.Node]:
    return {node for node in _all(model) if fnmatchcase(node.name or "", pattern) or fnmatchcase(node.op_type, pattern)}


def _all(model: ir.Model) -> list[ir.Node]:
    return list(ordered(model.graph))


def _behind(
    starts: Collection[ir.Node],
    passes: Callable[[ir.Node], bool] = lambda user: True,
    ends: Collection[ir.Node] = (),
) -> set[ir.Node]:
    """What takes results of `starts`, directly or through others; only what `passes`, and nothing through `ends`."""
    waiting, seen = list(starts), set[ir.Node]()
    while waiting:
        for user in (user for value in waiting.pop().outputs for user in value.consumers()):
            if user not in seen and passes(user):
                seen.add(user)
                if user not in ends:
                    waiting.append(user)
    return seen


def _example(pattern: str, among: Collection[ir.Node]) -> str:
    names = [label(node) for node in among]
    if not names:
        return "the model has none"
    if near := difflib.get_close_matches(pattern, names, n=1):
        return f"did you mean {near[0]!r}?"
    return f"the first one's name is {names[0]!r}"
