"""What TensorRT-RTX makes of a lowered graph, held against what the graph asks for."""

from __future__ import annotations

import importlib.util

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from graphs import lowered, model, normal
from lowered_nets import BRANCHES, IMAGE, NET, NET_WEIGHTS

from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.backends.tensorrt import backend as tensorrt
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.stage import Context
from enginesmith.converters.graphs.products import products_of, shortfall
from enginesmith.converters.precision import rules

needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="needs TensorRT-RTX")


def build(path, folder):
    backend = get_backend("tensorrt-rtx")
    request = BuildRequest(onnx=path, target="sm_89", profile={}, out=folder)
    return backend.build(request, Context(out=folder, scratch=folder, cache=folder))


@pytest.fixture
def net():
    return model(NET, **NET_WEIGHTS)


@needs_rtx
@pytest.mark.parametrize(("precision", "name"), [("fp16", "float16"), ("bf16", "bfloat16")])
def test_the_network_has_the_types_of_the_graph(net, tmp_path, precision, name):
    made, _ = lowered(net, IMAGE, tmp_path, precision)
    ir.save(made, tmp_path / "net.onnx")
    engine = build(tmp_path / "net.onnx", tmp_path)
    asked = {"convolutions": {name: 2}, "matrix products": {name: 1}}
    assert engine.products_asked == engine.products_built == asked
    assert engine.layers_by_dtype["float32"] == 1, "the Cast at the end"
    assert engine.layers_by_dtype[name] >= 7


@needs_rtx
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_mixed_graphs_and_branches_are_taken(tmp_path, precision):
    normalized = """
    net (float[1,8,16] x) => (float[1,8,16] y)
    {
        n = LayerNormalization (x, g)
        q = MatMul (n, w)
        k = Transpose <perm = [0, 2, 1]> (q)
        p = MatMul (q, k)
        a = Softmax (p)
        o = MatMul (a, q)
        s = Add (o, x)
        t = HardSwish (s)
        r = ReduceMean <keepdims = 1> (t, axes)
        d = Sub (t, r)
        y = MatMul (d, w)
    }
    """
    weights = {"w": normal(16, 16, scale=0.2), "g": np.ones(16, np.float32), "axes": np.array([2], np.int64)}
    branches = {"w": normal(4, 4), "v": normal(4, 4)}
    for number, given in enumerate((model(normalized, **weights), model(BRANCHES, **branches))):
        made, report = lowered(given, None, tmp_path, precision)
        assert "float32" not in report.products_by_dtype
        ir.save(made, tmp_path / f"{number}.onnx")
        engine = build(tmp_path / f"{number}.onnx", tmp_path)
        assert engine.products_built == engine.products_asked


@needs_rtx
@pytest.mark.parametrize(
    ("op", "arguments"),
    [("HardSwish", "x"), ("Mish", "x"), ("ConvTranspose", "x, w"), ("GRU", "x, v, u")],
)
def test_what_the_table_calls_refused_is_refused(tmp_path, monkeypatch, op, arguments):
    """And taken as we write it: where this fails, the table can be shortened."""
    # TensorRT-RTX 1.7.1 stops at a GRU behind a product in any type
    sizes = {"ConvTranspose": ((1, 4, 6, 6), (1, 4, 8, 8)), "GRU": ((8, 4, 8), (8, 1, 4, 4))}
    before, after = sizes.get(op, ((1, 4, 6, 6), (1, 4, 6, 6)))
    shapes = (",".join(map(str, shape)) for shape in (before, after))
    ends = "net (float[{}] x0) => (float[{}] y)".format(*shapes)
    first = "Relu (x0)" if op == "GRU" else "MatMul (x0, m)"
    attributes = "<hidden_size = 4>" if op == "GRU" else ""
    text = f"{ends} {{ x = {first}  z = {op} {attributes} ({arguments})  y = MatMul (z, n) }}"
    given = model(
        text,
        w=normal(4, 4, 3, 3),
        v=normal(1, 12, 8),
        u=normal(1, 12, 4),
        m=normal(before[-1], before[-1]),
        n=normal(after[-1], after[-1]),
    )
    given.opset_imports[""] = 22
    made, report = lowered(given, None, tmp_path, "bf16")
    assert [kept.op for kept in report.kept] == [op]
    trial = get_backend("tensorrt-rtx").trial
    ir.save(made, tmp_path / "kept.onnx")
    assert trial(tmp_path / "kept.onnx", "sm_89", {}, {}) is None
    monkeypatch.setattr(rules, "refused", lambda dtype: {})
    forced, report = lowered(given, None, tmp_path, "bf16")
    assert report.kept == []
    ir.save(forced, tmp_path / "forced.onnx")
    assert trial(tmp_path / "forced.onnx", "sm_89", {}, {}) is not None


def test_the_table_of_refusals_is_tested_whole():
    def in_onnx(op):
        allowed = [kind for found in onnx.defs.get_schema(op, 22).type_constraints for kind in found.allowed_type_strs]
        return onnx.defs.has(op, 22) and not onnx.defs.get_schema(op, 22).deprecated and "tensor(bfloat16)" in allowed

    known = {*rules.SENSITIVE, *rules.CHOOSING, "BlackmanWindow", "HammingWindow", "HannWindow"}
    assert {op for op in rules.refused("bfloat16") if op not in known and in_onnx(op)} == {
        "HardSwish", "Mish", "ConvTranspose", "GRU"
    }  # fmt: skip


def test_what_is_lacking_is_said_in_one_line():
    asked = {"convolutions": {"float16": 53}, "matrix products": {"float16": 1}}
    assert shortfall(asked, {"convolutions": {"float32": 53}, "matrix products": {"float16": 1}}) == (
        "asked fp16, 0 of 53 convolutions are float16"
    )
    assert shortfall(asked, asked) == ""
    folded = {"convolutions": {"float16": 52}, "matrix products": {"float16": 1}}
    assert shortfall(asked, folded) == "", "one was folded away, and none is float32 in its place"
    mixed = {"convolutions": {"float16": 50, "float32": 3}}
    assert shortfall(mixed, mixed) == ""


@needs_rtx
def test_an_engine_in_float32_where_fp16_was_asked_fails(net, tmp_path, monkeypatch):
    """A product that parses the float32 graph in place of the one given is what such an engine comes from."""
    made, _ = lowered(net, IMAGE, tmp_path)
    ir.save(made, tmp_path / "half.onnx")
    ir.save(net, tmp_path / "wide.onnx")
    parse = tensorrt.parse
    monkeypatch.setattr(tensorrt, "parse", lambda session, path: parse(session, tmp_path / "wide.onnx"))
    with pytest.raises(ConversionError, match="asked fp16, 0 of 2 convolutions are float16"):
        build(tmp_path / "half.onnx", tmp_path)
    assert not (tmp_path / "engine.trt").exists()


def test_products_are_counted_in_branches_too(tmp_path):
    ir.save(model(BRANCHES, w=normal(4, 4), v=normal(4, 4)), tmp_path / "m.onnx")
    assert products_of(tmp_path / "m.onnx") == {"matrix products": {"float32": 5}}
