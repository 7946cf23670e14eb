"""What a graph would take, before any of it is computed: bombs of a few bytes, and graphs that are none."""

from __future__ import annotations

import onnx
import pytest

from enginesmith.compat.footprint import footprint

HEAD = '<ir_version: 9, opset_import: ["" : 18, "f" : 1]>\n'


def need(text: str, functions: str = "") -> float:
    """In GB."""
    return footprint(onnx.parser.parse_model(HEAD + text + functions)).bytes / 2**30


def constant(body: str, given: str = "") -> str:
    return f"bomb (float[1] x) => (float[1] y) {given} {{ {body} m = ReduceMax <keepdims = 0> (b) y = Add (x, m) }}"


@pytest.mark.parametrize(
    ("text", "gigabytes"),
    [
        (constant("b = ConstantOfShape (s)", "<int64[1] s = {10000000000}>"), 37),
        (constant("a = Mul (s, s) b = ConstantOfShape (a)", "<int64[1] s = {100000}>"), 37),
        (constant("a = Mul (s, s) t = Concat <axis = 0> (a, s) b = ConstantOfShape (t)", "<int64[1] s = {3000}>"), 100),
        (constant("b = Expand (k, s)", "<int64[2] s = {100000, 100000}, float[1] k = {1}>"), 37),
        (constant("b = Tile (k, s)", "<int64[1] s = {10000000000}, float[1] k = {1}>"), 37),
        (constant("r = Range (z, e, o) b = Cast <to = 1> (r)", "<int64 z = {0}, int64 e = {10000000000}, int64 o = {1}>"), 110),
        (constant("b = OneHot (i, d, v)", "<int64[4] i = {0, 0, 0, 0}, int64 d = {4000000000}, float[2] v = {0, 1}>"), 59),
        (constant("b = Pad (k, p)", "<float[1] k = {1}, int64[2] p = {10000000000, 0}>"), 37),
        (constant("b = RandomNormal <shape = [100000, 100000]> ()"), 37),
        (constant("b = HannWindow (n)", "<int64 n = {10000000000}>"), 37),
        ("large (float[60000, 60000] x) => (float[60000, 60000] y) { y = MatMul (x, x) }", 26),
        ("wide (float[1, 1, 100000, 100000] x) => (float[1, 1, 9, 9] y) { y = Identity (x) }", 74.5),
        ("outer (float[300, 300] x) => (float[a, b, c, d] y) { y = Einsum <equation = \"ab,cd->acbd\"> (x, x) }", 30),
    ],
)  # fmt: skip
def test_a_bomb_is_seen(text: str, gigabytes: float) -> None:
    assert need(text) == pytest.approx(gigabytes, rel=0.1)


def test_doubling() -> None:
    rounds = 40
    lines = [f"c{n + 1} = Concat <axis = 0> (c{n}, c{n})" for n in range(rounds)]
    text = f"double (float[1] c0) => (float[a] c{rounds}) {{ {' '.join(lines)} }}"
    assert need(text) > 1000


def test_what_is_used_up_counts_no_more() -> None:
    lines = [f"c{n + 1} = Relu (c{n})" for n in range(1000)]
    text = f"chain (float[1024, 1024, 32] c0) => (float[1024, 1024, 32] c1000) {{ {' '.join(lines)} }}"
    assert need(text) < 0.5


def test_the_node_is_named() -> None:
    found = footprint(
        onnx.parser.parse_model(HEAD + constant("b = ConstantOfShape (s)", "<int64[1] s = {10000000000}>"))
    )
    assert (found.op, found.node) == ("ConstantOfShape", "b")


def test_endless_loops_and_functions() -> None:
    body = "<body = b (int64 i, bool c, float[2] v) => (bool d, float[2] w) { d = Identity (c) w = Add (v, v) }>"
    loop = (
        f"loop (float[2] x) => (float[2] y) <int64 n = {{9000000000}}, bool t = {{1}}> {{ y = Loop (n, t, x) {body} }}"
    )
    assert footprint(onnx.parser.parse_model(HEAD + loop)).steps > 1e9
    assert footprint(onnx.parser.parse_model(HEAD + loop.replace("9000000000", "9"))).steps == 0
    functions = "".join(
        f'<domain: "f", opset_import: ["" : 18, "f" : 1]> f{n} (a) => (b) {{ '
        + " ".join(f"t{k} = f.f{n + 1} (a)" for k in range(10))
        + " b = Identity (t9) }\n"
        for n in range(8)
    )
    last = '<domain: "f", opset_import: ["" : 18]> f8 (a) => (b) { b = Relu (a) }'
    text = "bomb (float[2] x) => (float[2] y) { y = f.f0 (x) }\n"
    assert footprint(onnx.parser.parse_model(HEAD + text + functions + last)).steps > 1e8


def test_what_a_loop_collects_and_what_functions_make() -> None:
    body = "<body = b (int64 i, bool c) => (bool d, float[1000000] s) { d = Identity (c) s = ConstantOfShape (k) }>"
    loop = (
        "loop (float[2] x) => (float[a, b] y) <int64 n = {100000}, bool t = {1}, int64[1] k = {1000000}> "
        f"{{ y = Loop (n, t) {body} }}"
    )
    assert need(loop) > 300
    function = '<domain: "f", opset_import: ["" : 18]> big (a) => (b) { b = Concat <axis = 0> (a, a, a, a) }'
    assert need("called (float[1000000, 1000] x) => (float[a, 1000] y) { y = f.big (x) }\n", function) == pytest.approx(
        18.6, rel=0.1
    )


def test_sizes_that_are_given() -> None:
    model = onnx.parser.parse_model(HEAD + "open (float[n, m] x) => (float[n, m] y) { y = Relu (x) }")
    assert footprint(model).bytes == 8
    assert footprint(model, {"x": [1000, 1000]}).bytes == 8_000_000
