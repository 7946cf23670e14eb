"""Attention as ONNX Runtime's operators have it, in products and a softmax.

What each does with masks, past keys and scales is that of its kernels for CPUs (onnxruntime/contrib_ops/cpu/bert).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import Arithmetic, Operand
from enginesmith.compat.repairs.fused_activations import MICROSOFT
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, dtype, rank, required, shape, static_shape, used

FILTER = -10000.0
"""What a mask adds to a score, where the node doesn't say."""


class Heads:
    """Splits, joins and compares what is [batch, heads, length, size]; `kind` is the dtype of the scores."""

    def __init__(self, build: Builder, like: ir.Value) -> None:
        found = dtype(like)
        if found is None or not found.is_floating_point():
            raise NotApplicable("the type of its input is unknown, or no float")
        self.build, self.kind, self.known = build, found.numpy(), Arithmetic(build)

    def number(self, value: float) -> Any:
        return np.array(value).astype(self.kind)

    def split(self, x: ir.Value, heads: int) -> ir.Value:
        """[batch, length, heads · size], of each head by itself."""
        apart = self.build.op("Reshape", x, [0, 0, heads, -1])
        return self.build.op("Transpose", apart, perm=[0, 2, 1, 3])

    def merge(self, x: ir.Value) -> ir.Value:
        return self.build.op("Reshape", self.build.op("Transpose", x, perm=[0, 2, 1, 3]), [0, 0, -1])

    def scores(self, q: ir.Value, k: ir.Value, scale: float) -> ir.Value:
        product = self.build.op("MatMul", q, self.build.op("Transpose", k, perm=[0, 1, 3, 2]))
        return self.build.op("Mul", product, self.number(scale))

    def length(self, x: ir.Value, axis: int) -> Operand:
        """A size, a constant where it is known."""
        sizes = shape(x)
        size = sizes[axis] if sizes is not None else None
        if size is not None:
            return np.array(size, np.int64)
        return self.build.op("Squeeze", self.build.op("Shape", x, start=axis, end=axis + 1), [0])

    def ahead(self, queries: Operand, keys: Operand) -> Operand:
        """[queries, keys], true where a key comes after the query, both ending at the same place."""
        op = self.known.op
        own = op("Unsqueeze", op("Add", op("Range", 0, queries, 1), op("Sub", keys, queries)), [1])
        places = op("Unsqueeze", op("Range", 0, keys, 1), [0])
        return op("Greater", places, own)

    def hidden(self, scores: ir.Value, where: Operand) -> ir.Value:
        lowest = np.array(np.finfo(self.kind).min, self.kind)
        return self.build.op("Where", where, lowest, scores)

    def padding(self, mask: ir.Value, keys: Operand, rows: ir.Value, filtered: float) -> ir.Value:
        """What a mask of keys adds to the scores: a mask is [batch, keys] or [batch, queries, keys], of ones where a key
        counts, or of the places [batch] where keys end, followed by those where they begin. `rows` is of that batch."""
        build, dimensions, sizes = self.build, rank(mask), shape(mask)
        if dimensions == 1 and sizes is not None:
            ends = mask
            if not _same_rows(mask, rows):
                count, batch = sizes[0], _whole(rows)
                if count is None or batch is None or count != 2 * batch:
                    raise NotApplicable("whether its mask says where keys begin is not known")
                ends = build.op("Slice", mask, [0], [batch], [0])
            places = self.known.value(self.known.op("Unsqueeze", self.known.op("Range", 0, keys, 1), [0]))
            places = build.op("Cast", places, to=ir.DataType.INT32)
            valid = build.op("Less", places, build.op("Unsqueeze", ends, [1]))
            if ends is not mask:
                first = build.op("Unsqueeze", build.op("Slice", mask, [batch], [count], [0]), [1])
                valid = build.op("And", valid, build.op("Not", build.op("Less", places, first)))
        elif dimensions in (2, 3):
            valid = build.op("Greater", mask, np.int32(0))
        else:
            raise NotApplicable(f"its mask has {dimensions} dimensions")
        added = build.op("Where", valid, self.number(0), self.number(filtered))
        return build.op("Unsqueeze", added, [1] if dimensions == 3 else [1, 2])


def _same_rows(one: ir.Value, other: ir.Value) -> bool:
    """Have both the same first size, be it by name?"""
    if one.shape is None or other.shape is None or one.shape[0] != other.shape[0]:
        return False
    return isinstance(one.shape[0], int) or one.shape[0].value is not None


def _whole(value: ir.Value, axis: int = 0) -> int | None:
    sizes = shape(value)
    return sizes[axis] if sizes is not None else None


