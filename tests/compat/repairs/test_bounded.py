"""Graphs whose sizes depend on the data: with their upper bounds for sizes they give the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from bounded_graphs import RTX, TVM, agree, floats, repaired, run
from hypothesis import given, settings
from hypothesis import strategies as st

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.graphs import infer
from enginesmith.compat.repairs.bounded import bounded_sizes
from enginesmith.compat.repairs.bounded.dims import Axis, bound, dim, regroup
from enginesmith.compat.target import Target


@given(
    batches=st.integers(1, 2),
    classes=st.integers(1, 3),
    candidates=st.integers(1, 8),
    limit=st.sampled_from([1, 3, 2**62]),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    floor=st.sampled_from([None, 0.5]),
    center=st.booleans(),
    stored=st.booleans(),
    target=st.sampled_from([RTX, TVM]),
    data=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_suppression_is_that_of_onnx_runtime_bit_for_bit(
    batches: int,
    classes: int,
    candidates: int,
    limit: int,
    threshold: float,
    floor: float | None,
    center: bool,
    stored: bool,
    target: Target,
    data: Any,
) -> None:
    arguments = {"limit": np.array([limit]), "threshold": np.array([threshold], np.float32)}
    if floor is not None:
        arguments["floor"] = np.array([floor], np.float32)
    kinds = {"limit": "int64", "threshold": "float", "floor": "float"}
    constants = ", ".join(f"{kinds[name]}[1] {name} = {{{array[0]}}}" for name, array in arguments.items())
    inputs = ", ".join(f"{kinds[name]}[1] {name}" for name in arguments)
    models = repaired(
        f"""
<ir_version: 10, opset_import: ["" : 18]>
main (float[{batches}, {candidates}, 4] boxes, float[{batches}, {classes}, {candidates}] scores{"" if stored else ", " + inputs})
  => (int64[n, 3] chosen) {f"<{constants}>" if stored else ""} {{
  chosen = NonMaxSuppression <center_point_box = {int(center)}> (boxes, scores, {", ".join(arguments)})
}}
""",
        target,
    )
    run_time = {} if stored else arguments
    boxes = data.draw(floats(batches, candidates, 4, low=0))
    scores = data.draw(floats(batches, classes, candidates, low=-1, high=1))
    agree(models, {"boxes": boxes, "scores": scores, **run_time})


def empty_guard(limit: int, swapped: bool = False) -> str:
    """Class-wise suppression as torchvision's detectors export it: nothing is computed where there are no boxes."""
    yes, no = ("else_branch", "then_branch") if swapped else ("then_branch", "else_branch")
    return f"""
<ir_version: 10, opset_import: ["" : 18]>
main (float[12, 4] boxes, float[12] scores) => (float[n, 4] kept, float[n] best, int64[n] labels)
<float[1] zero = {{0}}, int64 none = {{0}}, int64[1] first = {{0}}, int64[1] last = {{{limit}}}, int64[1] two = {{2}}, int64[12] classes =
 {{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2}}, int64[1] every = {{9223372036854775807}}, float[1] half = {{0.5}}, float one = {{1}},
 int64[2] ends = {{0, 1}}> {{
  positive = Greater (scores, zero)
  places = NonZero (positive)
  rows = Squeeze (places, first)
  some = Gather (boxes, rows)
  values = Gather (scores, rows)
  kinds = Gather (classes, rows)
  size = Shape (some)
  count = ReduceProd <keepdims = 0> (size)
  empty = Equal (count, none)
  condition = {"Not" if swapped else "Identity"} (empty)
  keep = If (condition) <{yes} = nothing () => (int64[0] e) {{ e = Constant <value = int64[0] {{}}> () }},
    {no} = suppress () => (int64[k] found) {{
      far = ReduceMax <keepdims = 0> (some)
      kind = Cast <to = 1> (kinds)
      step = Add (far, one)
      offsets = Mul (kind, step)
      column = Unsqueeze (offsets, minus)
      moved = Add (some, column)
      batch = Unsqueeze (moved, first)
      weights = Unsqueeze (values, ends)
      chosen = NonMaxSuppression (batch, weights, every, half)
      index = Gather <axis = 1> (chosen, two)
      found = Squeeze (index, minus)
    }}>
  front = Slice (keep, first, last)
  kept = Gather (some, front)
  best = Gather (values, front)
  labels = Gather (kinds, front)
}}
""".replace("int64[2] ends", "int64[1] minus = {-1}, int64[2] ends")


GUARDED = [repaired(empty_guard(limit, swapped)) for limit in (3, 100) for swapped in (False, True)]


