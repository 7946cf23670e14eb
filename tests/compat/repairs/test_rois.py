"""RoiAlign and MaxRoiPool with a fixed number of operations give what ONNX Runtime's own give."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import one_node, repaired
from onnxruntime import InferenceSession

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.repairs import adaptive_rois


def regions(rng: np.random.Generator, count: int, width: float, height: float) -> np.ndarray:
    """Boxes x1, y1, x2, y2 within the picture and across its borders, some of them empty, float32[count, 4]."""
    ends = np.sort(rng.uniform(-0.2, 1.2, (count, 2, 2)), axis=1) * [width, height]
    ends[::4, 1] = ends[::4, 0]
    return ends.reshape(count, 4).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 3), st.tuples(st.integers(1, 4), st.integers(1, 4)), st.sampled_from([1.0, 0.5, 0.25]),
    st.sampled_from(["avg", "max"]), st.sampled_from(["half_pixel", "output_half_pixel"]), st.integers(0, 99),
)  # fmt: skip
def test_roi_align(samples: int, bins: tuple[int, int], scale: float, mode: str, corner: str, seed: int) -> None:
    model = one_node(
        "RoiAlign", [2, 3, 9, 12], [7, 4], [7], dtypes=[1, 1, 7], mode=mode, coordinate_transformation_mode=corner,
        output_height=bins[0], output_width=bins[1], sampling_ratio=samples, spatial_scale=scale,
    )  # fmt: skip
    after, _ = repaired("roi-align-by-gather", model)
    rng = np.random.default_rng(seed)
    feed = {
        "x0": rng.standard_normal((2, 3, 9, 12)).astype(np.float32),
        "x1": regions(rng, 7, 12 / scale, 9 / scale),
        "x2": rng.integers(0, 2, 7),
    }
    before, now = (InferenceSession(m.SerializeToString()).run(None, feed)[0] for m in (model, ir.to_proto(after)))
    np.testing.assert_allclose(now, before, atol=3e-5)


@pytest.mark.parametrize("count", [50, "regions"])
def test_roi_align_of_a_detector_in_parts(count: int | str) -> None:
    model = one_node(
        "RoiAlign", [1, 256, 20, 20], [count, 4], [count], dtypes=[1, 1, 7],
        output_height=7, output_width=7, sampling_ratio=2, spatial_scale=0.0625,
    )  # fmt: skip
    after, _ = repaired("roi-align-by-gather", model)
    parts = sum(node.op_type == "Gather" for node in after.graph)
    assert parts == (2 if count == 50 else 1)
    rng = np.random.default_rng(0)
    feed = {
        "x0": rng.standard_normal((1, 256, 20, 20)).astype(np.float32),
        "x1": regions(rng, 50, 320, 320),
        "x2": np.zeros(50, np.int64),
    }
    before, now = (InferenceSession(m.SerializeToString()).run(None, feed)[0] for m in (model, ir.to_proto(after)))
    np.testing.assert_allclose(now, before, atol=3e-5)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3), st.tuples(st.integers(1, 4), st.integers(1, 4)), st.sampled_from([1.0, 0.5, 0.0625]),
    st.sampled_from([1, 1, 30]), st.sampled_from(["half_pixel", "output_half_pixel"]),
    st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_as_many_samples_as_a_region_needs(
    images: int, bins: tuple[int, int], scale: float, larger: int, corner: str, known: bool, seed: int
) -> None:
    """Also of regions that are many times larger than the map, of which most samples lie outside."""
    count = 7 if known else "regions"
    model = one_node(
        "RoiAlign", [images, 3, 9, 12], [count, 4], [count], dtypes=[1, 1, 7], coordinate_transformation_mode=corner,
        output_height=bins[0], output_width=bins[1], spatial_scale=scale,
    )  # fmt: skip
    with pytest.raises(NotApplicable, match="sampling_ratio"):
        repaired("roi-align-by-gather", model)
    after, _ = repaired("roi-align-adaptive", model)
    rng = np.random.default_rng(seed)
    feed = {
        "x0": rng.standard_normal((images, 3, 9, 12)).astype(np.float32),
        "x1": regions(rng, 7, 12 / scale * larger, 9 / scale * larger),
        "x2": rng.integers(0, images, 7),
    }
    before, now = (InferenceSession(m.SerializeToString()).run(None, feed)[0] for m in (model, ir.to_proto(after)))
    np.testing.assert_allclose(now, before, atol=3e-5)


def test_adaptive_samples_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = one_node("RoiAlign", [1, 2, 9, 9], [30, 4], [30], dtypes=[1, 1, 7], output_height=2, output_width=2)
    monkeypatch.setattr(adaptive_rois, "WEIGHTS", 10 * 2 * 14 * 9)
    after, _ = repaired("roi-align-adaptive", model)
    assert sum(node.op_type == "Split" for node in after.graph) == 3
    rng = np.random.default_rng(0)
    feed = {
        "x0": rng.standard_normal((1, 2, 9, 9)).astype(np.float32),
        "x1": regions(rng, 30, 9, 9),
        "x2": np.zeros(30, np.int64),
    }
    before, now = (InferenceSession(m.SerializeToString()).run(None, feed)[0] for m in (model, ir.to_proto(after)))
    np.testing.assert_allclose(now, before, atol=3e-5)
    monkeypatch.setattr(adaptive_rois, "PARTS", 2)
    with pytest.raises(NotApplicable, match="too many"):
        repaired("roi-align-adaptive", model)


@settings(max_examples=20, deadline=None)
@given(st.tuples(st.integers(1, 4), st.integers(1, 4)), st.sampled_from([1.0, 0.5, 0.3]), st.integers(0, 99))
def test_max_roi_pool(bins: tuple[int, int], scale: float, seed: int) -> None:
    model = one_node("MaxRoiPool", [2, 3, 9, 12], [7, 5], pooled_shape=list(bins), spatial_scale=scale)
    after, _ = repaired("max-roi-pool-by-masks", model)
    rng = np.random.default_rng(seed)
    boxes = regions(rng, 7, 12 / scale, 9 / scale)
    rois = np.concatenate([rng.integers(0, 2, (7, 1)).astype(np.float32), boxes], axis=1)
    feed = {"x0": rng.standard_normal((2, 3, 9, 12)).astype(np.float32), "x1": rois}
    before, now = (InferenceSession(m.SerializeToString()).run(None, feed)[0] for m in (model, ir.to_proto(after)))
    np.testing.assert_array_equal(now, before)
