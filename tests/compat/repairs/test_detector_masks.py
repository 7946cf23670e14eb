"""Masks pasted into pictures: two matrix products give what torchvision's loop over the objects gives."""

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
from enginesmith.compat.repairs import GRAPH_REPAIRS
from enginesmith.compat.target import Target

RTX = Target("tensorrt-rtx", "1.7.1")
REPAIR = GRAPH_REPAIRS["pasted-masks"]


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def repaired(text: str) -> tuple[int, onnx.ModelProto]:
    model = infer(ir.from_proto(onnx.parser.parse_model(text)))
    return REPAIR.rewrite(model, RTX), ir.to_proto(model)


BEFORE = session(onnx.parser.parse_model(REPAIR.example))
AFTER = session(repaired(REPAIR.example)[1])


@given(
    left=st.lists(st.integers(-4, 7), min_size=2, max_size=2),
    top=st.lists(st.integers(-4, 6), min_size=2, max_size=2),
    width=st.lists(st.integers(0, 14), min_size=2, max_size=2),
    height=st.lists(st.integers(0, 14), min_size=2, max_size=2),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_masks_land_in_their_boxes(
    left: list[int], top: list[int], width: list[int], height: list[int], seed: int
) -> None:
    """Boxes of one pixel, larger and smaller than the mask, and partly outside of the picture of 8 x 9 pixels."""
    x, y = np.array(left), np.array(top)
    boxes = np.stack((x, y, np.maximum(x + width, 0), np.maximum(y + height, 0)), axis=1)
    masks = np.random.default_rng(seed).random((2, 1, 4, 5), dtype=np.float32)
    feed: dict[str, NDArray[Any]] = {"masks": masks, "boxes": boxes}
    expected = BEFORE.run(None, feed)[0]
    np.testing.assert_allclose(AFTER.run(None, feed)[0], expected, atol=2e-6)
    assert expected.any()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('mode = "linear"', 'mode = "nearest"'),
        ('"half_pixel"', '"align_corners"'),
        ("count = Gather (shape, i0)", "count = Gather (shape, i1)"),
        ("after = Concat <axis = 0> (before, row)", "after = Concat <axis = 0> (row, before)"),
        ("bottom = ReduceMin (bottom3)", "bottom = ReduceMax (bottom3)"),
    ],
)
def test_another_loop_stays(old: str, new: str) -> None:
    assert old in REPAIR.example
    assert repaired(REPAIR.example.replace(old, new))[0] == 0
