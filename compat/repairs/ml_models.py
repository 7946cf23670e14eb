"""Linear models and support vector machines of ai.onnx.ml, in products and comparisons."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.ml_scores import FLOAT, ML, both, chosen, decided, floats, labels, rows, transformed
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import Array, attribute, used


@repair(
    "linear-regressor",
    ops=f"{ML}LinearRegressor",
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
predict (float[4, 2] x) => (float[4, 1] y) {
  y = ai.onnx.ml.LinearRegressor <coefficients = [0.5, -2.0], intercepts = [1.0]> (x)
}
""",
    tolerance=1e-6,
)
def linear_regressor(node: ir.Node, build: Builder) -> Replacement:
    """LinearRegressor is a product with the coefficients, and the intercepts."""
    targets = int(attribute(node, "targets", 1))
    coefficients = floats(node, "coefficients")
    if coefficients.size % targets:
        raise NotApplicable("its coefficients are not so many for each target")
    scores = build.op("MatMul", rows(node, build), np.ascontiguousarray(coefficients.reshape(targets, -1).T))
    intercepts = floats(node, "intercepts")
    if intercepts.size:
        scores = build.op("Add", scores, intercepts)
    return transformed(build, scores, attribute(node, "post_transform", "NONE"))


@repair(
    "linear-classifier",
    ops=f"{ML}LinearClassifier",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
predict (float[4, 2] x) => (int64[4] label, float[4, 2] scores) {
  label, scores = ai.onnx.ml.LinearClassifier <
    coefficients = [0.5, -2.0, -0.5, 2.0], intercepts = [1.0, -1.0], classlabels_ints = [3, 7], post_transform = "SOFTMAX"> (x)
}
""",
)
def linear_classifier(node: ir.Node, build: Builder) -> Replacement:
    """The scores are a product with the coefficients, and the intercepts; the class is that of the largest."""
    x, classes, how = rows(node, build), labels(node), attribute(node, "post_transform", "NONE")
    intercepts = floats(node, "intercepts")
    if not intercepts.size:
        raise NotApplicable("it has no intercepts, by which classes are counted")
    matrix = np.ascontiguousarray(floats(node, "coefficients").reshape(len(intercepts), -1).T)
    scores = build.op("Add", build.op("MatMul", x, matrix), intercepts)
    if len(intercepts) > 1:
        return [chosen(build, classes, scores) if used(node, 0) else None, transformed(build, scores, how)]
    label = decided(build, build.op("Greater", scores, np.float32(0)), classes)
    return [label, both(build, scores, how, negated=False) if len(classes) == 2 else transformed(build, scores, how)]


@repair(
    "svm-regressor",
    ops=f"{ML}SVMRegressor",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
predict (float[4, 2] x) => (float[4, 1] y) {
  y = ai.onnx.ml.SVMRegressor <kernel_type = "RBF", kernel_params = [0.5, 0.0, 3.0], n_supports = 2,
    support_vectors = [0.5, 1.0, -1.0, 2.0], coefficients = [1.0, -0.5], rho = [0.25]> (x)
}
""",
)
def svm_regressor(node: ir.Node, build: Builder) -> Replacement:
    """The kernel of each row with each support vector, times the coefficients."""
    x, count = rows(node, build), int(attribute(node, "n_supports", 0))
    weights, rho = floats(node, "coefficients"), floats(node, "rho")[:1]
    if count:
        x = kernel(node, build, x, floats(node, "support_vectors").reshape(count, -1))
    scores = build.op("Add", build.op("MatMul", x, weights.reshape(-1, 1)), rho)
    if not attribute(node, "one_class", 0):
        return scores
    return build.op("Where", build.op("Greater", scores, np.float32(0)), np.float32(1), np.float32(-1))


