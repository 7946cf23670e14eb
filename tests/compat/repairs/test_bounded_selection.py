"""Rows selected by conditions, in graphs with upper bounds for sizes: read, written, counted, made unique."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from bounded_graphs import RTX, agree, floats, repaired
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from enginesmith.compat.graphs import infer
from enginesmith.compat.interface import bounded
from enginesmith.compat.repairs.bounded import bounded_sizes
from enginesmith.compat.repairs.repair import GRAPH_REPAIRS
from enginesmith.converters.graphs.proof import prove

FILTER = repaired(
    """
<ir_version: 10, opset_import: ["" : 18]>
main (float[9, 4] boxes, float[9] scores) => (float[n, 4] kept, float[n] best, float[n, 4] shares, float total, float[4] top)
<float[1] zero = {0}, float[1] limit = {-1.5}, int64[1] last = {1}, int64[1] first = {0}, int64[1] quad = {4}, int64[1] all = {-1}> {
  positive = GreaterOrEqual (scores, zero)
  places = NonZero (positive)
  turned = Transpose <perm = [1, 0]> (places)
  rows = Squeeze (turned, last)
  some = Gather (boxes, rows)
  values = Gather (scores, rows)
  column = Gather <axis = 1> (some, zero_index)
  wide = GreaterOrEqual (column, limit)
  again = NonZero (wide)
  picked = Squeeze (again, first)
  kept = Gather (some, picked)
  best = Gather (values, picked)
  size = Shape (best)
  one = Gather (size, first)
  shape = Concat <axis = 0> (one, quad)
  bests = Unsqueeze (best, last)
  spread = Expand (bests, shape)
  sums = Add (spread, kept)
  flat = Reshape (sums, all)
  shares = Reshape (flat, shape)
  total = ReduceSum <keepdims = 0> (kept)
  stretched = Concat <axis = 0> (kept, floor)
  top = ReduceMax <keepdims = 0> (stretched, first)
}
""".replace(
        "int64[1] all = {-1}>", "int64[1] all = {-1}, int64 zero_index = {0}, float[1, 4] floor = {-9, -9, -9, -9}>"
    )
)


@given(boxes=floats(9, 4), scores=floats(9))
@settings(max_examples=25, deadline=None)
def test_filters_of_filters_and_what_is_computed_from_their_rows(boxes: Any, scores: Any) -> None:
    agree(FILTER, {"boxes": boxes, "scores": scores})


RANKED = {
    limit: repaired(f"""
<ir_version: 10, opset_import: ["" : 18]>
main (float[6, 3] scores) => (float[k] best, int64[k] class, int64[k] row, int64[k] order)
<float[1] zero = {{0}}, int64[1] limit = {{{limit}}}, int64[1] last = {{1}}, int64[1] first = {{0}}, int64[1] all = {{-1}},
 int64 three = {{3}}> {{
  flat = Reshape (scores, all)
  positive = Greater (flat, zero)
  places = NonZero (positive)
  turned = Transpose <perm = [1, 0]> (places)
  values = GatherND (flat, turned)
  rows = Squeeze (turned, last)
  size = Shape (rows)
  both = Concat <axis = 0> (limit, size)
  least = ReduceMin <keepdims = 0> (both)
  count = Reshape (least, last)
  best, order = TopK (values, count)
  taken = Gather (rows, order)
  row = Div (taken, three)
  class = Mod (taken, three)
}}
""")
    for limit in (4, 40)
}


@given(scores=floats(6, 3), limit=st.sampled_from([4, 40]))
@settings(max_examples=25, deadline=None)
def test_the_best_of_a_filter_at_most_so_many(scores: Any, limit: int) -> None:
    """`order` counts the rows of the filter: its numbers are not those of the padded tensor."""
    agree(RANKED[limit], {"scores": scores})


ASSIGNED = repaired("""
<ir_version: 10, opset_import: ["" : 18]>
main (float[3, 4, 2] x) => (float[3, 4, 2] y, float[n, 2] chosen, int64[n, 2] places)
<float[1] zero = {0}, float[1] two = {2}, int64 c = {0}> {
  channel = Gather <axis = 2> (x, c)
  positive = Greater (channel, zero)
  found = NonZero (positive)
  places = Transpose (found)
  chosen = GatherND (x, places)
  doubled = Mul (chosen, two)
  y = ScatterND (x, places, doubled)
}
""")


@given(x=floats(3, 4, 2))
@settings(max_examples=25, deadline=None)
def test_boolean_indexing_read_and_written(x: Any) -> None:
    agree(ASSIGNED, {"x": x})


ADDED = repaired("""
<ir_version: 10, opset_import: ["" : 18]>
main (float[6, 2] x) => (float[6, 2] y, float[6, 2] z)
<float[1] zero = {0}, float[1] two = {2}, int64 c = {0}> {
  column = Gather <axis = 1> (x, c)
  positive = Greater (column, zero)
  found = NonZero (positive)
  places = Transpose (found)
  chosen = GatherND (x, places)
  doubled = Mul (chosen, two)
  y = ScatterND <reduction = "add"> (x, places, doubled)
  z = ScatterND <reduction = "max"> (x, places, doubled)
}
""")


@given(x=floats(6, 2))
@settings(max_examples=25, deadline=None)
def test_selected_rows_are_added_to(x: Any) -> None:
    agree(ADDED, {"x": x})


GRAPH = repaired(
    """
