"""GroupQueryAttention of ONNX Runtime: heads that share keys, which are kept from one run to the next.

What it does with lengths is that of its kernel for CPUs (onnxruntime/contrib_ops/cpu/bert/group_query_attention.cc).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import Operand
from enginesmith.compat.repairs.fused_activations import MICROSOFT
from enginesmith.compat.repairs.fused_attention import Heads, rotated
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import Array, argument, attribute, constant, static_shape, used


@repair(
    "group-query-attention-in-products",
    ops=MICROSOFT + "GroupQueryAttention",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
attend (float[1, 3, 32] q, float[1, 3, 16] k, float[1, 3, 16] v, float[1, 1, 2, 16] pk, float[1, 1, 2, 16] pv, int32[1] last,
  int32 total) => (float[1, 3, 32] y, float[1, 1, 5, 16] nk, float[1, 1, 5, 16] nv) {
  y, nk, nv = com.microsoft.GroupQueryAttention <num_heads = 2, kv_num_heads = 1> (q, k, v, pk, pv, last, total)
}
""",
)
def group_query_attention(node: ir.Node, build: Builder) -> Replacement:
    """Each group of queries shares its keys and values; in each row new ones follow so many past ones as count there, and a
    query sees what comes before it."""
    q, k, v, past_k, past_v, last, total = (argument(node, place) for place in range(7))
    heads, groups = int(attribute(node, "num_heads")), int(attribute(node, "kv_num_heads"))
    if q is None or last is None or total is None or past_k is None or past_v is None:
        raise NotApplicable("it has no past keys")
    if any(argument(node, place) is not None for place in range(11, 20)) or attribute(node, "smooth_softmax", 0) > 0:
        raise NotApplicable("it has sinks, or quantized keys")
    sizes, before = static_shape(q), static_shape(past_k)
    if sizes is None or before is None:
        raise NotApplicable("its lengths are not fixed: give each of its sizes one number (--shape)")
    batch, queries, size = sizes[0], sizes[1], before[3]
    tool, bias = Heads(build, q), argument(node, 10)
    keys = _length(node, queries, before[2], total)
    if bias is not None and (static_shape(bias) or [0])[-1] != keys:
        raise NotApplicable("its bias has not one number for each of its keys")
    _assumed(build, batch, queries, before[2], keys, last, total)
    starts = _starts(tool, queries, keys, before[2], last, total)
    own = tool.known.op("Add", starts, np.arange(queries)[None])
    if k is None or v is None:
        parts = np.array([heads * size, groups * size, groups * size], np.int64)
        q, k, v = build.ops("Split", q, parts, outputs=3, axis=-1)
    q, k, v = tool.split(q, heads), tool.split(k, groups), tool.split(v, groups)
    if attribute(node, "do_rotary", 0):
        cos, sin, places = (argument(node, place) for place in (7, 8, 9))
        if cos is None or sin is None:
            raise NotApplicable("what it rotates by is missing")
        where = own if places is None else places
        interleaved = bool(attribute(node, "rotary_interleaved", 0))
        q, k = (rotated(tool, x, cos, sin, where, interleaved, size) for x in (q, k))
    k, v = (_joined(tool, past, new, starts, queries, keys) for past, new in ((past_k, k), (past_v, v)))
    shared_k, shared_v = (_repeated(build, x, [batch, groups, heads // groups, keys, size]) for x in (k, v))
    scores = tool.scores(q, shared_k, attribute(node, "scale", 0.0) or 1 / sqrt(size))
    if cap := float(attribute(node, "softcap", 0.0)):
        scores = build.op("Mul", build.op("Tanh", build.op("Div", scores, tool.number(cap))), tool.number(cap))
    if bias is not None:
        scores = build.op("Add", scores, bias)
    window = int(attribute(node, "local_window_size", -1))
    unseen = _unseen(tool, own, keys, tool.known.op("Reshape", last, [-1, 1]), window, bool(cap))
    shares = build.op("Softmax", tool.hidden(scores, unseen), axis=-1)
    if window > 0:  # whose queries beyond a row's end may see nothing
        shares = build.op("Where", unseen, tool.number(0), shares)
    y = tool.merge(build.op("MatMul", shares, shared_v))
    return [y, *(value if used(node, place) else None for place, value in ((1, k), (2, v)))]


def _length(node: ir.Node, queries: int, past: int, total: ir.Value) -> int:
    """How many keys there are in the end: in a buffer of the past's length, or behind the past ones."""
    present, known = static_shape(node.outputs[1]) if len(node.outputs) > 1 else None, constant(total)
    keys = present[2] if present is not None else past + queries if known is None else max(past, int(known.reshape(())))
    if keys not in (past, queries, past + queries):
        raise NotApplicable("its keys are neither kept in a buffer nor all behind the past ones")
    return keys


def _assumed(build: Builder, batch: int, queries: int, past: int, keys: int, last: ir.Value, total: ir.Value) -> None:
    """Lengths that such keys may have: of all rows alike, of each its own, of the first words and of further ones."""
    given = {each.name or "": static_shape(each) or [] for each in (last, total)}
    ragged = np.linspace(keys, queries, batch) if batch > 1 else np.array([(keys + queries) // 2])
    cases: list[tuple[int, Array]] = []
    if keys == queries:
        cases += [(keys, np.full(batch, keys)), (keys, np.linspace(1, keys, batch))]
    elif batch == 1 or queries == 1:  # more words at a time are of one row
        cases += [(keys, np.full(batch, keys)), (keys, ragged)]
    if queries < keys == past:
        cases.append((queries, np.linspace(queries, 1, batch)))
    if not cases:
        raise NotApplicable("ONNX Runtime has no several words at a time behind the past of several rows")
    contents = [(ends - 1, np.array(whole)) for whole, ends in cases]
    build.cases = [
        {name: content.astype(np.int32).reshape(given[name]) for name, content in zip(given, each, strict=True)}
        for each in contents
    ]


def _starts(tool: Heads, queries: int, keys: int, past: int, last: ir.Value, total: ir.Value) -> Operand:
    """[batch or 1, 1]: how many past keys count in each row; none where the queries are all that there are."""
    if past == 0 or keys == queries:
        return np.zeros((1, 1), np.int64)
    op = tool.known.op
    counted = op("Cast", op("Add", op("Reshape", last, [-1, 1]), np.int32(1 - queries)), to=ir.DataType.INT64)
    if keys == past + queries:
        return counted
    first = op("Equal", op("Reshape", total, [1, 1]), np.int32(queries))
    return op("Where", first, np.int64(0), counted)


def _unseen(tool: Heads, own: Operand, keys: int, last: Operand, window: int, capped: bool) -> Operand:
    """[batch or 1, 1, queries, keys]: true where a key comes after the query, which stands at its `own` place, or after the
    `last` of the row, [batch, 1]; or, with a `window`, so many places or more before it."""
    op, places = tool.known.op, np.arange(keys)[None, None]
    ends = op("Cast", last, to=ir.DataType.INT64)
    if capped:  # a kernel of its own, in which a query beyond the end stands at the end
        own = op("Min", own, ends)
    own = op("Unsqueeze", own, [2])
    unseen = op("Or", op("Greater", places, own), op("Greater", places, op("Unsqueeze", ends, [2])))
    if window > 0:
        unseen = op("Or", unseen, op("LessOrEqual", places, op("Sub", own, np.int64(window))))
    return op("Unsqueeze", unseen, [1])


def _joined(tool: Heads, past: ir.Value, new: ir.Value, starts: Operand, queries: int, keys: int) -> ir.Value:
    """[batch, groups, keys, size]: past ones up to the start of the row, new ones, and zeros."""
    _, groups, kept, size = static_shape(past) or []
    if kept == 0 or keys == queries:
        return new
    both, known = tool.build.op("Concat", past, new, axis=2), tool.known.known(starts)
    if known is not None and (known == kept).all():
        return both
    op = tool.known.op
    since = op("Sub", np.arange(keys)[None], starts)  # the place among the new ones
    inside = op("Add", op("Min", op("Max", since, np.int64(0)), np.int64(queries - 1)), np.int64(kept))
    places = op("Where", op("Less", since, np.int64(0)), np.arange(keys)[None], inside)
    each = op("Expand", op("Unsqueeze", places, [1, 3]), np.array([1, groups, 1, size]))
    filled = op("Unsqueeze", op("Less", since, np.int64(queries)), [1, 3])
    return tool.build.op("Where", filled, tool.build.op("GatherElements", both, each, axis=2), tool.number(0))


def _repeated(build: Builder, x: ir.Value, sizes: Sequence[int]) -> ir.Value:
    """[batch, groups, length, size], each group so often as it has queries."""
    batch, groups, each, length, size = sizes
    if each == 1:
        return x
    spread = build.op("Expand", build.op("Unsqueeze", x, [2]), np.array(sizes, np.int64))
    return build.op("Reshape", spread, [batch, groups * each, length, size])
