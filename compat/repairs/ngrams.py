"""TfIdfVectorizer of numbers: every n-gram is looked for at every place."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import modern
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import Array, attribute, static_shape

MAX_COMPARISONS = 1 << 24


@repair(
    "tf-idf-by-comparison",
    ops="TfIdfVectorizer",
    tolerance=1e-6,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
counts (int32[2, 6] x) => (float[2, 3] y) {
  y = TfIdfVectorizer <mode = "TF", min_gram_length = 1, max_gram_length = 2, max_skip_count = 1,
    ngram_counts = [0, 2], ngram_indexes = [0, 2, 1], pool_int64s = [2, 3, 5, 4]> (x)
}
""",
)
def tf_idf_by_comparison(node: ir.Node, build: Builder) -> Replacement:
    """Each row is compared with the n-grams at each place and each skip; the equal ones are counted and weighted."""
    sizes = static_shape(node.inputs[0])
    pool = attribute(node, "pool_int64s")
    modern(build)
    if sizes is None or len(sizes) not in (1, 2) or not pool:
        raise NotApplicable("it looks for strings, or its shape is not static")
    indexes = np.array(attribute(node, "ngram_indexes", []), np.int64)
    counted = [
        _counts(build, grams, sizes[-1], attribute(node, "max_skip_count", 0), len(sizes))
        if attribute(node, "min_gram_length", 1) <= grams.shape[1] <= attribute(node, "max_gram_length", 1)
        else build.constant(np.zeros([*sizes[:-1], len(grams)], np.float32))
        for grams in _pools(np.array(pool, np.int64), attribute(node, "ngram_counts", []))
    ]
    counts = counted[0] if len(counted) == 1 else build.op("Concat", *counted, axis=-1)
    mode = attribute(node, "mode", "TF")
    if mode == "IDF":
        counts = build.op("Min", counts, 1.0)
    weights = np.array(attribute(node, "weights", None) or np.ones(len(indexes)), np.float32)
    spread = np.zeros((len(indexes), int(indexes.max()) + 1), np.float32)
    spread[np.arange(len(indexes)), indexes] = 1.0 if mode == "TF" else weights
    return build.op("MatMul", counts, spread)


def _pools(pool: Array, starts: list[int]) -> list[Array]:
    """The n-grams for n = 1, 2, ... as arrays of (number, n); lengths without any are left out."""
    ends = [*starts[1:], len(pool)]
    parts = [pool[start:end].reshape(-1, n) for n, (start, end) in enumerate(zip(starts, ends, strict=True), 1)]
    return [part for part in parts if len(part)]


def _counts(build: Builder, grams: Array, length: int, skips: int, dimensions: int) -> ir.Value:
    """How often each n-gram occurs in each row, its elements up to `skips` elements apart."""
    n = grams.shape[1]
    # A single element has no gap that could be longer.
    places = [
        start + np.arange(n) * step
        for step in range(1, (skips if n > 1 else 0) + 2)
        for start in range(length - (n - 1) * step)
    ]
    if not places or len(places) * grams.size > MAX_COMPARISONS:
        raise NotApplicable("its n-grams are longer than the input, or too many")
    x = build.op("Cast", build.node.inputs[0], to=ir.DataType.INT64)
    windows = build.op("Unsqueeze", build.op("Gather", x, np.array(places), axis=-1), [-2])
    same = build.op("Cast", build.op("Equal", windows, grams), to=ir.DataType.INT32)
    found = build.op("Cast", build.op("ReduceMin", same, [-1], keepdims=0), to=ir.DataType.FLOAT)
    return build.op("ReduceSum", found, [dimensions - 1], keepdims=0)
