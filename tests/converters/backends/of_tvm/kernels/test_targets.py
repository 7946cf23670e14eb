"""Machine code for targets that this machine may not be: vectors as wide as theirs, sums that stay in registers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from enginesmith.converters.core.isolated import Isolated

MULTIPLY_ADD = {
    "x86-64-v3": r"\tvfmadd\w+ps\t.*%ymm",
    "x86-64-v4": r"\tvfmadd\w+ps\t.*%zmm",
    "x86_64-linux-gnu:znver4": r"\tvfmadd\w+ps\t.*%zmm",
    "x86-64": r"\tmulps\t.*%xmm",
    "aarch64-linux-gnu": r"\tfmla\tv\d+\.4s",
}
"""Of a vector that fills a register."""


@pytest.mark.parametrize("target", sorted(MULTIPLY_ADD))
def test_inner_loop_is_vectors_of_the_target(with_tvm: Isolated, target: str) -> None:
    code = with_tvm.call("compiled:assembly", target, timeout=60)
    found = len(re.findall(MULTIPLY_ADD[target], code))
    stack = r"\((%rsp|%rbp)\)|\[sp"
    assert found >= 48
    # A sum that doesn't fit the registers is stored and loaded around every multiplication.
    assert len(re.findall(stack, code)) < found


NET = """(float[1, 3, 16, 16] x) => (float[1, 5] y) { c = Conv <pads = [1, 1, 1, 1]> (x, w1) s = Sigmoid (c) g = Mul (c, s)
 d = Conv <group = 16, kernel_shape = [3, 3], strides = [2, 2]> (g, w2) r = Relu (d) m = MaxPool <kernel_shape = [2, 2]> (r)
 p = GlobalAveragePool (m) f = Flatten (p) e = MatMul (f, w3) y = Softmax (e) }"""
"""With all that a classifier is made of."""
SHAPES = {"w1": (16, 3, 3, 3), "w2": (16, 1, 3, 3), "w3": (16, 5)}


@pytest.mark.parametrize(
    ("target", "product"),
    [
        ("arm-linux-gnueabihf", r"\tvmul\.f32\tq"),
        ("arm-linux-gnueabihf:cortex-a53", r"\tvfma\.f32\tq"),
        ("riscv64-linux-gnu", r"\tfmadd\.s\t"),
        ("riscv64-linux-gnu:sifive-x280", r"\tvfmacc\.v"),
        ("x86-64", r"\tmulps\t"),
    ],
)
def test_a_network_for_other_processors(with_tvm: Isolated, tmp_path: Path, target: str, product: str) -> None:
    """With kernels of ours, and no number that costs a call because the processor lacks an instruction."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> main {NET}')
    for name, shape in SHAPES.items():
        model.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    onnx.save(model, tmp_path / "model.onnx")
    made: dict[str, Any] = with_tvm.call("compiled:machine_code", str(tmp_path), target, timeout=120)
    assert {"convolution", "depthwise", "product", "softmax"} <= set(made["kernels"])
    assert len(re.findall(product, made["code"])) > 10
    assert not re.findall(r"\b(?:fmaf|__\w+[sd]f3)\b", made["code"])


def test_without_an_instruction_for_a_product_with_a_sum(agrees: Any) -> None:
    rng = np.random.default_rng(0)
    told = agrees(NET, {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}, name="x86-64")
    assert {"convolution", "depthwise", "product", "softmax"} <= set(told["kernels"])
