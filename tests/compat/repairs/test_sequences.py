"""Sequences that the graph itself puts together disappear, and what is read from them stays."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_ir.passes import common

from enginesmith.compat.graphs import infer, named
from enginesmith.compat.repairs import GRAPH_REPAIRS
from enginesmith.compat.target import Target
from enginesmith.converters.graphs.proof import prove, runner

TVM = Target("tvm", "0.27.0.post1")


def rewritten(text: str) -> tuple[onnx.ModelProto, onnx.ModelProto, int]:
    """The model, the model after the repair without what nothing reads any more, and the number of changes."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]>\n{text}')
    onnx.checker.check_model(model)
    before = infer(ir.from_proto(model))
    named(before)
    after = before.clone()
    changes = GRAPH_REPAIRS["sequences"].rewrite(after, TVM)
    common.RemoveUnusedNodesPass()(after)
    return ir.to_proto(before), ir.to_proto(after), changes


def check(text: str, changes: int) -> None:
    before, after, made = rewritten(text)
    assert made == changes
    proof = prove(before, after, 0.0)
    assert proof.agrees, proof.reason
    ops = {node.op_type for node in after.graph.node}
    assert not any("Sequence" in op or "Optional" in op for op in ops), ops
    assert GRAPH_REPAIRS["sequences"].rewrite(infer(ir.from_proto(after)), TVM) == 0


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, int]:
    """Tensors put into a sequence and taken out again, and the length that is left."""
    lines, length, current = ["s0 = SequenceConstruct (x, w, x)"], 3, 0
    for step in range(1, draw(st.integers(1, 5)) + 1):
        erase = length > 1 and draw(st.booleans())
        place = draw(st.none() | st.integers(-length, length - 1 if erase else length))
        given = "" if place is None else f", p{step}"
        if given:
            lines.append(f"p{step} = Constant <value = int64 {{{place}}}> ()")
        made = f"SequenceErase (s{current}{given})" if erase else f"SequenceInsert (s{current}, w{given})"
        lines.append(f"s{step} = {made}")
        current, length = step, length + (-1 if erase else 1)
    place = draw(st.integers(-length, length - 1))
    axis, new_axis = draw(st.sampled_from([(0, 0), (1, 0), (0, 1), (2, 1), (-1, 1)]))
    lines += [
        f"at = Constant <value = int64 {{{place}}}> ()",
        f"a = SequenceAt (s{current}, at)",
        f"n = SequenceLength (s{current})",
        f"c = ConcatFromSequence <axis = {axis}, new_axis = {new_axis}> (s{current})",
    ]
    rank = 2 + new_axis
    sizes = ", ".join(f"d{i}" for i in range(rank))
    body = "\n  ".join(lines)
    return f"main (float[2, 3] x, float[2, 3] w) => (float[2, 3] a, int64 n, float[{sizes}] c) {{\n  {body}\n}}", length


@settings(max_examples=80, deadline=None)
@given(edits())
def test_what_is_read_from_an_edited_sequence(case: tuple[str, int]) -> None:
    check(case[0], 3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1), st.sampled_from(["", "one", "two", "five", "parts"]), st.integers(0, 1))
def test_a_tensor_split_into_a_sequence(axis: int, split: str, keep: int) -> None:
    keep = 1 if split else keep
    check(
        f"""
main (float[5, 5] x) => (float[{"a, b" if keep else "a"}] y, int64 n)
  <int64 one = {{1}}, int64 two = {{2}}, int64 five = {{5}}, int64[2] parts = {{2, 3}}, int64 zero = {{0}}> {{
  s = SplitToSequence <axis = {axis}, keepdims = {keep}> (x{", " + split if split else ""})
  y = SequenceAt (s, zero)
  n = SequenceLength (s)
}}""",
        2,
    )


def test_a_map_over_a_sequence() -> None:
    check(
        """
main (float[4, 2] x, float[2] w) => (float[4, 2] y) <int64 two = {2}> {
  s = SplitToSequence (x, two)
  m = SequenceMap (s, w) <body = once (float[2, 2] a, float[2] b) => (float[2, 2] c) { c = Add (a, b) }>
  y = ConcatFromSequence <axis = 0> (m)
}""",
        1,
    )


def test_a_loop_that_fills_a_sequence() -> None:
    check(
        """
main (float[2] x) => (float[3, 2] y) <int64 trips = {3}, bool yes = {1}> {
  none = SequenceEmpty ()
  s = Loop (trips, yes, none) <body = once (int64 i, bool p, seq(float[2]) before) => (bool q, seq(float[2]) after) {
    q = Identity (p)
    f = Cast <to = 1> (i)
    r = Add (x, f)
    after = SequenceInsert (before, r)
  }>
  y = ConcatFromSequence <axis = 0, new_axis = 1> (s)
}""",
        1,
    )


def test_an_optional() -> None:
    """What ONNX Runtime doesn't run: the results are known."""
    _, after, changes = rewritten("""
main (float[2] x) => (float[2] y, bool there) {
  o = Optional (x)
  there = OptionalHasElement (o)
  g = OptionalGetElement (o)
  y = Neg (g)
}""")
    assert changes == 2
    assert not any("Optional" in node.op_type for node in after.graph.node)
    y, there = runner(after)({"x": np.array([1, -2], np.float32)})
    assert y.tolist() == [-1, 2]
    assert there


@pytest.mark.parametrize("sequence", ["s", "t"])
def test_a_sequence_that_is_only_known_at_run_time_stays(sequence: str) -> None:
    _, _, changes = rewritten(f"""
main (float[2] x, seq(float[2]) s, int64 p) => (float[2] y) <int64 zero = {{0}}> {{
  c = SequenceConstruct (x, x)
  t = SequenceInsert (c, x, p)
  y = SequenceAt ({sequence}, zero)
}}""")
    assert changes == 0
