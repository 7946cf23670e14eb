"""A graph in 16 bits as one in float32: the same inputs and outputs, the same numbers but for rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from enginesmith.compat.saving import save
from enginesmith.converters.graphs.onnxruntime import session
from enginesmith.converters.precision.lower import lower, prepare

WEIGHTS = ", ".join(str(bits) for bits in (np.arange(16) / 16).astype(np.float16).view(np.uint16))
HALF = f"""
<ir_version: 10, opset_import: ["" : 18]>
g (float16[2, 4] x) => (float16[2, 4] y, float16[2, 4] z) <float16[4, 4] w = {{{WEIGHTS}}}> {{
    one = Constant <value = float16[1] {{15360}}> ()
    h = MatMul (x, w)
    z = Add (h, one)
    wide = Cast <to = 1> (z)
    low = Cast <to = 10> (wide)
    y = Mul (low, low)
}}
"""


def run(model: ir.Model, folder: Path, x: np.ndarray) -> list[np.ndarray]:
    save(model, folder / "model.onnx")
    return list(session(folder / "model.onnx", optimize=False).run(["y", "z"], {"x": x}))


@pytest.mark.parametrize("lowered", [False, True])
def test_it_computes_the_same(tmp_path: Path, lowered: bool) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float16)
    model = ir.from_onnx_text(HALF)
    before = run(model, tmp_path, x)
    made = prepare(ir.from_onnx_text(HALF), "fp16")
    types = {node.op_type: node.outputs[0].dtype for node in made.graph}
    assert types["MatMul"] == types["Add"] == types["Mul"] == ir.DataType.FLOAT
    if lowered:
        assert lower(made, "fp16").products_by_dtype == {"float16": 1}
    after = run(made, tmp_path, x)
    for one, other in zip(before, after, strict=True):
        assert one.dtype == other.dtype == np.float16
        np.testing.assert_allclose(one, other, rtol=2**-9, atol=2**-9)


def test_a_second_time_changes_nothing() -> None:
    once = prepare(ir.from_onnx_text(HALF), "fp16")
    nodes = [(node.op_type, [value.name for value in node.outputs]) for node in once.graph]
    again = prepare(once, "fp16")
    assert [(node.op_type, [value.name for value in node.outputs]) for node in again.graph] == nodes
