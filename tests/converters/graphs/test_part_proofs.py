"""Proofs of what a repair changed: the part, what arrives there, and when the whole graph decides."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enginesmith.converters.graphs import prover as proving
from enginesmith.converters.graphs.changes import Values, cut
from enginesmith.converters.graphs.proof import prove
from enginesmith.converters.graphs.prover import Prover


def parsed(text: str, opset: int = 18) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {text}')
    onnx.checker.check_model(model)
    return model


CHAIN = """g (float[2, 3] x) => (float[2, 3] y) <float[3] b = {1, 2, 3}> {
  a = Exp (x)  s = Add (a, b)  %s  z = Relu (m)  y = Tanh (z)
}"""


def test_only_what_changed_is_run() -> None:
    before, after = parsed(CHAIN % "m = Mul (s, s)"), parsed(CHAIN % "t = Abs (s)  m = Mul (t, t)")
    found = cut(Values(before), Values(after))
    assert found.outputs == ("m",)
    assert set(found.before) == set(found.after) == {"s"}
    part = Values(after).part(found.outputs, {"s": "given"})
    assert [node.op_type for node in part.graph.node] == ["Abs", "Mul"]
    assert list(part.graph.node[0].input) == ["given"]
    proof = Prover()(before, after, 0.0)
    assert proof.agrees
    assert proof.samples > 1
    wrong = Prover()(before, parsed(CHAIN % "t = Abs (s)  m = Mul (t, s)"), 0.0)
    assert wrong.agrees, "what is computed after Exp and Add is never negative"
    assert not Prover()(before, parsed(CHAIN % "m = Add (s, s)"), 0.0).agrees


def test_nothing_that_is_computed_changes() -> None:
    before = parsed(CHAIN % "dead = Neg (s)  m = Mul (s, s)")
    renamed = parsed(
        "g (float[2, 3] x) => (float[2, 3] y) {"
        " c = Constant <value = float[3] {1, 2, 3}> ()  p = Exp (x)  q = Add (p, c)  r = Mul (q, q)  v = Relu (r)  y = Tanh (v) }"
    )
    proof = Prover()(before, renamed, 0.0)
    assert proof.agrees
    assert proof.samples == 0
    assert not cut(Values(before), Values(renamed)).outputs


def test_another_constant_is_a_change() -> None:
    before, after = parsed(CHAIN % "m = Mul (s, s)"), parsed((CHAIN % "m = Mul (s, s)").replace("{1, 2", "{0, 2"))
    assert not Prover()(before, after, 1e-3).agrees


def test_an_operator_that_another_opset_defines_otherwise_is_a_change() -> None:
    text = "g (float[2, 3] x) => (float[2, 3] y) { s = Softmax <axis = 0> (x)  y = Tanh (s) }"
    before, after = parsed(text, 12), parsed(text, 13)
    assert cut(Values(before), Values(after)).outputs
    assert not Prover()(before, after, 0.0).agrees
    text = "g (float[2, 3] x) => (float[2, 3] y) { y = Tanh (x) }"
    assert not cut(Values(parsed(text, 13)), Values(parsed(text, 18))).outputs


def test_a_captured_value_belongs_to_what_is_computed() -> None:
    text = """g (float[2] x, bool c) => (float[2] y) {
      w = %s (x)
      z = If (c) <then_branch = t () => (float[2] a) { a = Neg (w) }, else_branch = e () => (float[2] b) { b = Abs (w) }>
      y = Tanh (z)
    }"""
    before = parsed(text % "Exp")
    assert not Prover()(before, parsed(text % "Sin"), 0.0).agrees
    inner = parsed((text % "Exp").replace("Neg", "Sin"))
    assert cut(Values(before), Values(inner)).outputs == ("z",)
    assert not Prover()(before, inner, 0.0).agrees


def test_sizes_that_arrive_are_no_empty_list() -> None:
    """ONNX Runtime infers from what it takes for a list of sizes of an unknown length."""
    text = """g (float[1, 2, 4, 4] x) => (float[1, 2, h, w] y) <int64[4] two = {1, 1, 2, 2}> {
      a = Exp (x)  s = Shape (x)  t = Mul (s, two)
      z = %s (a)
      r = Resize <mode = "nearest"> (z, , , t)
      y = Tanh (r)
    }"""
    before, after = parsed(text % "Neg"), parsed((text % "Neg").replace("Resize <", 'Resize <nearest_mode = "floor", '))
    assert cut(Values(before), Values(after)).before.keys() == {"z", "t"}
    assert Prover()._of_part(before, after, 0.0, ()).samples
    assert not Prover()(before, parsed((text % "Neg").replace('"nearest"', '"linear"')), 0.0).agrees


def test_what_arrives_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def recording(*arguments: object) -> object:
        built.append(arguments)
        return original(*arguments)  # type: ignore[arg-type]

    original = proving._recording
    monkeypatch.setattr(proving, "_recording", recording)
    one = CHAIN % "m = Mul (s, s)"
    prover = Prover()
    assert prover(parsed(one), parsed(CHAIN % "t = Abs (s)  m = Mul (t, t)"), 0.0).agrees
    assert prover(parsed(one), parsed(CHAIN % "t = Relu (s)  m = Mul (t, s)"), 0.0).agrees
    assert len(built) == 1


def test_an_output_that_its_user_sees_in_another_type_is_held_against_that() -> None:
    before = parsed("g (float[3] x) => (int8[3] y) { a = Exp (x)  h = Clip (a)  y = Cast <to = 3> (h) }")
    after = parsed("g (float[3] x) => (int32[3] y) { a = Exp (x)  h = Clip (a)  y = Cast <to = 6> (h) }")
    onnx.helper.set_model_props(after, {"enginesmith.interface.y": "int8"})
    told = [{"x": np.array([0, 1, 3], np.float32)}]
    found = Prover(told)(before, after, 0.0)
    assert found.agrees == prove(before, after, 0.0, told).agrees


OPS = ("Neg", "Abs", "Tanh", "Relu", "Sin")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(OPS), st.integers(0, 8)), min_size=3, max_size=9), st.data())
def test_a_part_says_what_the_whole_says(nodes: list[tuple[str, int]], data: st.DataObject) -> None:
    """Graphs of sums of two earlier values, of which one node becomes another one."""
    place = data.draw(st.integers(0, len(nodes) - 1))
    other = [*nodes]
    other[place] = data.draw(st.sampled_from(OPS)), nodes[place][1]

    def graph(nodes: list[tuple[str, int]]) -> onnx.ModelProto:
        lines = [
            f"u{number} = {op} (v{number})  v{number + 1} = Add (u{number}, v{earlier % (number + 1)})"
            for number, (op, earlier) in enumerate(nodes)
        ]
        return parsed(f"g (float[4] v0) => (float[4] v{len(nodes)}) {{ {'  '.join(lines)} }}")

    before, after = graph(nodes), graph(other)
    assert Prover()(before, after, 0.0).agrees == prove(before, after, 0.0).agrees
