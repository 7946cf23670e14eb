"""Operators of ai.onnx.ml that prepare features, as scikit-learn and others export them, in the standard ones.

Only where every value is a number: no backend here has strings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import modern
from enginesmith.compat.repairs.ml_scores import ML, floats
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import Array, attribute, dtype, rank, required, static_shape

FLOAT = ir.DataType.FLOAT
STRINGS = "its categories are strings, which no backend has: number them before the graph"
FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE)


@repair(
    "binarizer",
    ops=f"{ML}Binarizer",
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
binarize (float[2, 3] x) => (float[2, 3] y) { y = ai.onnx.ml.Binarizer <threshold = 0.5> (x) }
""",
)
def binarizer(node: ir.Node, build: Builder) -> Replacement:
    """Binarizer is 1 where the value is above the threshold, else 0."""
    kind = dtype(node.inputs[0])
    if kind not in FLOATS:
        raise NotApplicable(f"a threshold of {kind}")
    threshold = np.array(attribute(node, "threshold", 0.0), np.float32).astype(kind.numpy())
    return build.op("Cast", build.op("Greater", node.inputs[0], threshold), to=kind)


@repair(
    "array-feature-extractor",
    ops=f"{ML}ArrayFeatureExtractor",
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
pick (float[3, 4] x, int64[2] which) => (float[3, 2] y) { y = ai.onnx.ml.ArrayFeatureExtractor (x, which) }
""",
)
def array_feature_extractor(node: ir.Node, build: Builder) -> Replacement:
    """ArrayFeatureExtractor gathers columns; of a vector it makes one row."""
    x, which = node.inputs
    dimensions = rank(x)
    if dimensions is None or dtype(x) == ir.DataType.STRING:
        raise NotApplicable("its rank is unknown, or it holds strings")
    row = build.op("Unsqueeze", x, [0]) if dimensions == 1 else x
    return build.op("Gather", row, build.op("Reshape", which, [-1]), axis=-1)


@repair(
    "scaler",
    ops=f"{ML}Scaler",
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
scale (float[2, 3] x) => (float[2, 3] y) { y = ai.onnx.ml.Scaler <offset = [1.0, 2.0, 3.0], scale = [0.5]> (x) }
""",
    tolerance=1e-6,
)
def scaler(node: ir.Node, build: Builder) -> Replacement:
    """Scaler subtracts an offset and multiplies by a scale, in float32."""
    offset, scale = floats(node, "offset"), floats(node, "scale")
    if not offset.size or not scale.size:
        raise NotApplicable("offset or scale is missing")
    x = build.op("Cast", node.inputs[0], to=ir.DataType.FLOAT)
    return build.op("Mul", build.op("Sub", x, offset), scale)


@repair(
    "normalizer",
    ops=f"{ML}Normalizer",
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
normalize (float[2, 3] x) => (float[2, 3] y) { y = ai.onnx.ml.Normalizer <norm = "L2"> (x) }
""",
    tolerance=1e-6,
)
def normalizer(node: ir.Node, build: Builder) -> Replacement:
    """Normalizer divides each row by its L1 or L2 norm or its maximum; a norm of 0 leaves the row as it is."""
    norm = attribute(node, "norm", "MAX")
    operators = {"MAX": "ReduceMax", "L1": "ReduceL1", "L2": "ReduceL2"}
    modern(build)
    if norm not in operators or rank(node.inputs[0]) not in (1, 2):
        raise NotApplicable(f"norm {norm}, or not rows of numbers")
    x = build.op("Cast", node.inputs[0], to=ir.DataType.FLOAT)
    size = build.op(operators[norm], x, [-1], keepdims=1)
    return build.op("Div", x, build.op("Where", build.op("Equal", size, 0.0), 1.0, size))


@repair(
    "imputer",
    ops=f"{ML}Imputer",
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
impute (float[2, 3] x) => (float[2, 3] y) {
  y = ai.onnx.ml.Imputer <imputed_value_floats = [4.0], replaced_value_float = 1.0> (x)
}
""",
)
def imputer(node: ir.Node, build: Builder) -> Replacement:
    """Imputer replaces one value (or NaN) by another, one for each column or one for all."""
    x, kind = node.inputs[0], dtype(node.inputs[0])
    if kind == ir.DataType.INT64:
        replaced: Any = np.int64(attribute(node, "replaced_value_int64", 0))
        imputed = np.array(attribute(node, "imputed_value_int64s", []), np.int64)
    elif kind == ir.DataType.FLOAT:
        replaced, imputed = (
            np.float32(attribute(node, "replaced_value_float", 0.0)),
            floats(node, "imputed_value_floats"),
        )
    else:
        raise NotApplicable(f"values of {kind}")
    if not imputed.size:
        raise NotApplicable("no imputed value is given")
    missing = build.op("IsNaN", x) if np.isnan(replaced) else build.op("Equal", x, replaced)
    return build.op("Where", missing, imputed, x)


