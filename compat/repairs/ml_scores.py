"""What models of ai.onnx.ml have in common: rows of features, scores and the classes that they choose.

What is done with two classes and one score is that of ONNX Runtime's kernels (onnxruntime/core/providers/cpu/ml).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable
from enginesmith.compat.repairs.arithmetic import modern
from enginesmith.compat.values import Array, attribute, rank, used

ML = "ai.onnx.ml::"
FLOAT = ir.DataType.FLOAT


def floats(node: ir.Node, name: str) -> Array:
    return np.array(attribute(node, name, []), np.float32)


def rows(node: ir.Node, build: Builder) -> ir.Value:
    """The input in float32 as a matrix; one of one dimension is a row."""
    modern(build)
    x, dimensions = build.op("Cast", node.inputs[0], to=FLOAT), rank(node.inputs[0])
    if dimensions not in (1, 2):
        raise NotApplicable("its input is no matrix")
    return build.op("Unsqueeze", x, [0]) if dimensions == 1 else x


def labels(node: ir.Node) -> Array:
    """The numbers of the classes. Raises NotApplicable where they are strings and something reads them."""
    names = attribute(node, "classlabels_strings", [])
    if names and used(node, 0):
        raise NotApplicable(
            "its classes are strings, which no backend has: give the model's classes numbers, or cut the graph behind the scores"
        )
    numbers = attribute(node, "classlabels_ints") or attribute(node, "classlabels_int64s", [])
    return np.arange(len(names)) if names else np.array(numbers, np.int64)


def transformed(build: Builder, scores: ir.Value, how: str) -> ir.Value:
    """Scores, [rows, classes], after `post_transform`."""
    match how:
        case "NONE":
            return scores
        case "LOGISTIC":
            return build.op("Sigmoid", scores)
        case "SOFTMAX":
            return build.op("Softmax", scores, axis=1)
        case "SOFTMAX_ZERO":
            # zeros stay zeros, but for what exp makes of the largest
            largest = build.op("ReduceMax", scores, [1], keepdims=1)
            far = build.op("Greater", build.op("Abs", scores), np.float32(1e-7))
            kept = build.op("Mul", scores, build.op("Exp", build.op("Neg", largest)))
            values = build.op("Where", far, build.op("Exp", build.op("Sub", scores, largest)), kept)
            total = build.op("ReduceSum", build.op("Where", far, values, np.float32(0)), [1], keepdims=1)
            return build.op("Div", values, total)
    raise NotApplicable(f"it transforms its scores by {how}")


def both(build: Builder, score: ir.Value, how: str, negated: bool) -> ir.Value:
    """The scores of two classes from that of the second, [rows, 1]: their sum is 1, or 0 if `negated` and they are no
    probabilities."""
    if how == "LOGISTIC":
        return build.op("Concat", build.op("Sigmoid", build.op("Neg", score)), build.op("Sigmoid", score), axis=1)
    if how == "PROBIT":
        raise NotApplicable("it transforms its scores by PROBIT")
    other = build.op("Neg", score) if negated else build.op("Sub", np.float32(1), score)
    return build.op("Concat", other, score, axis=1)


def chosen(build: Builder, classes: Array, scores: ir.Value) -> ir.Value:
    """For each row the class with the largest score, the first of several."""
    return build.op("Gather", classes, build.op("ArgMax", scores, axis=1, keepdims=0))


def decided(build: Builder, second: ir.Value, classes: Array) -> ir.Value:
    """For each row of `second`, [rows, 1] of truth, the second of two classes, else the first; 1 and 0 where they are not two."""
    pair = classes if len(classes) == 2 else np.array([0, 1])
    return build.op("Where", build.op("Squeeze", second, [1]), pair[1], pair[0])
