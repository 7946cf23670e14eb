"""Ensembles of decision trees that choose a class: the scores of `trees`, and what ONNX Runtime makes of them
(onnxruntime/core/providers/cpu/ml/tree_ensemble_aggregator.h)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.ml_scores import both, chosen, decided, labels, transformed
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.repairs.trees import emit, forest_of, numbers
from enginesmith.compat.values import attribute


@repair(
    "tree-ensemble-classifier",
    ops="ai.onnx.ml::TreeEnsembleClassifier",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 3]>
predict (float[4, 2] x) => (int64[4] label, float[4, 2] scores) {
  label, scores = ai.onnx.ml.TreeEnsembleClassifier <
    nodes_treeids = [0, 0, 0], nodes_nodeids = [0, 1, 2], nodes_featureids = [1, 0, 0],
    nodes_values = [0.5, 0.0, 0.0], nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids = [1, 0, 0],
    nodes_falsenodeids = [2, 0, 0], class_treeids = [0, 0], class_nodeids = [1, 2], class_ids = [0, 0],
    class_weights = [0.75, 0.25], classlabels_int64s = [3, 7]> (x)
}
""",
)
def tree_ensemble_classifier(node: ir.Node, build: Builder) -> Replacement:
    """Every leaf that a row reaches adds to the scores of classes; the largest is the row's class. Of two classes one score may
    stand for both."""
    classes, how = labels(node), attribute(node, "post_transform", "NONE")
    count, ids = len(classes), set(attribute(node, "class_ids", []))
    weights, base = np.array(numbers(node, "class_weights")), np.array(numbers(node, "base_values"), np.float32)
    forest, everywhere = forest_of(node, "class", count)
    voted = set().union(*everywhere)
    scores = emit(forest, node, build, count, 1)
    positive = bool((weights >= 0).all())
    if count > 2:
        if not base.size and len(voted) < count and not positive:
            raise NotApplicable("a class may get no vote, and others negative ones")
        scores = build.op("Add", scores, base) if base.size else scores
        return [chosen(build, classes, scores), transformed(build, scores, how)]
    if count < 2 or (1 in ids and 1 not in voted):
        raise NotApplicable("it has one class, or some rows get no vote for the second")
    one = len(ids) == 1
    if 1 not in ids:
        return _of_first(build, scores, classes, base, how, one=one, positive=positive)
    if base.size:
        raise NotApplicable("both of its classes have scores, and base values")
    return [
        _label(build, _column(build, scores, 1), classes, one=one, positive=positive),
        transformed(build, scores, how),
    ]


def _of_first(
    build: Builder, scores: ir.Value, classes: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    base: np.ndarray[tuple[int, ...], np.dtype[np.float32]], how: str, *, one: bool, positive: bool,
) -> list[ir.Value | None]:  # fmt: skip
    """Of scores that are all in the first column, where they mean the second class."""
    score = _column(build, scores, 0)
    if base.size == 2:
        score = build.op("Add", score, base[:1])
        second = build.op("Add", _column(build, scores, 1), base[1:])
        label = _label(build, score, classes, one=one, positive=positive)
        return [label, transformed(build, build.op("Concat", score, second, axis=1), how)]
    if base.size:
        score = build.op("Add", score, base)
    label = _label(build, score, classes, one=one, positive=positive)
    pair = both(build, score, how, negated=not positive)
    if not positive and how != "LOGISTIC":
        # of a score that is not above 0 ONNX Runtime puts the second, negated, after it
        swapped = build.op("Concat", score, build.op("Neg", score), axis=1)
        pair = build.op("Where", build.op("Greater", score, np.float32(0)), pair, swapped)
    if positive and how == "LOGISTIC":
        pair = both(build, score, "NONE", negated=False)
    return [label, pair]


def _column(build: Builder, scores: ir.Value, place: int) -> ir.Value:
    return build.op("Slice", scores, [place], [place + 1], [1])


def _label(
    build: Builder,
    score: ir.Value,
    classes: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    *,
    one: bool,
    positive: bool,
) -> ir.Value:
    second = build.op("Greater", score, np.float32(0.5 if one and positive else 0))
    return decided(build, second, classes if one else np.array([0, 1]))
