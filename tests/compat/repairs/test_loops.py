"""Loops, scans and branches written out compute what they computed."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import RTX, proof, repaired
from onnx import helper

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.repairs import Engine
from enginesmith.compat.repairs.loops import MAX_NODES, SMALL
from enginesmith.converters.graphs.proof import prove

BODIES = {
    "passes on": "go = Identity (before)",
    "counts": "go = Less (i, {last})",
    "feels its way": "total = ReduceSum <keepdims = 0> (a)  go = Less (total, limit)",
}
"""The condition that a body computes."""


def parsed(text: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]>\n{text}')
    onnx.checker.check_model(model)
    return model


def loop(trips: int, condition: str, *, rows: bool, last: int = 2, go: int = 1) -> onnx.ModelProto:
    """A Loop that doubles a captured sum; with `rows` it collects every state."""
    outputs, scan, collect = ("y, every", ", float[2] c", "c = Neg (b)") if rows else ("y", "", "")
    every = ", float[n, 2] every" if rows else ""
    return parsed(f"""
main (float[2] x, float[2] w) => (float[2] y{every})
  <int64 trips = {{{trips}}}, bool yes = {{{go}}}, int64 last = {{{last}}}, float limit = {{6}}> {{
  {outputs} = Loop (trips, yes, x) <body = once (int64 i, bool before, float[2] a) => (bool go, float[2] b{scan}) {{
    {BODIES[condition].format(last="last")}
    s = Add (a, w)
    step = Cast <to = 1> (i)
    b = Add (s, step)
    {collect}
  }}>
}}""")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.sampled_from(["passes on", "counts"]), st.booleans(), st.integers(0, 4), st.integers(0, 1))
def test_a_loop_whose_end_is_known(trips: int, condition: str, rows: bool, last: int, go: int) -> None:
    found = proof("loop-unrolled", loop(trips, condition, rows=rows, last=last, go=go))
    assert found.agrees, found.reason


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 5))
def test_a_loop_whose_end_depends_on_the_data_keeps_its_state(trips: int) -> None:
    model = loop(trips, "feels its way", rows=False)
    assert proof("loop-unrolled", model).agrees
    if trips > 1:
        after, _ = repaired("loop-unrolled", model)
        assert "Where" in {node.op_type for node in after.graph}


def test_rows_whose_number_depends_on_the_data() -> None:
    with pytest.raises(NotApplicable, match="rows"):
        repaired("loop-unrolled", loop(3, "feels its way", rows=True))


def test_the_number_of_iterations_is_read_from_a_declared_output() -> None:
    model = loop(3, "passes on", rows=True)
    del model.graph.initializer[0]
    model.graph.input.append(helper.make_tensor_value_info("trips", onnx.TensorProto.INT64, []))
    model.graph.output[1].type.tensor_type.shape.dim[0].dim_value = 3
    after, cases = repaired("loop-unrolled", model)
    assert "Loop" not in {node.op_type for node in after.graph}
    assert [int(case["trips"]) for case in cases] == [3]
    assert proof("loop-unrolled", model).agrees
    model.graph.output[1].type.tensor_type.shape.dim[0].dim_param = "n"
    with pytest.raises(NotApplicable, match="trip count"):
        repaired("loop-unrolled", model)


def test_a_loop_that_is_too_long() -> None:
    with pytest.raises(NotApplicable, match="too many"):
        repaired("loop-unrolled", loop(MAX_NODES, "passes on", rows=False))


def test_a_loop_within_a_loop_is_written_out_in_the_next_round() -> None:
    model = parsed("""
main (float[2] x) => (float[2] y) <int64 two = {2}, int64 three = {3}, bool yes = {1}> {
  y = Loop (two, yes, x) <body = outer (int64 i, bool p, float[2] a) => (bool q, float[2] b) {
    q = Identity (p)
    b = Loop (three, yes, a) <body = inner (int64 j, bool r, float[2] c) => (bool s, float[2] d) {
      s = Identity (r)
      k = Add (i, j)
      f = Cast <to = 1> (k)
      d = Add (c, f)
    }>
  }>
}""")
    assert proof("loop-unrolled", model).agrees
    after, _ = repaired("loop-unrolled", model)
    again = ir.to_proto(after)
    loops = [node for node in again.graph.node if node.op_type == "Loop"]
    assert len(loops) == 2


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(0, 1), st.integers(0, 1), st.integers(0, 1), st.integers(0, 1), st.integers(0, 1))
def test_a_scan(length: int, axis: int, back: int, out_axis: int, out_back: int, gates: int) -> None:
    """Two scanned tensors, one along another axis or backwards; the output along any axis, in either order."""
    sizes = [3, 3]
    sizes[axis] = length
    out = [3, 3]
    out[out_axis] = length
    model = parsed(f"""
main (float[3] start, float[{length}, 3] x, float[{sizes[0]}, {sizes[1]}] z) => (float[3] y, float[{out[0]}, {out[1]}] every) {{
  y, every = Scan <num_scan_inputs = 2, scan_input_axes = [0, {axis}], scan_input_directions = [{gates}, {back}],
                   scan_output_axes = [{out_axis}], scan_output_directions = [{out_back}],
                   body = once (float[3] a, float[3] b, float[3] c) => (float[3] d, float[3] e) {{
    m = Mul (b, c)
    d = Add (a, m)
    e = Neg (d)
  }}> (start, x, z)
}}""")
    found = proof("scan-unrolled", model)
    assert found.agrees, found.reason


def test_a_scan_of_unknown_length() -> None:
    model = parsed("""
