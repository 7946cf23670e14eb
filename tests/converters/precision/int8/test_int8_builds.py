"""TensorRT-RTX takes what we write, and what it parses computes in integers."""

from __future__ import annotations

import importlib.util

import numpy as np
import onnx_ir as ir
import pytest
from graphs import normal
from int8_graphs import calibrated, prepared, quantized

from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.core.stage import Context
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.mix import Mix, apply

pytestmark = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="needs TensorRT-RTX")

SAME = "pads = [1, 1, 1, 1]"
FORMS = {
    "Conv": (f"y = Conv <{SAME}> (x, w, b)", {"w": normal(8, 8, 3, 3), "b": normal(8)}),
    "depthwise": (f"y = Conv <{SAME}, group = 8> (x, w)", {"w": normal(8, 1, 3, 3)}),
    "groups": (f"y = Conv <{SAME}, group = 2> (x, w)", {"w": normal(16, 4, 3, 3)}),
    "ConvTranspose": ("y = ConvTranspose <strides = [2, 2]> (x, w, b)", {"w": normal(8, 4, 2, 2), "b": normal(4)}),
    "ConvTranspose, groups": ("y = ConvTranspose <group = 2> (x, w)", {"w": normal(8, 4, 3, 3)}),
    "ConvTranspose, depthwise": ("y = ConvTranspose <group = 8> (x, w)", {"w": normal(8, 1, 3, 3)}),
    "Gemm": ("f = Flatten (x) y = Gemm (f, w, b)", {"w": normal(512, 8), "b": normal(8)}),
    "Gemm, turned": ("f = Flatten (x) y = Gemm <transB = 1, alpha = 0.5> (f, w)", {"w": normal(8, 512)}),
    "MatMul": ("y = MatMul (x, w)", {"w": normal(8, 4)}),
    "MatMul, weights first": ("y = MatMul (w, x)", {"w": normal(4, 8)}),
    "residual": (
        f"c = Conv <{SAME}> (x, w) s = Add (c, x) r = Relu (s) y = Conv <{SAME}> (r, w)",
        {"w": normal(8, 8, 3, 3)},
    ),
    "Concat": (
        f"c = Conv <{SAME}> (x, w) p = MaxPool <kernel_shape = [3, 3], {SAME}> (x) j = Concat <axis = 1> (c, p) y = Conv (j, v)",
        {"w": normal(8, 8, 3, 3), "v": normal(4, 16, 1, 1)},
    ),
    "SiLU": (
        f"c = Conv <{SAME}> (x, w) s = Sigmoid (c) m = Mul (c, s) y = Conv <{SAME}> (m, w)",
        {"w": normal(8, 8, 3, 3)},
    ),
}


def build(model, folder):
    ir.save(model, folder / "model.onnx")
    request = BuildRequest(onnx=folder / "model.onnx", target="sm_89", profile={}, out=folder)
    return get_backend("tensorrt-rtx").build(request, Context(out=folder, scratch=folder, cache=folder))


@pytest.mark.parametrize("rest", ["fp32", "fp16"])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_built_in_integers(form, rest, tmp_path):
    body, weights = FORMS[form]
    out = "float[a,b]" if "Gemm" in form else "float[a,b,c,d]"
    given = prepared(f"net (float[1,8,8,8] x) => ({out} y) {{ {body} }}", **weights)
    calibration = calibrated(given, [{"x": normal(1, 8, 8, 8, seed=3)}])
    names = tuple(node.name for node in given.graph if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"))
    apply(given, Mix(rest=rest, int8=names), calibration, Int8Options())
    engine = build(given, tmp_path)
    assert engine.products_built == engine.products_asked
    assert [set(kinds) for kinds in engine.products_built.values()] == [{"int8"}]


def test_weights_alone_and_a_branch_that_stays(tmp_path):
    text = """
    net (float[1,8,8,8] x, bool t) => (float[1,8,8,8] y)
    {
        c = Conv <pads = [1, 1, 1, 1]> (x, w)
        y = If (t) <
            then_branch = yes () => (float[1,8,8,8] a) { a = Conv <pads = [1, 1, 1, 1]> (c, w) },
            else_branch = no () => (float[1,8,8,8] b) { b = Relu (c) }
        >
    }
    """
    given = prepared(text, w=normal(8, 8, 3, 3))
    feed = {"x": normal(1, 8, 8, 8), "t": np.array(True)}
    whole, _ = quantized(given, [feed])
    assert build(whole, tmp_path).products_built == {"convolutions": {"int8": 1, "float32": 1}}
    stored, _ = quantized(given, None, Int8Options(weight_only=True))
    assert build(stored, tmp_path).products_built == {"convolutions": {"int8 weights": 1, "float32": 1}}
