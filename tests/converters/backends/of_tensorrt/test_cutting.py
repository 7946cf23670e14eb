"""A graph whose compiler fails at what it fuses is built with a barrier, and says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.compat.interface import barriers
from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.backends.building import build
from enginesmith.converters.backends.cutting import narrowed
from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.stage import Context

pytest.importorskip("tensorrt_rtx")

CORRELATION = """
<ir_version: 10, opset_import: ["" : 18]>
correlation (float[1, 1, 8, 8] a, float[1, 1, 8, 8] b, float[64, 1, 1, 2] at, float[1, 8, 8, 1] more)
    => (float[64, 1, 4, 4] pooled, float[1, 8, 8, 2] y)
    <int64[4] planes = {64, 1, 8, 8}, int64[4] places = {1, 8, 8, -1}, float root = {2.5}> {
    products = Einsum <equation = "bchw,bcij->bhwij"> (a, b)
    rows = Reshape (products, planes)
    scaled = Div (rows, root)
    seen = GridSample (scaled, at)
    flat = Reshape (seen, places)
    pooled = AveragePool <strides = [2, 2], kernel_shape = [2, 2]> (scaled)
    y = Concat <axis = -1> (flat, more)
}
"""
"""Its Div is read by a kernel and by what is fused with it: Myelin 1.7 fails a check of its own."""


@given(st.integers(1, 40), st.data())
def test_what_is_left_does_it_and_nothing_of_it_can_be_left_out(count: int, data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=3))
    found = narrowed(list(range(count)), lambda parts: needed <= set(parts))
    assert set(found) == needed
    assert narrowed(list(range(count)), lambda parts: False) == []


def test_a_fusion_that_fails_is_kept_apart(tmp_path: Path) -> None:
    backend = get_backend("tensorrt-rtx")
    context = Context(tmp_path, tmp_path, tmp_path)
    given = onnx.parser.parse_model(CORRELATION)
    onnx.save(given, tmp_path / "model.onnx")
    request = BuildRequest(tmp_path / "model.onnx", "sm_89", {}, tmp_path)
    with pytest.raises(ConversionError, match="Myelin"):
        backend.build(request, context)
    rng = np.random.default_rng(0)
    shapes = {each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in given.graph.input}
    feed = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    with pytest.raises(ConversionError, match="Myelin"):
        build(backend, request, context, [feed], None)
    built = build(backend, request, context, [feed], tmp_path / "repaired.onnx")
    assert (tmp_path / backend.engine_file).stat().st_size == built.engine.size
    assert built.told == "kept from a fusion that fails by 1 barrier"
    assert len(barriers(onnx.load(built.onnx))) == len(built.attempts) == 1