@repair(
    "label-encoder",
    ops=f"{ML}LabelEncoder",
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 2]>
encode (int64[4] x) => (float[4] y) {
  y = ai.onnx.ml.LabelEncoder <keys_int64s = [3, 1], values_floats = [0.5, 2.5], default_float = -1.0> (x)
}
""",
)
def label_encoder(node: ir.Node, build: Builder) -> Replacement:
    """LabelEncoder of numbers compares with every key, and gathers the value of the one that is equal."""
    modern(build)
    keys, values = _mapping(node, "keys"), _mapping(node, "values")
    if keys is None or values is None or len(keys) != len(values) or not len(keys):
        raise NotApplicable("it maps strings")
    if len(np.unique(keys)) != len(keys) or np.isnan(keys).any():
        raise NotApplicable("a key occurs twice, or is no number")
    default = {"f": attribute(node, "default_float", -0.0), "i": attribute(node, "default_int64", -1)}
    tensor = attribute(node, "default_tensor")
    other = tensor.numpy() if tensor is not None else np.array(default[values.dtype.kind])
    wide = build.op("Unsqueeze", node.inputs[0], [-1])
    found = build.op("Cast", build.op("Equal", wide, keys), to=ir.DataType.INT32)
    place = build.op("ArgMax", found, axis=-1, keepdims=0)
    known = build.op("Cast", build.op("ReduceMax", found, [-1], keepdims=0), to=ir.DataType.BOOL)
    return build.op("Where", known, build.op("Gather", values, place), other.astype(values.dtype).reshape(()))


def _mapping(node: ir.Node, name: str) -> Array | None:
    """The keys or the values, None where they are strings or missing."""
    if (integers := attribute(node, f"{name}_int64s")) is not None:
        return np.array(integers, np.int64)
    if (numbers := attribute(node, f"{name}_floats")) is not None:
        return np.array(numbers, np.float32)
    tensor = attribute(node, f"{name}_tensor")
    return None if tensor is None or tensor.dtype == ir.DataType.STRING else np.asarray(tensor.numpy())


@repair(
    "one-hot-encoder",
    ops=f"{ML}OneHotEncoder",
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
encode (int64[4] x) => (float[4, 2] y) { y = ai.onnx.ml.OneHotEncoder <cats_int64s = [1, 3]> (x) }
""",
)
def one_hot_encoder(node: ir.Node, build: Builder) -> Replacement:
    """Each number is compared with each category, as a whole number. Without `zeros` an unknown one would be an error, which a
    graph can't raise: it gives zeros."""
    modern(build)
    (x,) = required(node, 1)
    categories = np.array(attribute(node, "cats_int64s", []), np.int64)
    if not categories.size or dtype(x) == ir.DataType.STRING:
        raise NotApplicable(STRINGS)
    number = build.op("Cast", x, to=ir.DataType.INT64)
    return build.op("Cast", build.op("Equal", build.op("Unsqueeze", number, [-1]), categories), to=FLOAT)


@repair(
    "feature-vectorizer",
    ops=f"{ML}FeatureVectorizer",
    example="""
<ir_version: 10, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
join (float[2, 3] a, float[2, 1] b) => (float[2, 4] y) {
  y = ai.onnx.ml.FeatureVectorizer <inputdimensions = [3, 1]> (a, b)
}
""",
)
def feature_vectorizer(node: ir.Node, build: Builder) -> Replacement:
    """The features of all inputs are joined, each cut or filled up with zeros to its number of features."""
    wanted = attribute(node, "inputdimensions", [])
    if len(wanted) != len(node.inputs):
        raise NotApplicable("how many features each input has is not said")
    return build.op(
        "Concat", *(_features(build, x, count) for x, count in zip(node.inputs, wanted, strict=True)), axis=1
    )


def _features(build: Builder, x: ir.Value | None, count: int) -> ir.Value:
    sizes = static_shape(x)
    if x is None or not sizes:
        raise NotApplicable("the shape of an input is unknown")
    flat = build.op("Cast", build.op("Reshape", x, [sizes[0], -1]), to=FLOAT)
    own = int(np.prod(sizes[1:]))
    if own >= count:
        return build.op("Slice", flat, [0], [count], [1]) if own > count else flat
    return build.op("Pad", flat, np.array([0, 0, 0, count - own], np.int64))
