"""Pooling over a pyramid: one RoiAlign's work for all levels gives what a RoiAlign for each level gave."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from enginesmith.compat.graphs import infer
from enginesmith.compat.repairs.detector_pooling import roi_align_pyramid
from enginesmith.compat.target import Target

RTX = Target("tensorrt-rtx", "1.7.1")
REGIONS = 6


def text(mode: str = "half_pixel", samples: int = 2, levels: int = 3, start: str = "0", second: str = "") -> str:
    """Regions of up to three maps; `start` is what regions of no level get, `second` more settings of the second one."""
    maps = ", ".join(f"float[2, 3, {24 >> level}, {32 >> level}] map{level}" for level in range(levels))
    masks = ", ".join(f"bool[{REGIONS}] mask{level}" for level in range(levels))
    body = []
    for level in range(levels):
        settings = f"output_height = 3, output_width = 2, sampling_ratio = {samples}, spatial_scale = {0.5 / 2**level}"
        settings += f', coordinate_transformation_mode = "{mode}"' + (second if level == 1 else "")
        body += [
            f"flags{level} = Reshape (mask{level}, column)",
            f"pooled{level} = RoiAlign <{settings}> (map{level}, rois, image)",
            f"y{level + 1} = Where (flags{level}, pooled{level}, y{level})",
        ]
    lines = "\n  ".join(body)
    return f"""
<ir_version: 10, opset_import: ["" : 18]>
main ({maps}, float[{REGIONS}, 4] rois, int64[{REGIONS}] image, {masks}) => (float[{REGIONS}, 3, 3, 2] y{levels})
<int64[4] column = {{-1, 1, 1, 1}}, int64[4] shape = {{{REGIONS}, 3, 3, 2}}, float[1] start = {{{start}}}> {{
  y0 = Expand (start, shape)
  {lines}
}}
"""


def run(model: onnx.ModelProto, feed: dict[str, NDArray[Any]]) -> NDArray[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    result: NDArray[Any] = session.run(None, feed)[0]
    return result


@given(
    mode=st.sampled_from(["half_pixel", "output_half_pixel"]),
    samples=st.integers(1, 3),
    levels=st.integers(2, 3),
    seed=st.integers(0, 2**32 - 1),
    corners=st.lists(st.integers(-10, 80), min_size=4 * REGIONS, max_size=4 * REGIONS),
    level=st.lists(st.integers(0, 3), min_size=REGIONS, max_size=REGIONS),
)
@settings(max_examples=25, deadline=None)
def test_each_region_is_pooled_from_its_own_map(
    mode: str, samples: int, levels: int, seed: int, corners: list[int], level: list[int]
) -> None:
    """Regions beyond the picture, without an area, of several levels and of none."""
    before = onnx.parser.parse_model(text(mode, samples, levels))
    model = infer(ir.from_proto(before))
    assert roi_align_pyramid(model, RTX) == 1
    assert roi_align_pyramid(model, RTX) == 0
    after = ir.to_proto(model)
    onnx.checker.check_model(after)
    rng = np.random.default_rng(seed)
    boxes = np.array(corners, np.float32).reshape(-1, 4) + 0.25
    rois = np.concatenate((np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])), axis=1)
    feed: dict[str, NDArray[Any]] = {"rois": rois, "image": rng.integers(0, 2, REGIONS)}
    for number in range(levels):
        feed[f"map{number}"] = rng.standard_normal((2, 3, 24 >> number, 32 >> number)).astype(np.float32)
        feed[f"mask{number}"] = np.array(level) == number
    feed["mask0"] |= np.array(level) == 1  # the outer Where wins
    expected = run(before, feed)
    np.testing.assert_allclose(run(after, feed), expected, atol=2e-5 * max(float(np.abs(expected).max()), 1e-6))


@pytest.mark.parametrize(
    "settings",
    [
        {"start": "1"},
        {"samples": 0},
        {"levels": 1},
        {"second": ', mode = "max"'},
    ],
)
def test_other_chains_stay(settings: dict[str, Any]) -> None:
    model = infer(ir.from_proto(onnx.parser.parse_model(text(**settings))))
    if "second" in settings:
        assert sum(node.op_type == "RoiAlign" for node in model.graph) == 3
    assert roi_align_pyramid(model, RTX) == 0
