"""What ONNX Runtime has no kernel for is computed in float32 in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from enginesmith.converters.graphs import onnxruntime

WEIGHTS = ", ".join(str(value / 10) for value in range(18))
DOUBLE = f"""
<ir_version: 10, opset_import: ["" : 18]>
g (double[1, 2, 9] x) => (double[1, 3, 7] y, double[1, 3, 7] twice) <double[3, 2, 3] w = {{{WEIGHTS}}}> {{
    y = Conv (x, w)
    twice = Add (y, y)
}}
"""
BFLOAT = """
<ir_version: 10, opset_import: ["" : 18]>
g (float[2, 4] x, float[4, 3] w) => (float[2, 3] y) {
    a = Cast <to = 16> (x)
    b = Cast <to = 16> (w)
    c = MatMul (a, b)
    d = Relu (c)
    y = Cast <to = 1> (d)
}
"""


def write(folder: Path, text: str) -> Path:
    onnx.save(onnx.parser.parse_model(text), folder / "model.onnx")
    return folder / "model.onnx"


def test_a_convolution_in_float64(tmp_path: Path) -> None:
    made, widened = onnxruntime.opened(write(tmp_path, DOUBLE), optimize=False)
    assert widened == ["Conv in float64"], "and not Add, which has a kernel"
    x = np.linspace(-1, 1, 18).reshape(1, 2, 9)
    y, twice = made.run(["y", "twice"], {"x": x})
    assert y.dtype == twice.dtype == np.float64
    weights = np.arange(18).reshape(3, 2, 3) / 10
    expected = [[np.sum(weights[o] * x[0, :, i : i + 3]) for i in range(7)] for o in range(3)]
    np.testing.assert_allclose(y[0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(twice, 2 * y)


def test_bfloat16_is_rounded_after_each_operator(tmp_path: Path) -> None:
    import ml_dtypes

    made, widened = onnxruntime.opened(write(tmp_path, BFLOAT))
    assert "MatMul in bfloat16" in widened
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4), np.float32), rng.standard_normal((4, 3), np.float32)
    low = [array.astype(ml_dtypes.bfloat16).astype(np.float32) for array in (x, w)]
    (y,) = made.run(None, {"x": x, "w": w})
    np.testing.assert_array_equal(y, np.maximum(low[0] @ low[1], 0).astype(ml_dtypes.bfloat16).astype(np.float32))


def test_another_fault_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="No Op registered for Unheard"):
        onnxruntime.session(write(tmp_path, BFLOAT.replace("Relu", "Unheard")))