<ir_version: 10, opset_import: ["" : 18]>
main (int64[2, 6] edges, float[4, 2] x, float[6] weights) => (float[4] degrees, float[4, 2] y, float[4, 2] top, float[4] own)
<int64[2, 4] loops = {0, 1, 2, 3, 0, 1, 2, 3}, int64[1] four = {4}, int64[1] two = {2}, int64[1] first = {0}, int64[1] all = {-1},
 float[1] one = {1}, float[4] none = {0, 0, 0, 0}, float[4, 2] rows = {0, 0, 0, 0, 0, 0, 0, 0}, int64 zero = {0}, int64 second = {1}> {
  source = Gather (edges, zero)
  goal = Gather (edges, second)
  loop = Equal (source, goal)
  other = Not (loop)
  found = NonZero (other)
  kept = Squeeze (found, first)
  pairs = Gather <axis = 1> (edges, kept)
  shape = Shape <start = 1> (pairs)
  count = Add (four, shape)
  full = Concat <axis = 1> (pairs, loops)
  ones = Expand (one, count)
  from = Gather (full, zero)
  to = Gather (full, second)
  degrees = ScatterElements <reduction = "add"> (none, to, ones)
  messages = Gather (x, from)
  column = Reshape (to, all_by_one)
  wide = Concat <axis = 0> (count, two)
  spread = Expand (column, wide)
  y = ScatterElements <axis = 0, reduction = "add"> (rows, spread, messages)
  top = ScatterElements <axis = 0, reduction = "max"> (rows, spread, messages)
  places = NonZero (loop)
  looped = Squeeze (places, first)
  at = Gather (source, looped)
  values = Gather (weights, looped)
  point = Unsqueeze (at, last)
  own = ScatterND (none, point, values)
}
""".replace("int64 zero =", "int64[2] all_by_one = {-1, 1}, int64[1] last = {1}, int64 zero =")
)


@given(data=st.data(), x=floats(4, 2), weights=floats(6))
@settings(max_examples=25, deadline=None)
def test_edges_without_loops_and_one_loop_for_each_node(data: Any, x: Any, weights: Any) -> None:
    """The edges that are left and the loops behind them are as many as the sum of both says."""
    ends = st.lists(st.integers(0, 3), min_size=6, max_size=6)
    edges = np.array([data.draw(ends), data.draw(ends)])
    first = np.unique(edges[0], return_index=True)[1]  # two loops of one node would be written in no order
    edges[1, [index for index in range(6) if index not in first]] = (
        edges[0, [i for i in range(6) if i not in first]] + 1
    ) % 4
    agree(GRAPH, {"edges": edges, "x": x, "weights": weights})


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    axis=st.sampled_from([None, 0, -1]),
    short=st.booleans(),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_compress(shape: list[int], axis: int | None, short: bool, data: Any) -> None:
    size = int(np.prod(shape)) if axis is None else shape[axis]
    count = max(size - 1, 1) if short else size
    given_axis = "" if axis is None else f"<axis = {axis}>"
    models = repaired(
        f"""
<ir_version: 10, opset_import: ["" : 18]>
main (float{shape} x, bool[{count}] c) => (float{["n" if axis is not None else "m"] * (1 if axis is None else len(shape))} y)
{{ y = Compress {given_axis} (x, c) }}
""".replace("'", "")
    )
    flags = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    agree(models, {"x": data.draw(floats(*shape, low=0)), "c": flags})


def test_a_mean_of_selected_rows_is_proved_though_its_sum_has_another_order():
    model = onnx.parser.parse_model(
        """
