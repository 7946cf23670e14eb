"""Sampling by gathers is what ONNX Runtime's own GridSample, AffineGrid and DeformConv compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import one_node, proof, repaired
from onnxruntime import InferenceSession

from enginesmith.compat.building import NotApplicable


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["linear", "nearest", "cubic"]),
    st.sampled_from(["zeros", "border", "reflection"]),
    st.integers(0, 1),
    st.lists(st.integers(1, 5), min_size=3, max_size=3),
    st.booleans(),
    st.integers(0, 99),
)
def test_a_grid_of_any_mode(mode: str, padding: str, corners: int, sizes: list[int], volume: bool, seed: int) -> None:
    axes = 3 if volume and mode != "cubic" else 2
    model = one_node(
        "GridSample", [2, 3, *sizes[:axes]], [2, *range(2, 2 + axes), axes],
        opset=20, mode=mode, padding_mode=padding, align_corners=corners,
    )  # fmt: skip
    after, _ = repaired("grid-sample-by-gather", model)
    rng = np.random.default_rng(seed)
    # Inside, at the border, outside, and far outside.
    grid = rng.uniform(-1, 1, [2, *range(2, 2 + axes), axes]) * rng.choice([0.5, 1, 1, 1.5, 3], [2, *([1] * axes), 1])
    feed = {
        "x0": rng.standard_normal([2, 3, *sizes[:axes]]).astype(np.float32),
        "x1": grid.astype(np.float32),
    }
    before, now = (InferenceSession(m.SerializeToString()).run(None, feed)[0] for m in (model, ir.to_proto(after)))
    np.testing.assert_allclose(now, before, atol=2e-5)


def test_a_grid_sample_of_opset_16_is_proved() -> None:
    model = one_node("GridSample", [1, 6, 5, 6], [1, 8, 9, 2], opset=16, mode="bilinear", padding_mode="border")
    found = proof("grid-sample-by-gather", model)
    assert found.agrees, found.reason


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("sizes", [[2, 3, 4, 5], [1, 2, 3, 4, 5]])
@pytest.mark.parametrize("at_run_time", [False, True])
def test_an_affine_grid(corners: int, sizes: list[int], at_run_time: bool) -> None:
    axes = len(sizes) - 2
    size: Any = [len(sizes)] if at_run_time else np.asarray(sizes, np.int64)
    model = one_node(
        "AffineGrid", [sizes[0], axes, axes + 1], size,
        dtypes=[1, 7], outputs=[(1, [sizes[0], *sizes[2:], axes])], opset=20, align_corners=corners,
    )  # fmt: skip
    found = proof("affine-grid-by-matrix", model)
    assert found.agrees, found.reason


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 2), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2), st.integers(0, 2),
    st.booleans(), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_a_deformed_convolution(
    batch: int, parts: int, stride: int, dilation: int, pad: int, bias: bool, masked: bool, seed: int
) -> None:
    groups = 1 + seed % 2
    kernel, size = (2, 3), (7, 8)
    out = [(n + 2 * pad - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(size, kernel, strict=True)]
    shapes = [
        [batch, 4, *size],
        [6, 4 // groups, *kernel],
        [batch, parts * 12, *out],
        [6] if bias else None,
        [batch, parts * 6, *out] if masked else None,
    ]
    while shapes[-1] is None:
        shapes.pop()
    model = one_node(
        "DeformConv", *shapes, opset=19, strides=[stride] * 2, dilations=[dilation] * 2, pads=[pad] * 4,
        group=groups, offset_group=parts, outputs=[(1, [batch, 6, *out])],
    )  # fmt: skip
    after, _ = repaired("deform-conv-by-gather", model)
    rng = np.random.default_rng(seed)
    feed = {
        f"x{place}": rng.standard_normal(shape).astype(np.float32) * (2 if place == 2 else 1)
        for place, shape in enumerate(shapes)
        if shape is not None
    }
    before, now = (InferenceSession(m.SerializeToString()).run(None, feed)[0] for m in (model, ir.to_proto(after)))
    np.testing.assert_allclose(now, before, atol=1e-4)


def test_sizes_must_be_known() -> None:
    with pytest.raises(NotApplicable, match="sizes"):
        repaired("grid-sample-by-gather", one_node("GridSample", [1, 2, "h", 4], [1, 3, 3, 2], opset=16))
