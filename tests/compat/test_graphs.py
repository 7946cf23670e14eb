"""Shapes that are known only from what is made of a value."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from enginesmith.compat.graphs import infer
from enginesmith.compat.values import shape


def inferred(text: str) -> dict[str, list[int | None] | None]:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> {text}')
    found = infer(ir.from_proto(model))
    return {value.name or "": shape(value) for node in found.graph for value in node.outputs}


@pytest.mark.parametrize(
    "maker", ["y = Sqrt (s)", "t = Neg (s)  y = Cast <to = 1> (t)", "y = Mul (s, k)", "y = Sub (k, s)"]
)
def test_an_elementwise_result_tells_its_operands_shape(maker: str) -> None:
    text = f"g (float[3, 2] x, int64[1] axes, float k) => (float[3, 1] y) {{ s = ReduceSum (x, axes)  {maker} }}"
    assert inferred(text)["s"] == [3, 1]


def test_of_two_operands_that_may_be_broadcast_neither_is_told() -> None:
    text = """g (float[3, 2] x, int64[1] axes, int64[1] other) => (float[3, 2] y) {
      s = ReduceSum (x, axes)  t = ReduceSum (x, other)  y = Add (s, t)
    }"""
    found = inferred(text)
    assert found["s"] != [3, 2]
    assert found["t"] != [3, 2]


def test_a_shape_that_is_known_is_kept() -> None:
    assert inferred("g (float[3, 2] x) => (float[n, 2] y) { s = Neg (x)  y = Abs (s) }")["s"] == [3, 2]