main (float[2] start, float[n, 2] x) => (float[2] y, float[n, 2] every) {
  y, every = Scan <num_scan_inputs = 1, body = once (float[2] a, float[2] b) => (float[2] c, float[2] d) {
    c = Add (a, b)
    d = Identity (c)
  }> (start, x)
}""")
    with pytest.raises(NotApplicable, match="length"):
        repaired("scan-unrolled", model)


@pytest.mark.parametrize("condition", ["bool yes", "bool[1] yes"])
def test_an_if_is_a_choice(condition: str) -> None:
    """Branches may pass on what is around them, and hold constants."""
    model = parsed(f"""
main (float[2, 3] x, {condition}) => (float[2, 3] y, float[2, 3] z) {{
  y, z = If (yes) <then_branch = then () => (float[2, 3] a, float[2, 3] b)
                    <float[2, 3] a = {{1, 2, 3, 4, 5, 6}}> {{ b = Neg (x) }},
                   else_branch = other () => (float[2, 3] c, float[2, 3] d) {{ c = Abs (x)  d = Exp (c) }}>
}}""")
    found = proof("if-as-where", model)
    assert found.agrees, found.reason


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("float[2] b) { b = ReduceMax (x, axes) }", "different shapes"),
        ("float[3] b) { b = RandomNormalLike (x) }", "random"),
    ],
)
def test_an_if_that_stays(other: str, reason: str) -> None:
    model = parsed(f"""
main (float[3] x, bool yes) => (float[n] y) <int64[1] axes = {{0}}> {{
  y = If (yes) <then_branch = then () => (float[3] a) {{ a = Neg (x) }}, else_branch = other () => ({other}>
}}""")
    with pytest.raises(NotApplicable, match=reason):
        repaired("if-as-where", model)


def test_the_written_out_loop_has_constants_for_its_iterations() -> None:
    after, _ = repaired("loop-unrolled", loop(3, "counts", rows=True))
    numbers = [node.attributes["value"].as_tensor().numpy() for node in after.graph if node.op_type == "Constant"]
    assert [int(n) for n in numbers if n.dtype == np.int64 and n.ndim == 0] == [0, 1, 2]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 600), st.booleans(), st.booleans())
def test_an_empty_condition_means_true(trips: int, known: bool, rows: bool) -> None:
    """Of a loop that is kept: what is small and known is written out instead."""
    outputs, scan, collect = ("y, every", ", float[2] c", "c = Neg (b)") if rows else ("y", "", "")
    model = parsed(f"""
main (float[2] x{"" if known else ", int64 n"}) => (float[2] y{", float[n, 2] every" if rows else ""})
  <float half = {{0.5}}{f", int64 n = {{{trips}}}" if known else ""}> {{
  {outputs} = Loop (n, , x) <body = once (int64 i, bool before, float[2] a) => (bool go, float[2] b{scan}) {{
    go = Identity (before)
    b = Mul (a, half)
    {collect}
  }}>
}}""")
    if known and trips * (2 + rows) <= SMALL:
        with pytest.raises(NotApplicable, match="written out"):
            proof("loop-condition", model)
    else:
        assert proof("loop-condition", model).agrees
        assert [node.op_type for node in repaired("loop-condition", model)[0].graph if node.op_type == "Loop"]


def test_empty_conditions_of_nested_loops_are_given() -> None:
    model = parsed("""
main (float[2] x, int64 n) => (float[2] y) {
  y = Loop (n, , x) <body = once (int64 i, bool p, float[2] v) => (bool q, float[2] w) {
    q = Identity (p)
    w = Loop (n, , v) <body = again (int64 j, bool r, float[2] a) => (bool s, float[2] d) {
      s = Identity (r)
      d = Add (a, a)
    }>
  }>
}""")
    engine = Engine(ir.from_proto(model), RTX, prove)
    assert engine.run() == 2
    assert not [finding for finding in engine.left() if finding.severity == "error"]
    assert prove(model, ir.to_proto(engine.model), 0.0).agrees


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 6), st.integers(1, 3))
def test_a_loop_that_its_condition_alone_ends(last: int, step: int) -> None:
    model = parsed(f"""
main (float[2] x) => (int64 n, float[2] y)
  <bool yes = {{{int(last > 0)}}}, int64 zero = {{0}}, int64 step = {{{step}}}, int64 last = {{{last}}}> {{
  n, y = Loop (, yes, zero, x) <body = once (int64 i, bool before, int64 k, float[2] a) => (bool go, int64 m, float[2] b) {{
    m = Add (k, step)
    b = Add (a, a)
    go = Less (m, last)
  }}>
}}""")
    found = proof("loop-unrolled", model)
    assert found.agrees, found.reason


def test_a_loop_that_its_condition_does_not_end() -> None:
    model = parsed("""
main (float[2] x) => (float[2] y) <bool yes = {1}> {
  y = Loop (, yes, x) <body = once (int64 i, bool before, float[2] a) => (bool go, float[2] b) {
    go = Identity (before)
    b = Add (a, a)
  }>
}""")
    with pytest.raises(NotApplicable, match="doesn't end it"):
        repaired("loop-unrolled", model)


def test_a_body_with_constants_of_its_own() -> None:
    model = loop(2, "passes on", rows=False)
    body = model.graph.node[0].attribute[0].g
    body.initializer.append(onnx.numpy_helper.from_array(np.float32([1, 2]), "own"))
    body.node[1].input[1] = "own"
    found = proof("loop-unrolled", model)
    assert found.agrees, found.reason
