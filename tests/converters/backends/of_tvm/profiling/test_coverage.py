"""Which nodes of a graph ONNX Runtime's own kernels compute, told by the graph that it has made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from enginesmith.converters.backends.tvm.profiling.coverage import Coverage
from enginesmith.converters.backends.tvm.profiling.groups import groups
from enginesmith.converters.backends.tvm.profiling.reference import KernelTimes
from enginesmith.converters.core.engine_layers import Layer
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.graphs import onnxruntime

RNG = np.random.default_rng(0)


def optimized(folder: Path, text: str, **shapes: tuple[int, ...]) -> tuple[onnx.GraphProto, onnx.GraphProto]:
    """A graph with random weights of these shapes, and what a session makes of it."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> main {text}')
    for name, shape in shapes.items():
        model.graph.initializer.append(numpy_helper.from_array(RNG.random(shape).astype(np.float32), name))
    onnx.save(model, folder / "model.onnx")
    onnxruntime.session(folder / "model.onnx", threads=1, written=folder / "optimized.onnx")
    return model.graph, onnx.load(folder / "optimized.onnx", load_external_data=False).graph


def found(folder: Path, text: str, **shapes: tuple[int, ...]) -> list[tuple[str, str]]:
    """Operators of the optimized graph, with the outputs of the nodes that they compute."""
    graph, made = optimized(folder, text, **shapes)
    covered = Coverage(graph, made).covered
    return [
        (node.op_type, "".join(sorted(graph.node[number].output[0] for number in numbers)))
        for node, numbers in zip(made.node, covered, strict=True)
    ]


def test_a_residual_block(tmp_path: Path) -> None:
    """Blocked convolutions rename every tensor; the later one computes the sum and what follows it."""
    got = found(
        tmp_path,
        "(float[1, 16, 9, 9] x) => (float[1, 16, 9, 9] y) { a = Conv (x, w) b = Relu (a) c = Conv (b, w)"
        " d = Add (c, b) e = Relu (d) f = Conv (e, w) g = Conv <pads = [1, 1, 1, 1]> (e, v) h = Add (f, g) y = Relu (h) }",
        w=(16, 16, 1, 1), v=(16, 16, 3, 3),
    )  # fmt: skip
    named = [(op, nodes) for op, nodes in got if not op.startswith("Reorder")]
    assert {op for op, _ in named} == {"Conv"}
    assert [nodes for _, nodes in named][:2] == ["ab", "cde"]
    assert sorted(nodes for _, nodes in named[2:]) in (["f", "ghy"], ["fhy", "g"])
    assert [nodes for op, nodes in got if op == "ReorderOutput"][-1] in ("y", "h", "g")


def test_fused_kernels_keep_their_last_output(tmp_path: Path) -> None:
    got = found(
        tmp_path,
        "(float[2, 6, 32] x) => (float[2, 6, 8] y) { m = MatMul (x, w) a = Add (m, b) e = Erf (a)"
        " n = LayerNormalization <axis = -1> (e, s, s) y = Softmax <axis = -1> (n) }",
        w=(32, 8), b=(8,), s=(8,),
    )  # fmt: skip
    assert {nodes for op, nodes in got if op in ("Gemm", "Reshape")} == {"am"}
    assert [(op, nodes) for op, nodes in got if op not in ("Gemm", "Reshape")] == [
        ("Erf", "e"),
        ("LayerNormalization", "n"),
        ("Softmax", "y"),
    ]


def test_constants_are_nobodys(tmp_path: Path) -> None:
    """What is computed before the first inference belongs to no kernel."""
    got = found(tmp_path, "(float[4] x) => (float[4] y) { k = Exp (w) z = Sin (x) y = Mul (z, k) }", w=(4,))
    assert got == [("Sin", "z"), ("Mul", "y")]


def test_a_graph_that_cannot_be_written_is_no_crash(tmp_path: Path) -> None:
    optimized(tmp_path, "(float[4] x) => (float[4] y) { y = Sin (x) }")
    with pytest.raises(ConversionError, match="can't write its own graph"):
        KernelTimes(tmp_path / "model.onnx", 1, tmp_path / "nowhere")


def layer(*nodes: str) -> Layer:
    return Layer(function="f", kernel="k", ours=True, nodes=list(nodes), ops=[], shape=[], flops=0, bytes=0)


def grouped(folder: Path, layers: list[Layer]) -> list[tuple[str, list[int], list[str]]]:
    text = "(float[4] x) => (float[4] y) { a = Sin (x) b = Cos (a) c = Sin (b) y = Exp (c) }"
    graph, made = optimized(folder, text)
    times = [1.0] * len(layers)
    result = groups(graph, layers, times, made, dict.fromkeys(range(len(made.node)), 0.5))
    assert sum(group.engine_ms for group in result) == sum(times)
    assert sum(group.onnxruntime_ms for group in result) == 0.5 * len(made.node)
    return [("".join(group.nodes), group.layers, group.kernels) for group in result]


def test_groups_are_as_small_as_both_sides_allow(tmp_path: Path) -> None:
    assert grouped(tmp_path, [layer("a", "b"), layer("c"), layer("y")]) == [
        ("ab", [0], ["Sin", "Cos"]),
        ("c", [1], ["Sin"]),
        ("y", [2], ["Exp"]),
    ]
    assert grouped(tmp_path, [layer("a"), layer("a", "b", "c"), layer("c", "y")]) == [
        ("abcy", [0, 1, 2], ["Sin", "Cos", "Sin", "Exp"])
    ]


def test_a_lowered_graph_meets_the_one_in_float32(tmp_path: Path) -> None:
    assert grouped(
        tmp_path, [layer("a"), layer("a/int8"), layer("a/dequantized", "b"), layer("c"), layer("y/float16", "y")]
    ) == [
        ("ab", [0, 1, 2], ["Sin", "Cos"]),
        ("c", [3], ["Sin"]),
        ("y", [4], ["Exp"]),
    ]


def test_what_has_no_place_comes_last(tmp_path: Path) -> None:
    """A node that a repair has made, and nodes that the engine has no layer for."""
    got: Any = grouped(tmp_path, [layer("b"), layer("repaired"), layer()])
    assert got == [("a", [], ["Sin"]), ("b", [0], ["Cos"]), ("c", [], ["Sin"]), ("y", [], ["Exp"]), ("", [1, 2], [])]
