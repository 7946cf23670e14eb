"""Ensembles of decision trees as comparisons and one matrix product.

The method is the GEMM strategy of Hummingbird (Nakandala et al., A Tensor Compiler for Unified Machine Learning
Prediction Serving, OSDI 2020): every decision is taken for every row; a leaf is reached where all decisions on its
path go its way, which a product of decisions (+1, -1) with the paths counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import modern
from enginesmith.compat.repairs.ml_scores import transformed
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import Array, attribute, dtype, rank

MAX_CELLS = 1 << 22
"""Decisions times leaves: a larger ensemble would be a matrix of more than 16 MB."""
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
COMPARISONS = {
    "BRANCH_LEQ": "LessOrEqual",
    "BRANCH_LT": "Less",
    "BRANCH_GTE": "GreaterOrEqual",
    "BRANCH_GT": "Greater",
    "BRANCH_EQ": "Equal",
    "BRANCH_NEQ": "Equal",
}


@dataclass
class Forest:
    """Decisions (`features`, `modes`, `splits`, the `members` of a set, and where NaN counts as true) and leaves.

    `paths` holds for each leaf the decisions on its way with +1 or -1, `weights` what it adds to each target, `trees` the number
    of its tree.
    """

    features: list[int] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    splits: list[float] = field(default_factory=list)
    members: list[list[float]] = field(default_factory=list)
    missing: list[bool] = field(default_factory=list)
    paths: list[dict[int, int]] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)
    trees: list[int] = field(default_factory=list)

    def decision(self, feature: int, mode: str, split: float, members: list[float], missing: bool) -> int:
        self.features.append(feature)
        self.modes.append(mode)
        self.splits.append(split)
        self.members.append(members)
        self.missing.append(missing)
        return len(self.features) - 1


@repair(
    "tree-ensemble-regressor",
    ops="ai.onnx.ml::TreeEnsembleRegressor",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 3]>
predict (float[4, 2] x) => (float[4, 1] y) {
  y = ai.onnx.ml.TreeEnsembleRegressor <
    n_targets = 1, nodes_treeids = [0, 0, 0], nodes_nodeids = [0, 1, 2], nodes_featureids = [1, 0, 0],
    nodes_values = [0.5, 0.0, 0.0], nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids = [1, 0, 0],
    nodes_falsenodeids = [2, 0, 0], target_treeids = [0, 0], target_nodeids = [1, 2], target_ids = [0, 0],
    target_weights = [1.5, -2.5]> (x)
}
""",
)
def tree_ensemble_regressor(node: ir.Node, build: Builder) -> Replacement:
    """Every decision of every tree is taken at once; a matrix product finds the leaves and adds up their weights."""
    targets = int(attribute(node, "n_targets", 1))
    forest, voted = forest_of(node, "target", targets)
    how = attribute(node, "aggregate_function", "SUM")
    if how in ("MIN", "MAX") and any(len(each) < targets for each in voted):
        raise NotApplicable(f"it takes the {how.lower()} over trees, not all of which have every target")
    result, base = aggregated(forest, node, build, targets, how), numbers(node, "base_values")
    if len(base):
        result = build.op("Add", result, np.array(base, np.float32))
    how = attribute(node, "post_transform", "NONE")
    # ONNX Runtime transforms a single score by PROBIT alone
    return result if targets == 1 and how != "PROBIT" else transformed(build, result, how)


def forest_of(node: ir.Node, kind: str, targets: int) -> tuple[Forest, list[set[int]]]:
    """The forest of a node whose leaves' weights are given as `kind` (target or class), and for each tree those of its targets
    to which every leaf adds."""
    keys = list(zip(attribute(node, "nodes_treeids", []), attribute(node, "nodes_nodeids", []), strict=True))
    index = {key: place for place, key in enumerate(keys)}
    weights = {key: np.zeros(targets) for key in keys}
    given: dict[tuple[int, int], set[int]] = {key: set() for key in keys}
    for tree, leaf, target, weight in zip(
        *(attribute(node, f"{kind}_{name}", []) for name in ("treeids", "nodeids", "ids")),
        numbers(node, f"{kind}_weights"),
        strict=True,
    ):
        weights[tree, leaf][target] += weight
        given[tree, leaf].add(target)
    features, splits = attribute(node, "nodes_featureids", []), numbers(node, "nodes_values")
    modes = attribute(node, "nodes_modes", [])
    children = (attribute(node, "nodes_falsenodeids", []), attribute(node, "nodes_truenodeids", []))
    missing = attribute(node, "nodes_missing_value_tracks_true", []) or [0] * len(keys)
    forest = Forest()
    everywhere: dict[int, set[int]] = {}

    def visit(key: tuple[int, int], path: dict[int, int]) -> Iterator[tuple[tuple[int, int], dict[int, int]]]:
        place = index[key]
        if modes[place] == "LEAF":
            forest.paths.append(path)
            forest.weights.append(weights[key])
            forest.trees.append(roots[key[0]])
            everywhere[key[0]] = everywhere.get(key[0], given[key]) & given[key]
            return
        split = forest.decision(features[place], modes[place], splits[place], [], bool(missing[place]))
        for truth, following in enumerate(children):
            yield (key[0], following[place]), {**path, split: 1 if truth else -1}

    firsts = list({key[0]: key for key in reversed(keys)}.values())
    roots = {key[0]: number for number, key in enumerate(firsts)}
    _walk(visit, firsts)
    return forest, list(everywhere.values())