@given(boxes=floats(12, 4, low=0), scores=floats(12, low=-1, high=1), models=st.sampled_from(GUARDED))
@settings(max_examples=25, deadline=None)
def test_class_wise_suppression_behind_a_test_for_emptiness(boxes: Any, scores: Any, models: Any) -> None:
    agree(models, {"boxes": boxes, "scores": scores})


def test_nothing_selected_gives_empty_outputs() -> None:
    feed = {"boxes": np.ones((12, 4), np.float32), "scores": -np.ones(12, np.float32)}
    for models in GUARDED:
        agree(models, feed)
        assert run(models[1], feed)["kept"].shape == (0, 4)


def test_only_as_many_boxes_are_picked_as_are_read() -> None:
    _, after = GUARDED[0]
    shapes = {
        output.name: [size.dim_value for size in output.type.tensor_type.shape.dim] for output in after.graph.output
    }
    assert shapes == {"kept": [3, 4], "best": [3], "labels": [3]}


def test_levels_of_a_pyramid_are_put_together_again() -> None:
    """Rows are taken out by level, computed with, and put back by ScatterElements, as MultiScaleRoIAlign does."""
    models = repaired("""
<ir_version: 10, opset_import: ["" : 18]>
main (float[8, 2] x, int64[8] level) => (float[8, 2] y) <int64 none = {0}, int64 one = {1}, int64[1] first = {0}, int64[1] last = {1},
 float[1] ten = {10}, float[8, 2] start = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}, int64[1] two = {2}, int64[2] column = {-1, 1}> {
  is_low = Equal (level, none)
  low = NonZero (is_low)
  low_rows = Squeeze (low, first)
  low_x = Gather (x, low_rows)
  low_y = Mul (low_x, ten)
  low_column = Reshape (low_rows, column)
  low_shape = Shape (low_y)
  low_index = Expand (low_column, low_shape)
  half = ScatterElements <axis = 0> (start, low_index, low_y)
  is_high = Equal (level, one)
  high = NonZero (is_high)
  high_rows = Squeeze (high, first)
  high_x = Gather (x, high_rows)
  high_y = Neg (high_x)
  high_column = Reshape (high_rows, column)
  high_shape = Shape (high_y)
  high_index = Expand (high_column, high_shape)
  y = ScatterElements <axis = 0> (half, high_index, high_y)
}
""")
    rng = np.random.default_rng(0)
    for _ in range(5):
        agree(models, {"x": rng.standard_normal((8, 2)).astype(np.float32), "level": rng.integers(0, 3, 8)})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "other = NonZero (y)  more = Squeeze (other, axis)  b = Gather (y, more)  z = Add (a, b)",
            "different conditions",
        ),
        ("wide = Reshape (a, pairs)  z = Identity (wide)", "cuts a dimension"),
    ],
)
def test_what_has_no_fixed_form_is_left_with_its_reason(body: str, reason: str) -> None:
    model = infer(
        ir.from_proto(
            onnx.parser.parse_model(f"""
<ir_version: 10, opset_import: ["" : 18]>
main (float[6] x, float[6] y) => (z) <int64[1] axis = {{0}}, int64[2] pairs = {{-1, 2}}> {{
  places = NonZero (x)
  rows = Squeeze (places, axis)
  a = Gather (x, rows)
  {body}
}}
""")
        )
    )
    with pytest.raises(NotApplicable, match=reason):
        bounded_sizes(model, RTX)


def test_versions_that_have_the_operators_are_left_alone() -> None:
    text = """
<ir_version: 10, opset_import: ["" : 18]>
main (float[6] x) => (int64[1, n] y) { y = NonZero (x) }
"""
    model = ir.from_proto(onnx.parser.parse_model(text))
    assert bounded_sizes(model, Target("tensorrt", "10.3")) == 0
    assert bounded_sizes(model, Target("tensorrt", "8.4")) > 0


AXIS = Axis(5, ir.Value(name="valid"), packed=False)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3), st.lists(st.integers(1, 4), min_size=0, max_size=3), st.data()
)
def test_regrouped_dimensions_keep_all_factors_in_order(before: list[int], after: list[int], data: Any) -> None:
    dims = [*map(dim, before), dim(AXIS), *map(dim, after)]
    every = dim(*(factor for part in dims for factor in part))
    assert regroup(dims, [-1]) == [every]
    cut = data.draw(st.integers(0, len(dims)))
    halves = [dim(*(factor for part in half for factor in part)) for half in (dims[:cut], dims[cut:])]
    assert regroup([every], halves) == halves
    inner = regroup([every], [*before, -1, *after])
    assert inner == dims
    assert bound(every) == 5 * int(np.prod(before + after))
