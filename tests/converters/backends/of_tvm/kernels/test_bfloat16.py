"""A graph in bfloat16 computes what its weights, rounded to bfloat16, give in float32."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from enginesmith.converters.core.isolated import Isolated

GRAPH = """<ir_version: 10, opset_import: ["" : 22]>
main (float[2, 3, 12, 11] x) => (float[2, 5] y) <int64[2] flat = {{0, -1}}> {{
    h = Cast <to = {kind}> (x) c = Conv <pads = [1, 1, 1, 1]> (h, w1) r = Relu (c)
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r) d = Conv <group = 16> (p, w2) s = Sigmoid (d) m = Mul (s, d)
    f = Reshape (m, flat) q = MatMul (f, w3) t = Softmax <axis = 1> (q) y = Cast <to = 1> (t)
}}"""
SHAPES = {"w1": (16, 3, 3, 3), "w2": (16, 1, 3, 3), "w3": (192, 5)}


def test_bfloat16(with_tvm: Isolated, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {name: (rng.standard_normal(shape) / 4).astype(ml_dtypes.bfloat16) for name, shape in SHAPES.items()}
    x = rng.standard_normal((2, 3, 12, 11)).astype(np.float32)
    for name, kind in (("model", ml_dtypes.bfloat16), ("wide", np.float32)):
        model = onnx.parser.parse_model(GRAPH.format(kind=helper.np_dtype_to_tensor_dtype(np.dtype(kind))))
        model.graph.initializer.extend(
            numpy_helper.from_array(array.astype(kind), key) for key, array in weights.items()
        )
        onnx.checker.check_model(model)
        onnx.save(model, tmp_path / f"{name}.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "wide.onnx", providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    np.savez(tmp_path / "feed.npz", x=x)
    told = with_tvm.call("compiled:run", str(tmp_path), timeout=120)
    assert told["kernels"].keys() >= {"convolution", "depthwise", "product"}
    with np.load(tmp_path / "found.npz") as found:
        (array,) = found.values()
    np.testing.assert_allclose(array, expected, rtol=0, atol=1e-5)