@repair(
    "attention-in-products",
    ops=MICROSOFT + "Attention",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
attend (float[2, 3, 8] x, float[8, 24] w, float[24] b) => (float[2, 3, 8] y) {
  y = com.microsoft.Attention <num_heads = 2, unidirectional = 1> (x, w, b)
}
""",
)
def attention(node: ir.Node, build: Builder) -> Replacement:
    """Queries, keys and values are one product, which is split; past keys and values come before the new ones."""
    x, weights = required(node, 2)
    sizes = static_shape(weights) or []
    given = attribute(node, "qkv_hidden_sizes")
    if not given and not sizes:
        raise NotApplicable("the shape of its weights is unknown")
    product = build.op("MatMul", x, weights)
    if (bias := argument(node, 2)) is not None:
        product = build.op("Add", product, bias)
    mask, past, added = (argument(node, place) for place in (3, 4, 5))
    return attended(node, build, product, weights, given or [sizes[1] // 3] * 3, mask, past, added)


def attended(
    node: ir.Node,
    build: Builder,
    product: ir.Value,
    like: ir.Value,
    hidden: Sequence[int],
    mask: ir.Value | None,
    before: ir.Value | None,
    added: ir.Value | None = None,
) -> Replacement:
    """The outputs of an Attention node from its queries, keys and values, side by side in the last axis of `product`, of the
    sizes `hidden` and the type of `like`; `before` are its past keys and values, `added` is a bias of its scores."""
    if attribute(node, "do_rotary", 0) or attribute(node, "past_present_share_buffer", 0):
        raise NotApplicable("it rotates, or keeps its past in one buffer")
    heads, x = int(attribute(node, "num_heads")), required(node, 1)[0]
    tool = Heads(build, like)
    q, k, v = (
        tool.split(part, heads) for part in build.ops("Split", product, np.array(hidden, np.int64), outputs=3, axis=-1)
    )
    keys = tool.length(x, 1)
    if before is not None:
        k, v = (
            build.op("Concat", build.op("Gather", before, np.int64(place), axis=0), new, axis=2)
            for place, new in enumerate((k, v))
        )
        keys = tool.known.op("Add", keys, tool.length(before, 3))
    scale = attribute(node, "scale", 0.0) or 1 / sqrt(hidden[0] // heads)
    scores = tool.scores(q, k, scale)
    for more in (added, None if mask is None else tool.padding(mask, keys, x, _filter(node))):
        if more is not None:
            scores = build.op("Add", scores, more)
    if attribute(node, "unidirectional", 0):
        scores = tool.hidden(scores, tool.ahead(tool.length(x, 1), keys))
    y = tool.merge(build.op("MatMul", build.op("Softmax", scores, axis=-1), v))
    present = (
        build.op("Concat", *(build.op("Unsqueeze", each, [0]) for each in (k, v)), axis=0) if used(node, 1) else None
    )
    return [y, present]


def _unpacked(build: Builder, packed: ir.Value, parts: int) -> list[ir.Value]:
    """[batch, length, heads · size] of each part, from [batch, length, heads, parts, size]."""
    sizes = shape(packed) or [None] * 5
    if sizes[2] is None or sizes[4] is None:
        raise NotApplicable("the size of its heads is unknown")
    whole, found = sizes[2] * sizes[4], []
    for part in build.ops("Split", packed, np.ones(parts, np.int64), outputs=parts, axis=3):
        found.append(build.op("Reshape", part, [0, 0, whole]))
        found[-1].shape = ir.Shape([*list(packed.shape or ())[:2], whole])
    return found


def _filter(node: ir.Node) -> float:
    return float(attribute(node, "mask_filter_value", FILTER))


@repair(
    "multi-head-attention-in-products",
    ops=MICROSOFT + "MultiHeadAttention",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
attend (float[2, 3, 8] q, float[2, 5, 8] k, float[2, 5, 8] v, float[24] b, int32[2, 5] mask) => (float[2, 3, 8] y) {
  y = com.microsoft.MultiHeadAttention <num_heads = 2> (q, k, v, b, mask)
}
""",
)
def multi_head_attention(node: ir.Node, build: Builder) -> Replacement:
    """The heads of queries, keys and values are split; past keys and values come before the new ones."""
    given = q, k, v = [argument(node, place) for place in range(3)]
    heads = int(attribute(node, "num_heads"))
    if q is not None and k is None and v is None and rank(q) == 5:
        q, k, v = _unpacked(build, q, 3)
    elif k is not None and v is None and rank(k) == 5:
        k, v = _unpacked(build, k, 2)
    if q is None or k is None or v is None or None in (rank(q), rank(k)):
        raise NotApplicable("its queries, keys and values are of unknown rank")
    if argument(node, 8) is not None:
        raise NotApplicable("it keeps its past in one buffer")
    first = required(node, 1)[0]
    tool, size = Heads(build, first), _whole(q, 2)
    if size is None:
        raise NotApplicable("the size of its heads is unknown")
    split = [rank(k) == 3, rank(v) == 3]
    bias = argument(node, 3)
    if bias is not None:
        ends = [0, size, 2 * size, 2**31]
        parts = [build.op("Slice", bias, [a], [b], [0]) for a, b in pairwise(ends)]
        q = build.op("Add", q, parts[0])
        k, v = (build.op("Add", x, part) if flat else x for x, part, flat in zip((k, v), parts[1:], split, strict=True))
    q = tool.split(q, heads)
    k, v = (tool.split(x, heads) if flat else x for x, flat in zip((k, v), split, strict=True))
    keys = tool.length(given[1] or first, 1 if split[0] else 2)
    if (past := argument(node, 6)) is not None:
        k, v = build.op("Concat", past, k, axis=2), build.op("Concat", argument(node, 7), v, axis=2)
        keys = tool.known.op("Add", keys, tool.length(past, 2))
    scores = tool.scores(q, k, attribute(node, "scale", 0.0) or 1 / sqrt(size // heads))
    mask = argument(node, 4)
    for more in (argument(node, 5), None if mask is None else tool.padding(mask, keys, first, _filter(node))):
        if more is not None:
            scores = build.op("Add", scores, more)
    if attribute(node, "unidirectional", 0):
        scores = tool.hidden(scores, tool.ahead(tool.length(first, 1), keys))
    y = tool.merge(build.op("MatMul", build.op("Softmax", scores, axis=-1), v))
    return [y, *(value if used(node, place) else None for place, value in ((1, k), (2, v), (3, scores)))]


@repair(
    "rotary-embedding-in-products",
    ops=MICROSOFT + "RotaryEmbedding",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
rotate (float[2, 3, 8] x, int64[2, 3] places, float[6, 2] cos, float[6, 2] sin) => (float[2, 3, 8] y) {
  y = com.microsoft.RotaryEmbedding (x, places, cos, sin)
}
""",
)
def rotary_embedding(node: ir.Node, build: Builder) -> Replacement:
    """Pairs of elements are turned by an angle of the place, which is looked up, or counted from one offset."""
    x, places, cos, sin = required(node, 4)
    table, dimensions, tool = static_shape(cos), rank(x), Heads(build, x)
    if table is None or dimensions not in (3, 4) or attribute(node, "is_packed_batching", 0):
        raise NotApplicable("its shapes are unknown, or it packs its rows")
    turned, heads = int(attribute(node, "rotary_embedding_dim", 0)), int(attribute(node, "num_heads", 0))
    whole = _whole(x, 2 if dimensions == 3 else 3)
    if whole is None:
        raise NotApplicable("the size of its heads is unknown")
    size = whole if dimensions == 4 else whole // heads if turned and heads else 2 * table[1]
    split = tool.split(x, whole // size) if dimensions == 3 else x
    length = tool.length(x, 1 if dimensions == 3 else 2)
    where: Operand = places
    if rank(places) == 1:
        where = tool.known.op("Unsqueeze", tool.known.op("Add", places, tool.known.op("Range", 0, length, 1)), [0])
    y = rotated(tool, split, cos, sin, where, bool(attribute(node, "interleaved", 0)), size)
    scale = float(attribute(node, "scale", 1.0))
    y = y if scale == 1 else build.op("Mul", y, tool.number(scale))
    return tool.merge(y) if dimensions == 3 else y


def rotated(
    tool: Heads, x: ir.Value, cos: ir.Value, sin: ir.Value, places: Operand, interleaved: bool, size: int
) -> ir.Value:
    """x, [batch, heads, length, size], turned by the rows `places` ([1 or batch, length]) of the tables `cos` and `sin`."""
    build = tool.build
    sizes = static_shape(cos)
    if sizes is None:
        raise NotApplicable("the shape of its tables is unknown")
    half = sizes[1]
    c, s = (build.op("Unsqueeze", build.op("Gather", table, places), [1]) for table in (cos, sin))
    if interleaved:
        ends = ([0], [1])
        a, b = (build.op("Slice", x, start, [2 * half], [3], [2]) for start in ends)
    else:
        a, b = (build.op("Slice", x, [start], [start + half], [3]) for start in (0, half))
    real = build.op("Sub", build.op("Mul", a, c), build.op("Mul", b, s))
    imaginary = build.op("Add", build.op("Mul", b, c), build.op("Mul", a, s))
    if interleaved:
        pairs = build.op("Concat", *(build.op("Unsqueeze", part, [4]) for part in (real, imaginary)), axis=4)
        turned = [build.op("Reshape", pairs, [0, 0, 0, 2 * half])]
    else:
        turned = [real, imaginary]
    rest = [build.op("Slice", x, [2 * half], [size], [3])] if 2 * half < size else []
    return build.op("Concat", *turned, *rest, axis=3) if len(turned) + len(rest) > 1 else turned[0]
