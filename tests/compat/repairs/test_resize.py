"""Every form of Resize that ONNX Runtime takes is the same in matrix products or gathers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from one_node import one_node, proof, repaired
from onnxruntime import InferenceSession

from enginesmith.compat.building import NotApplicable

MODES = [
    "half_pixel",
    "asymmetric",
    "pytorch_half_pixel",
    "align_corners",
    "half_pixel_symmetric",
    "tf_crop_and_resize",
]
NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
CHANNELS = 12
"""With few outputs all of them may be small differences of large inputs, where rounding is all that one sees."""
SCALES = [0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0]


@st.composite
def resizes(draw: st.DrawFn, mode: str) -> onnx.ModelProto:
    """A Resize of an image or (linear and nearest) a volume, by scales or to sizes."""
    axes = 2 if mode == "cubic" else draw(st.integers(2, 3))
    old = [1, CHANNELS, *draw(st.lists(st.integers(1, 7), min_size=axes, max_size=axes))]
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": draw(st.sampled_from(MODES))}
    crops = attributes["coordinate_transformation_mode"] == "tf_crop_and_resize"
    if mode == "nearest":
        attributes["nearest_mode"] = draw(st.sampled_from(NEAREST))
    elif axes == 2 and not crops:
        attributes["antialias"] = draw(st.integers(0, 1))
    if mode == "cubic":
        attributes["cubic_coeff_a"] = draw(st.sampled_from([-0.75, -0.5]))
    if mode == "cubic" or attributes.get("antialias"):
        attributes["exclude_outside"] = draw(st.integers(0, 1))
    roi = None
    if crops:
        corner = draw(st.lists(st.sampled_from([-0.2, 0.0, 0.1, 0.25]), min_size=axes, max_size=axes))
        end = draw(st.lists(st.sampled_from([0.6, 0.75, 1.0, 1.3]), min_size=axes, max_size=axes))
        roi = np.asarray([0, 0, *corner, 1, 1, *end], np.float32)
        attributes["extrapolation_value"] = draw(st.sampled_from([0.0, -10.0]))
    if draw(st.booleans()):
        sizes = np.asarray([1, CHANNELS, *draw(st.lists(st.integers(1, 9), min_size=axes, max_size=axes))], np.int64)
        return one_node("Resize", old, roi, None, sizes, outputs=[(1, sizes.tolist())], **attributes)
    scales = np.asarray([1, 1, *draw(st.lists(st.sampled_from(SCALES), min_size=axes, max_size=axes))], np.float32)
    new = [max(int(np.float32(size) * scale), 0) for size, scale in zip(old, scales, strict=True)]
    scales = np.where(np.asarray(new) > 0, scales, 1).astype(np.float32)
    new = [n or size for n, size in zip(new, old, strict=True)]
    # ONNX Runtime copies an input whose shape stays, whatever the scales say.
    assume(new != old or bool(np.all(scales == 1)))
    return one_node("Resize", old, roi, scales, outputs=[(1, new)], **attributes)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_resize_is_a_matrix_product_or_a_gather_per_axis(mode: str) -> None:
    @settings(max_examples=30, deadline=None)
    @given(resizes(mode))
    def holds(model: onnx.ModelProto) -> None:
        found = proof("resize-by-matrix", model)
        assert found.agrees, f"{found.reason}\n{onnx.printer.to_text(model)}"

    holds()


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_scales_may_be_known_at_run_time_only(mode: str) -> None:
    model = one_node("Resize", [1, 2, 4, 5], None, [4], outputs=[(1, [1, 2, 6, 3])], mode=mode)
    after, _ = repaired("resize-by-matrix", model)
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 5)).astype(np.float32)
    feed = {"x0": x, "x2": np.asarray([1, 1, 1.6, 0.7], np.float32)}
    before, now = (InferenceSession(m.SerializeToString()).run(None, feed) for m in (model, ir.to_proto(after)))
    np.testing.assert_allclose(before[0], now[0], atol=1e-5)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("by", ["sizes", "scales"])
def test_sizes_that_only_the_run_knows(mode: str, by: str) -> None:
    @settings(max_examples=15, deadline=None)
    @given(st.sampled_from(MODES[:5]), st.booleans(), st.booleans(), st.tuples(st.integers(1, 9), st.integers(1, 9)))
    def holds(coordinates: str, antialias: bool, outside: bool, size: tuple[int, int]) -> None:
        asked = np.asarray([1, 2, 4, 3], np.int64) if by == "sizes" else None
        scales = np.asarray([1, 1, 0.5, 1.5], np.float32) if by == "scales" else None
        new = (4, 3) if by == "sizes" else (int(size[0] * 0.5), int(size[1] * 1.5))
        assume(min(new) > 0)
        assume(new != size)
        model = one_node(
            "Resize", [1, 2, "h", "w"], None, scales, asked, outputs=[(1, [1, 2, "a", "b"])], mode=mode,
            coordinate_transformation_mode=coordinates, antialias=int(antialias),
            exclude_outside=int(outside and (antialias or mode == "cubic")),
        )  # fmt: skip
        after, _ = repaired("resize-by-matrix", model)
        feed = {"x0": np.random.default_rng(0).standard_normal((1, 2, *size)).astype(np.float32)}
        before, now = (InferenceSession(m.SerializeToString()).run(None, feed) for m in (model, ir.to_proto(after)))
        np.testing.assert_allclose(before[0], now[0], atol=2e-5)

    holds()


@settings(max_examples=30, deadline=None)
@given(
    st.permutations([2, 3]),
    st.sampled_from(["stretch", "not_larger", "not_smaller"]),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.booleans(),
)
def test_axes_and_policies(axes: list[int], policy: str, sizes: tuple[int, int], by_matrix: bool) -> None:
    old = [1, 2, 5, 4]
    scales = [size / old[axis] for axis, size in zip(axes, sizes, strict=True)]
    if policy != "stretch":
        scales = [min(scales) if policy == "not_larger" else max(scales)] * 2
    new = list(old)
    for axis, scale in zip(axes, scales, strict=True):
        new[axis] = int(np.floor(scale * old[axis] + 0.5))
    if min(new) < 1:
        return
    model = one_node(
        "Resize", old, None, None, np.asarray(sizes, np.int64),
        outputs=[(1, new)], axes=axes, keep_aspect_ratio_policy=policy, mode="nearest",
    )  # fmt: skip
    try:
        found = proof("resize-by-matrix" if by_matrix else "resize-plain", model)
    except NotApplicable:
        assert not by_matrix
        assert policy != "stretch"
        return
    assert found.agrees, found.reason


@pytest.mark.parametrize(("opset", "op"), [(10, "Resize"), (9, "Upsample")])
def test_the_forms_of_old_opsets(opset: int, op: str) -> None:
    for mode in ("nearest", "linear"):
        scales = np.asarray([1, 1, 2, 1.5], np.float32)
        found = proof("resize-by-matrix", one_node(op, [1, 2, 3, 4], scales, opset=opset, mode=mode))
        assert found.agrees, found.reason


def test_interpolation_of_integers_is_left_alone() -> None:
    sizes = np.asarray([1, 1, 5, 5], np.int64)
    model = one_node("Resize", [1, 1, 3, 3], None, None, sizes, dtypes=[2], outputs=[(2, [1, 1, 5, 5])], mode="linear")
    with pytest.raises(NotApplicable, match="integers"):
        repaired("resize-by-matrix", model)