@repair(
    "tree-ensemble",
    ops="ai.onnx.ml::TreeEnsemble",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 5]>
predict (float[4, 2] x) => (float[4, 2] y) {
  y = ai.onnx.ml.TreeEnsemble <
    n_targets = 2, aggregate_function = 1, post_transform = 0, tree_roots = [0], nodes_featureids = [1],
    nodes_modes = uint8[1] {0}, nodes_splits = float[1] {0.5}, nodes_truenodeids = [0], nodes_falsenodeids = [1],
    nodes_trueleafs = [1], nodes_falseleafs = [1], leaf_targetids = [0, 1], leaf_weights = float[2] {1.5, -2.5}> (x)
}
""",
)
def tree_ensemble(node: ir.Node, build: Builder) -> Replacement:
    """As for the older regressor: all decisions at once, then a matrix product. Set membership is a comparison each."""
    if attribute(node, "post_transform", 0) != 0:
        raise NotApplicable("it transforms its scores")
    targets, how = int(attribute(node, "n_targets", 1)), AGGREGATES[int(attribute(node, "aggregate_function", 1))]
    if targets > 1 and how in ("MIN", "MAX"):
        raise NotApplicable(f"it takes the {how.lower()} over trees, whose leaves have one target of several each")
    features, splits = attribute(node, "nodes_featureids", []), numbers(node, "nodes_splits")
    modes = [MODES[int(mode)] for mode in numbers(node, "nodes_modes")]
    children = (attribute(node, "nodes_falsenodeids", []), attribute(node, "nodes_truenodeids", []))
    leaves = (attribute(node, "nodes_falseleafs", []), attribute(node, "nodes_trueleafs", []))
    missing = attribute(node, "nodes_missing_value_tracks_true", []) or [0] * len(features)
    target_ids, leaf_weights = attribute(node, "leaf_targetids", []), numbers(node, "leaf_weights")
    sets = iter(_sets(numbers(node, "membership_values")))
    members = [next(sets) if mode == "BRANCH_MEMBER" else [] for mode in modes]
    forest = Forest()

    def visit(
        key: tuple[int, int, bool], path: dict[int, int]
    ) -> Iterator[tuple[tuple[int, int, bool], dict[int, int]]]:
        tree, place, leaf = key
        if leaf:
            forest.paths.append(path)
            forest.weights.append(np.eye(targets)[target_ids[place]] * leaf_weights[place])
            forest.trees.append(tree)
            return
        split = forest.decision(features[place], modes[place], splits[place], members[place], bool(missing[place]))
        for truth in (0, 1):
            yield (tree, children[truth][place], bool(leaves[truth][place])), {**path, split: 1 if truth else -1}

    _walk(visit, [(tree, root, False) for tree, root in enumerate(attribute(node, "tree_roots", []))])
    return aggregated(forest, node, build, targets, how)


def _walk(visit: Any, roots: list[Any]) -> None:
    """Visit every node below the roots, each with the decisions that lead to it. Trees may be deep: no recursion."""
    waiting: list[tuple[Any, dict[int, int]]] = [(root, {}) for root in roots]
    steps = 0
    while waiting:
        steps += 1
        if steps > MAX_CELLS:
            raise NotApplicable("its trees don't end")
        waiting.extend(visit(*waiting.pop()))


def numbers(node: ir.Node, name: str) -> list[float]:
    """A list of numbers, given as such or as a tensor."""
    values = attribute(node, name)
    if values is None:
        tensor = attribute(node, f"{name}_as_tensor")
        return [] if tensor is None else list(tensor.numpy().reshape(-1).tolist())
    return list(values.numpy().reshape(-1).tolist()) if hasattr(values, "numpy") else list(values)


def _sets(values: list[float]) -> Iterator[list[float]]:
    """The sets that `membership_values` lists one after the other, each ended by NaN."""
    current: list[float] = []
    for value in values:
        if np.isnan(value):
            yield current
            current = []
        else:
            current.append(value)


def aggregated(forest: Forest, node: ir.Node, build: Builder, targets: int, how: str) -> ir.Value:
    """What the trees say of each row of the input, rows x targets: their SUM, AVERAGE, MIN or MAX."""
    trees = len(set(forest.trees))
    if how in ("SUM", "AVERAGE"):
        return emit(forest, node, build, targets, trees if how == "AVERAGE" else 1)
    apart = [np.zeros((trees, targets)) for _ in forest.paths]
    for own, tree, weights in zip(apart, forest.trees, forest.weights, strict=True):
        own[tree] = weights
    each = emit(replace(forest, weights=apart), node, build, trees * targets, 1)
    return build.op(
        "ReduceMin" if how == "MIN" else "ReduceMax", build.op("Reshape", each, [-1, trees, targets]), [1], keepdims=0
    )


def emit(forest: Forest, node: ir.Node, build: Builder, targets: int, divisor: int) -> ir.Value:
    """The weights of the leaves that each row of the input (rows x features) reaches, as rows x targets."""
    modern(build)
    x, result = node.inputs[0], dtype(node.outputs[-1]) or ir.DataType.FLOAT
    kind = dtype(x)
    if rank(x) != 2 or kind not in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        raise NotApplicable(f"its input is no matrix of floats: {kind}")
    count = len(forest.features)
    if not count or count * len(forest.paths) > MAX_CELLS:
        raise NotApplicable("the ensemble is too large, or has no decision")
    number = kind.numpy().type
    truths, order = [], []
    values = build.op("Gather", x, np.array(forest.features, np.int64), axis=1)
    for mode in dict.fromkeys(forest.modes):
        places = [place for place in range(count) if forest.modes[place] == mode]
        order += places
        own = values if len(places) == count else build.op("Gather", values, np.array(places, np.int64), axis=1)
        truths.append(
            _decided(build, own, mode, [forest.splits[i] for i in places], [forest.members[i] for i in places], number)
        )
    truth = truths[0] if len(truths) == 1 else build.op("Concat", *truths, axis=1)
    if any(forest.missing):
        ordered = build.op("Gather", values, np.array(order, np.int64), axis=1)
        tracked = np.array([forest.missing[place] for place in order])
        truth = build.op("Or", truth, build.op("And", build.op("IsNaN", ordered), tracked))
    row = {place: index for index, place in enumerate(order)}
    paths = np.zeros((count, len(forest.paths)), np.float32)
    for leaf, path in enumerate(forest.paths):
        for place, way in path.items():
            paths[row[place], leaf] = way
    lengths = np.array([len(path) for path in forest.paths], np.float32)
    signs = build.op("Sub", build.op("Mul", build.op("Cast", truth, to=ir.DataType.FLOAT), 2.0), 1.0)
    reached = build.op("Cast", build.op("Equal", build.op("MatMul", signs, paths), lengths), to=result)
    weights = np.array(forest.weights).reshape(len(forest.paths), targets) / divisor
    return build.op("MatMul", reached, weights.astype(result.numpy()))


def _decided(
    build: Builder, values: ir.Value, mode: str, splits: list[float], members: list[list[float]], number: Any
) -> ir.Value:
    """Decisions of one mode, for values of rows x decisions."""
    if mode == "BRANCH_MEMBER":
        longest = max((len(one) for one in members), default=0) or 1
        # NaN is equal to nothing: it fills up the shorter sets.
        table = np.array([one + [np.nan] * (longest - len(one)) for one in members], number)
        same = build.op("Equal", build.op("Unsqueeze", values, [2]), table)
        found = build.op("ReduceMax", build.op("Cast", same, to=ir.DataType.INT32), [2], keepdims=0)
        return build.op("Cast", found, to=ir.DataType.BOOL)
    truth = build.op(COMPARISONS[mode], values, np.array(splits, number))
    return build.op("Not", truth) if mode == "BRANCH_NEQ" else truth