<ir_version: 10, opset_import: ["" : 18]>
main (float[37, 5] x, bool[37] mask) => (float mean) {
  places = NonZero (mask)
  rows = Squeeze (places)
  kept = Gather (x, rows)
  mean = ReduceMean <keepdims = 0> (kept)
}
"""
    )
    after = ir.from_proto(model)
    infer(after)
    assert bounded_sizes(after, RTX)
    empty = {"x": np.ones((37, 5), np.float32), "mask": np.zeros(37, bool)}
    rng = np.random.default_rng(0)
    some = {"x": rng.standard_normal((37, 5), np.float32), "mask": rng.random(37) > 0.4}
    tolerance = GRAPH_REPAIRS["bounded-sizes"].tolerance
    proof = prove(model, ir.to_proto(after), tolerance, [empty, some])
    assert proof.agrees, proof.reason
    assert proof.samples >= 2


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.int64, st.integers(0, 7).map(lambda size: (size + 1,)), elements=st.integers(-3, 3)),
    st.integers(0, 1), st.sampled_from(["float", "int64"]), st.booleans(),
)  # fmt: skip
def test_unique_values_with_where_they_were_and_how_often(x: Any, in_order: int, kind: str, filtered: bool) -> None:
    rows = "Compress <axis = 0> (x, keep)" if filtered else "Identity (x)"
    models = repaired(f"""
<ir_version: 10, opset_import: ["" : 18]>
unique ({kind}[{len(x)}] x, bool[{len(x)}] keep) => ({kind}[n] y, int64[n] i, int64[m] inverse, int64[n] c) {{
  rows = {rows}
  y, i, inverse, c = Unique <sorted = {in_order}> (rows)
}}""")
    keep = np.arange(len(x)) % 3 != 1
    agree(models, {"x": x.astype({"float": np.float32}.get(kind, kind)), "keep": keep})


@settings(max_examples=40, deadline=None)
@given(floats(4, 3), st.booleans())
def test_values_are_put_where_a_mask_holds_one_after_the_other(x: Any, alone: bool) -> None:
    """As masked_scatter and index_put of a mask write it: of a list of values as many as there are places."""
    count = 1 if alone else 12
    model = f"""
<ir_version: 10, opset_import: ["" : 18]>
put (float[4, 3] x, float[{count}] given) => (float[4, 3] y)
  <float zero = {{0}}, int64[1] start = {{0}}, int64[1] minus = {{-1}}> {{
  mask = Greater (x, zero)
  places = NonZero (mask)
  at = Transpose <perm = [1, 0]> (places)
  sizes = Shape (at)
  n = Gather (sizes, start)
  flat = Reshape (given, minus)
  values = {"Expand (flat, n)" if alone else "Slice (flat, start, n)"}
  y = ScatterND (x, at, values)
}}"""
    agree(repaired(model), {"x": x, "given": np.arange(count, dtype=np.float32) - 3})


@settings(max_examples=40, deadline=None)
@given(floats(4, 3), st.sampled_from(["one", "row", "own"]))
def test_a_mask_that_is_counted_gives_the_size_of_its_filter(x: Any, kind: str) -> None:
    """As the dynamo exporter writes y[mask] = v: the number of places is a sum of the mask."""
    mask = "column" if kind == "row" else "x"
    given = {"one": "one", "row": "line", "own": "picked"}[kind]
    text = f"""
<ir_version: 10, opset_import: ["" : 18]>
put (float[4, 3] x, float[3] line) => (float[4, 3] y)
  <float zero = {{0}}, float one = {{7}}, int64 first = {{0}}, int64[1] minus = {{-1}}, int64[1] three = {{3}}> {{
  column = Gather <axis = 1> (x, first)
  mask = Greater ({mask}, zero)
  number = Cast <to = 7> (mask)
  n = ReduceSum <keepdims = 0> (number)
  places = NonZero (mask)
  at = Transpose <perm = [1, 0]> (places)
  got = GatherND (x, at)
  picked = Neg (got)
  count = Reshape (n, minus)
  {"sizes = Concat <axis = 0> (count, three)" if kind == "row" else "sizes = Identity (count)"}
  values = Expand ({given}, sizes)
  y = ScatterND (x, at, values)
}}"""
    agree(repaired(text), {"x": x, "line": np.arange(3, dtype=np.float32)})


def test_outputs_say_which_rows_they_share() -> None:
    _, after = RANKED[4]
    assert set(bounded(after)) == {"best", "class", "row", "order"}
    assert len({axes[0] for axes in bounded(after).values()}) == 1


COUNTS = repaired(
    """
