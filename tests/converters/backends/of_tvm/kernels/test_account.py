"""Every call of a compiled module is accounted for: which kernel it is, which ONNX nodes it computes, how much work it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from enginesmith.converters.core.isolated import Isolated

RNG = np.random.default_rng(0)
GRAPH = """<ir_version: 10, opset_import: ["" : 18]> main (float[1, 8, 10, 12] x) => (float[1, 5, 7] y) {
    c = Conv <pads = [1, 1, 1, 1]> (x, w1) r = Relu (c)
    n = BatchNormalization (r, gain, gain, gain, gain)
    d = Conv <group = 16, pads = [1, 1, 1, 1], strides = [2, 2]> (n, w2) s = Add (d, d)
    t = CumSum (s, axis) p = Transpose <perm = [0, 2, 3, 1]> (t) f = Reshape (p, sizes)
    q = MatMul (f, w3) e = Erf (q) y = Softmax <axis = 1> (e) }"""
WEIGHTS = {
    "w1": RNG.standard_normal((16, 8, 3, 3)).astype(np.float32),
    "w2": RNG.standard_normal((16, 1, 3, 3)).astype(np.float32),
    "w3": RNG.standard_normal((96, 7)).astype(np.float32),
    "gain": np.linspace(0.5, 1.5, 16, dtype=np.float32),
    "axis": np.array(2, np.int64),
    "sizes": np.array([1, 5, 96], np.int64),
}


def save(folder: Path) -> Path:
    model = onnx.parser.parse_model(GRAPH)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in WEIGHTS.items())
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture(scope="module")
def accounted(with_tvm: Isolated, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """With kernels of ours, and without: the layers, and the calls that the machine really makes."""
    folder = tmp_path_factory.mktemp("accounted")
    save(folder)
    return {kernels: with_tvm.call("compiled:account", str(folder), kernels, timeout=120) for kernels in (True, False)}


@pytest.mark.parametrize("kernels", [True, False])
def test_every_call_has_its_layer(accounted: Any, kernels: bool) -> None:
    """Reshapes become no calls; all others appear in the order in which they run."""
    layers, called = accounted[kernels]
    names = [layer["function"] for layer in layers if not layer["kernel"].startswith("reshape")]
    assert [name for name in called if name in names] == names
    assert [name for name in called if not name.startswith("vm.")] == [name for name in called if name in names]
    assert any(layer["ours"] for layer in layers) == kernels


@pytest.mark.parametrize("kernels", [True, False])
def test_every_node_has_a_layer(accounted: Any, kernels: bool) -> None:
    covered = [node for layer in accounted[kernels][0] for node in layer["nodes"]]
    assert set(covered) == set("crndstpfqey")
    by_node = {
        node: op for layer in accounted[kernels][0] for node, op in zip(layer["nodes"], layer["ops"], strict=True)
    }
    assert (by_node["c"], by_node["n"], by_node["q"]) == ("Conv", "BatchNormalization", "MatMul")


@pytest.mark.parametrize("kernels", [True, False])
def test_work_is_counted_once_by_definition(accounted: Any, kernels: bool) -> None:
    """2 x multiplications; a depthwise convolution reads one channel."""
    flops = {"c": 2 * 16 * 10 * 12 * 8 * 9, "d": 2 * 16 * 5 * 6 * 9, "q": 2 * 5 * 7 * 96}
    layers = accounted[kernels][0]
    assert sum(layer["flops"] for layer in layers) == sum(flops.values())
    for node, count in flops.items():
        assert [layer["flops"] for layer in layers if node in layer["nodes"] and layer["flops"]] == [count]


def test_kernels_are_named_and_sized(accounted: Any) -> None:
    layers = {layer["kernel"]: layer for layer in accounted[True][0]}
    assert layers["depthwise"]["nodes"] == ["d", "s"]
    assert layers["depthwise"]["shape"] == [1, 2, 5, 6, 8]
    halo = (10 + 1) * (12 + 1)  # a stride of two looks beyond the upper and the left edge alone
    assert layers["depthwise"]["bytes"] == 4 * 16 * (halo + 9 + 5 * 6)
    assert layers["product"]["nodes"] == ["q", "e"]
    assert layers["product"]["bytes"] == 4 * (5 * 96 + 96 * 2 * 4 + 5 * 7)  # two overlapping tiles of four columns
    left = [layer for layer in accounted[True][0] if not layer["ours"]]
    assert any("t" in layer["nodes"] and layer["flops"] == 0 for layer in left)


def test_equal_groups_share_a_function_but_not_their_nodes(with_tvm: Isolated, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> main (float[6, 6] x) => (float[6, 6] y) {'
        " t = Transpose (x) e = Erf (t) s = Softmax (e) u = Transpose (s) f = Erf (u) y = Softmax (f) }"
    )
    onnx.save(model, tmp_path / "model.onnx")
    layers, called = with_tvm.call("compiled:account", str(tmp_path), False, timeout=120)
    assert [layer["nodes"] for layer in layers] == [["t", "e"], ["s"], ["u", "f"], ["y"]]
    assert layers[0]["function"] == layers[2]["function"]
    assert [name for name in called if not name.startswith("vm.")] == [layer["function"] for layer in layers]


def integers_and_more(path: Path) -> None:
    """A convolution, a depthwise one and a product of integers with int8 kernels; a transposed convolution and a product
    of five rows, which have none.
    """
    rng = np.random.default_rng(0)
    shapes = {"a": (16, 8, 3, 3), "b": (16, 1, 3, 3), "c": (16, 16, 2, 2), "d": (16, 8), "e": (5, 8)}
    stored = ", ".join(f"int8[{','.join(map(str, shape))}] q{name}" for name, shape in shapes.items())
    read = " ".join(f"{name} = DequantizeLinear (q{name}, scale, zero)" for name in shapes)

    def rounded(name: str, source: str) -> str:
        return f"{name}q = QuantizeLinear ({source}, step, zero) {name} = DequantizeLinear ({name}q, step, zero)"

    text = f"""
    <ir_version: 10, opset_import: ["" : 19]>
    net (float[1,8,6,6] x, float[3,5] v) => (float[1,8] y, float[1,16,8,8] up, float[3,8] w)
      <float scale = {{0.01}}, float step = {{0.05}}, int8 zero = {{0}}, {stored}>
    {{
        {read} {rounded("x1", "x")} p = Conv (x1, a) {rounded("p1", "p")}
        r = Conv <group = 16, pads = [1, 1, 1, 1]> (p1, b) {rounded("r1", "r")}
        up = ConvTranspose <strides = [2, 2]> (r1, c) m = GlobalAveragePool (r1) f = Flatten (m)
        {rounded("f1", "f")} y = MatMul (f1, d) {rounded("v1", "v")} w = MatMul (v1, e)
    }}
    """
    made = onnx.parser.parse_model(text)
    for name, shape in shapes.items():
        made.graph.initializer.append(
            numpy_helper.from_array(rng.integers(-127, 128, shape).astype(np.int8), f"q{name}")
        )
    onnx.save(made, path / "model.onnx")


def test_a_module_says_which_of_its_products_are_of_integers(with_tvm: Isolated, tmp_path: Path) -> None:
    integers_and_more(tmp_path)
    built = with_tvm.call("compiled:compile_stage", str(tmp_path), "x:1x8x6x6,v:3x5", timeout=120)
    assert built["engine"]["products_asked"] == {
        "convolutions": {"int8": 2},
        "transposed convolutions": {"int8": 1},
        "matrix products": {"int8": 2},
    }
    assert built["engine"]["products_built"] == {
        "convolutions": {"int8": 2},
        "transposed convolutions": {"float32": 1},
        "matrix products": {"int8": 1, "float32": 1},
    }
    assert built["warnings"] == [
        "tvm: asked int8, 0 of 1 transposed convolutions are int8; the report's layers say what the others are"
    ]
