"""TVM's rules leave alone what TVM takes: each with the nearest form that is fine."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from enginesmith.compat.checks import problems
from enginesmith.compat.graphs import infer
from enginesmith.compat.target import Target
from enginesmith.converters.backends.trial import TRIAL
from enginesmith.converters.core.isolated import Isolated

TVM = Target("tvm", "0.27.0.post1")
FINE = {
    "limits that are constants": "(float[1, 6, 4] b, float[1, 1, 6] s) => (int64[n, 3] y) <int64[1] most = {2}>"
    " { y = NonMaxSuppression (b, s, most) }",
    "one output of a normalization": "(float[2, 4] x, float[4] s) => (float[2, 4] y) { y = LayerNormalization (x, s) }",
    "nearest pixels without reflection": "(float[1, 1, 4, 4] x, float[1, 2, 2, 2] g) => (float[1, 1, 2, 2] y)"
    ' { y = GridSample <mode = "nearest", padding_mode = "border"> (x, g) }',
    "both infinities": "(float[3] x) => (bool[3] y) { y = IsInf (x) }",
    "dropout in eval mode": "(float[3] x) => (float[3] y) <float r = {0.5}, bool t = {0}> { y = Dropout (x, r, t) }",
    "training statistics that nothing reads": "(float[2, 3, 4] x, float[3] s) => (float[2, 3, 4] y)"
    " { y, m, v = BatchNormalization <training_mode = 1> (x, s, s, s, s) }",
    "axes that are constants": "(float[2, 3] x) => (float[2, 1] y) <int64[1] a = {1}> { y = ReduceSum (x, a) }",
    "a shape computed from sizes": "(float[2, 3] x, float[6] z) => (float[2, 3] y) { s = Shape (x)  y = Reshape (z, s) }",
    "a size put together": "(float[2, 3] x) => (float[2, 3] y) <int64 one = {1}, int64[1] two = {2}, int64[1] zero = {0}>"
    " { s = Shape (x)  n = Gather (s, one)  m = Unsqueeze (n, zero)  c = Concat <axis = 0> (two, m)  y = Reshape (x, c) }",
    "sizes cast to a tensor": "(float[2, 3] x) => (float[2] y) { s = Shape (x)  f = Cast <to = 1> (s)  y = Neg (f) }",
    "a constant tensor": "(float[3] x) => (float[3] y) { c = Constant <value = float {2}> ()  y = Mul (x, c) }",
    "one element type": "(float[3] x, float[3] n) => (float[3] y) { y = Pow (x, n) }",
    "a pool alone": "(float[1, 1, 4, 4] x) => (float[1, 1, 2, 2] y) { y = MaxPool <kernel_shape = [3, 3]> (x) }",
    "full parts": "(float[4, 2] x) => (float[1, 2] a, float[3, 2] y) <int64[2] s = {1, 3}> { a, y = Split <axis = 0> (x, s) }",
    "a sequence of the graph's own": "(float[2] x) => (float[2] y) <int64 zero = {0}>"
    " { s = SequenceConstruct (x, x)  y = SequenceAt (s, zero) }",
}


@pytest.mark.parametrize("name", FINE)
def test_a_form_that_tvm_takes(name: str, asked: Isolated, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20]> main {FINE[name]}')
    onnx.checker.check_model(model)
    assert [problem.finding.message for problem in problems(infer(ir.from_proto(model)), TVM)] == []
    onnx.save(model, tmp_path / "model.onnx")
    assert asked.call(TRIAL, "tvm", str(tmp_path / "model.onnx"), "x86-64-v3", timeout=120) is None


@pytest.mark.parametrize(
    ("ops", "told"),
    [
        ("s = Shape (x)  c = Concat <axis = 0> (s, two)  t = Abs (c)", ["Abs"]),
        ("s = Shape (x)  r = Reshape (s, back)  t = Abs (r)", ["Abs"]),
        ("s = Shape (x)  n = Neg (s)  t = Abs (n)", ["Neg"]),
        ("s = Shape (x)  t = Slice (s, zero, two)", []),
    ],
)
def test_sizes_are_followed_through_the_graph(ops: str, told: list[str]) -> None:
    """The first operator that can't take sizes is named, not those behind it."""
    model = onnx.parser.parse_model(f"""
<ir_version: 10, opset_import: ["" : 20]>
main (float[2, 3] x) => (int64[n] t) <int64[1] two = {{2}}, int64[1] back = {{-1}}, int64[1] zero = {{0}}> {{ {ops} }}""")
    found = [problem.finding for problem in problems(infer(ir.from_proto(model)), TVM)]
    assert [finding.op for finding in found] == told