<ir_version: 10, opset_import: ["" : 18]>
main (float[8, 4] x, float[8] scores, float[1, 4] row) => (float[n, 4] first, float[m, 4] copies, float[k] turns, float[4] sums)
<float half = {0.5}, int64[1] zero = {0}, int64[1] four = {4}, int64[1] all = {-1}, int64 none = {0}, int64 one = {1}> {
  above = Greater (scores, half)
  ones = Cast <to = 7> (above)
  count = ReduceSum <keepdims = 1> (ones, zero)
  first = Slice (x, zero, count, zero)
  shape = Concat <axis = 0> (count, four)
  copies = Expand (row, shape)
  end = Squeeze (count)
  line = Range (none, end, one)
  turns = Cast <to = 1> (line)
  sums = ReduceSum <keepdims = 0> (first, zero)
}
"""
)


@given(scores=floats(8, low=-1, high=2))
@settings(max_examples=20, deadline=None)
def test_a_count_decides_how_much_is_read_repeated_and_made(scores: Any) -> None:
    """No selection by the same condition is in the graph."""
    x = np.arange(32, dtype=np.float32).reshape(8, 4)
    agree(COUNTS, {"x": x, "scores": scores, "row": x[:1]})


def test_what_follows_a_whole_result_needs_no_bound() -> None:
    """The sum of what is selected has a fixed size; that of what it is then put into only the run tells."""
    before = onnx.parser.parse_model(
        """
<ir_version: 10, opset_import: ["" : 18]>
main (float[6] x, int64[6] at, int64 groups) => (float[n] y)
<float zero = {0}, int64[1] flat = {-1}, int64[1] first = {0}, int64[1] six = {6}> {
  positive = Greater (x, zero)
  kept = Compress (x, positive)
  total = ReduceSum (kept, first)
  each = Expand (total, six)
  count = Reshape (groups, flat)
  empty = ConstantOfShape (count)
  y = ScatterElements <reduction = "add"> (empty, at, each)
}
"""
    )
    model = infer(ir.from_proto(before))
    assert bounded_sizes(model, RTX)
    after = ir.to_proto(infer(model))
    assert [node.op_type for node in after.graph.node].count("ScatterElements") == 1
    feed = {
        "x": np.array([1, -2, 3, 0, 0.5, -1], np.float32),
        "at": np.array([0, 1, 1, 2, 0, 2]),
        "groups": np.array(4),
    }
    agree((before, after), feed)


TURNED = repaired(
    """
<ir_version: 10, opset_import: ["" : 18]>
main (float[7] scores, float[3, 7] x, int64[2, 7] at) => (float[3, n] written, float[3, n] most)
<float zero = {0}> {
  positive = Greater (scores, zero)
  kept = Compress <axis = 1> (x, positive)
  places = Compress <axis = 1> (at, positive)
  new = Cast <to = 1> (places)
  written = ScatterElements <axis = 0> (kept, places, new)
  most = ScatterElements <axis = 0, reduction = "max"> (kept, places, new)
}
"""
)


@given(scores=floats(7), x=floats(3, 7), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_elements_of_selected_rows_are_scattered_along_another_axis(scores: Any, x: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = np.stack([rng.permutation(3)[:2] for _ in range(7)], 1) - rng.integers(0, 2) * 3
    agree(TURNED, {"scores": scores, "x": x, "at": at})


INVERSE = repaired(
    """
<ir_version: 10, opset_import: ["" : 18]>
main (int64[9] x) => (int64[9] counts, int64[9, 1] values) <int64[1] last = {1}, int64[2] column = {9, 1}> {
  y, first, inverse, count = Unique (x)
  at = Reshape (inverse, column)
  counts = GatherND (count, at)
  table = Unsqueeze (y, last)
  values = GatherND (table, at)
}
"""
)


@given(x=arrays(np.int64, 9, elements=st.integers(-4, 4)))
@settings(max_examples=25, deadline=None)
def test_what_is_known_of_each_is_read_at_the_places_of_all(x: Any) -> None:
    """As torch.unique's counts are read by its inverse."""
    agree(INVERSE, {"x": x})


ROWS = repaired(
    """
<ir_version: 10, opset_import: ["" : 18]>
main (float[9, 3] x, float[9] scores, int64[2, 1] at) => (float[2, 3] got) <float[1] zero = {0}, int64[1] first = {0}> {
  positive = GreaterOrEqual (scores, zero)
  places = NonZero (positive)
  rows = Squeeze (places, first)
  some = Gather (x, rows)
  got = GatherND (some, at)
}
"""
)


@given(x=floats(9, 3), scores=floats(9, low=-1, high=1), data=st.data())
@settings(max_examples=25, deadline=None)
def test_places_among_selected_rows(x: Any, scores: Any, data: Any) -> None:
    there = int((scores >= 0).sum())
    if there:
        at = data.draw(arrays(np.int64, (2, 1), elements=st.integers(0, there - 1)))
        agree(ROWS, {"x": x, "scores": scores, "at": at})