def kernel(node: ir.Node, build: Builder, x: ir.Value, vectors: Array) -> ir.Value:
    """The node's kernel of each row of x, [rows, features], with each support vector: [rows, vectors]."""
    kind = attribute(node, "kernel_type", "LINEAR")
    gamma, offset, degree = (np.float32(each) for each in (attribute(node, "kernel_params", None) or [0, 0, 3])[:3])
    if kind == "RBF":
        apart = build.op("Sub", build.op("Unsqueeze", x, [1]), vectors[None])
        return build.op("Exp", build.op("Mul", build.op("ReduceSumSquare", apart, [2], keepdims=0), -gamma))
    product = build.op("MatMul", x, np.ascontiguousarray(vectors.T))
    if kind == "LINEAR":
        return product
    moved = build.op("Add", build.op("Mul", product, gamma), offset)
    if kind == "POLY":
        return build.op("Pow", moved, degree)
    if kind == "SIGMOID":
        return build.op("Tanh", moved)
    raise NotApplicable(f"its kernel is {kind}")


@repair(
    "svm-classifier",
    ops=f"{ML}SVMClassifier",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
predict (float[4, 2] x) => (int64[4] label, float[4, 2] scores) {
  label, scores = ai.onnx.ml.SVMClassifier <kernel_type = "POLY", kernel_params = [0.5, 1.0, 2.0], vectors_per_class = [1, 1],
    support_vectors = [0.5, 1.0, -1.0, 2.0], coefficients = [1.0, -0.5], rho = [0.25], classlabels_ints = [3, 7]> (x)
}
""",
)
def svm_classifier(node: ir.Node, build: Builder) -> Replacement:
    """Each pair of classes has a score, and gives one of them a vote; without support vectors each class has a score."""
    if attribute(node, "prob_a"):
        raise NotApplicable("its probabilities are the end of an iteration: train it without (probability=False)")
    x, classes, how = rows(node, build), labels(node), attribute(node, "post_transform", "NONE")
    weights, rho, counts = floats(node, "coefficients"), floats(node, "rho"), attribute(node, "vectors_per_class", [])
    if not counts:
        return _linear(node, build, x, classes, weights.reshape(len(classes), -1), rho[:1])
    vectors = floats(node, "support_vectors").reshape(sum(counts), -1)
    rows_of, ends = weights.reshape(len(counts) - 1, -1), np.cumsum([0, *counts])
    pairs = [(i, j) for i in range(len(counts)) for j in range(i + 1, len(counts))]
    matrix, votes = np.zeros((sum(counts), len(pairs)), np.float32), np.zeros((2, len(pairs), len(counts)), np.float32)
    for place, (i, j) in enumerate(pairs):
        for own, other in ((i, j - 1), (j, i)):
            matrix[ends[own] : ends[own + 1], place] = rows_of[other, ends[own] : ends[own + 1]]
        votes[0, place, i] = votes[1, place, j] = 1
    scores = build.op("Add", build.op("MatMul", kernel(node, build, x, vectors), matrix), rho[: len(pairs)])
    positive = build.op("Greater", scores, np.float32(0))
    # each pair votes for its second class, or moves that vote to its first
    moves = build.op("MatMul", build.op("Cast", positive, to=FLOAT), votes[0] - votes[1])
    label = chosen(build, classes, build.op("Add", moves, votes[1].sum(axis=0)))
    return [
        label,
        both(build, scores, how, negated=how == "NONE") if len(pairs) == 1 else transformed(build, scores, how),
    ]


def _linear(
    node: ir.Node, build: Builder, x: ir.Value, classes: Array, weights: Array, rho: Array
) -> list[ir.Value | None]:
    scores = build.op("Add", build.op("MatMul", x, np.ascontiguousarray(weights.T)), rho)
    label = chosen(build, classes, scores)
    if len(classes) == 2:
        largest = build.op("ReduceMax", scores, [1], keepdims=0)
        enough = np.float32(np.nextafter(np.float32(0.5), np.float32(0)) if (weights >= 0).all() else 0)
        label = build.op("Where", build.op("Greater", largest, enough), classes[1], label)
    return [label, transformed(build, scores, attribute(node, "post_transform", "NONE"))]
