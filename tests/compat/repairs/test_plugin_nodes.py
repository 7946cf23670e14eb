"""Nodes of NVIDIA's plugins in standard operators, held against numpy's account of the plugins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import RTX
from onnx import helper

from enginesmith.compat.graphs import infer, named
from enginesmith.compat.repairs import REPAIRS, local
from enginesmith.compat.target import Target
from enginesmith.converters.graphs.plugin_nodes import write_out
from enginesmith.converters.graphs.plugin_reference import efficient_nms
from enginesmith.converters.graphs.proof import prove


def node(
    images: int = 2, anchors: int = 9, classes: int = 3, own: bool = False, most: int = 4, **attributes: float
) -> onnx.ModelProto:
    boxes = [images, anchors, classes, 4] if own else [images, anchors, 4]
    made = helper.make_node(
        "EfficientNMS_TRT",
        ["boxes", "scores"],
        ["n", "b", "s", "c"],
        "nms",
        domain="TRT",
        max_output_boxes=most,
        **attributes,
    )
    values = [
        helper.make_tensor_value_info(name, kind, sizes)
        for name, kind, sizes in (
            ("boxes", 1, boxes), ("scores", 1, [images, anchors, classes]), ("n", 6, [images, 1]), ("b", 1, [images, most, 4]),
            ("s", 1, [images, most]), ("c", 6, [images, most]),
        )
    ]  # fmt: skip
    graph = helper.make_graph([made], "one", values[:2], values[2:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("TRT", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def in_standard_operators(model: onnx.ModelProto, target: Target = RTX) -> onnx.ModelProto:
    after = infer(ir.from_proto(model))
    named(after)
    local.apply(REPAIRS["efficient-nms"], next(iter(after.graph)), target)
    result = ir.to_proto(after)
    onnx.checker.check_model(result)
    return result


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1), st.integers(0, 1), st.integers(0, 1), st.sampled_from([-1, 0, 2]), st.booleans(),
    st.sampled_from([1, 4, 30]), st.sampled_from([0.3, 0.6]), st.integers(0, 99),
)  # fmt: skip
def test_efficient_nms(
    coding: int, agnostic: int, sigmoid: int, background: int, own: bool, most: int, overlap: float, seed: int
) -> None:
    model = node(
        own=own, most=most, box_coding=coding, class_agnostic=agnostic, score_activation=sigmoid, background_class=background,
        iou_threshold=overlap, score_threshold=0.25,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(0, 4, (2, 9, 3, 4) if own else (2, 9, 4)).astype(np.float32)
    feed = {"boxes": boxes, "scores": rng.uniform(-1, 1, (2, 9, 3)).astype(np.float32)}
    for target in (RTX, Target("tvm", "0.27")) if most < 30 else (RTX,):
        proof = prove(model, in_standard_operators(model, target), 1e-6, [feed])
        assert proof.agrees, proof.reason


def test_what_efficient_nms_finds() -> None:
    """Two boxes that overlap, of which the better one stays, one of another class, and one below the threshold."""
    boxes = np.array([[[0, 0, 2, 2], [0, 0, 2, 1.9], [0, 0, 2, 2.1], [5, 5, 6, 6]]], np.float32)
    scores = np.array([[[0.5, 0], [0.9, 0], [0, 0.7], [0.1, 0.2]]], np.float32)
    expected = efficient_nms(
        boxes,
        scores,
        background=-1,
        center=False,
        iou=0.5,
        most=3,
        least=0.25,
        sigmoid=False,
        agnostic=False,
        clip=False,
    )
    assert expected[0].tolist() == [[2]]
    assert expected[2] == pytest.approx(np.array([[0.9, 0.7, 0]]))
    assert expected[3].tolist() == [[0, 1, 0]]
    assert expected[1][0].tolist() == [boxes[0, 1].tolist(), boxes[0, 2].tolist(), [0, 0, 0, 0]]


def test_a_file_gets_standard_operators(tmp_path: Path) -> None:
    onnx.save(node(score_threshold=0.25), tmp_path / "model.onnx")
    told = write_out(tmp_path / "model.onnx")
    assert len(told) == 1
    assert "TRT::EfficientNMS_TRT" in told[0]
    assert "not run" in told[0]
    assert {found.domain for found in onnx.load(tmp_path / "model.onnx").graph.node} == {""}
    assert not write_out(tmp_path / "model.onnx")


def test_a_plugin_that_decodes_boxes_is_told(tmp_path: Path) -> None:
    from enginesmith.converters.core.errors import ConversionError

    model = node(score_threshold=0.25)
    model.graph.node[0].input.append("anchors")
    model.graph.input.append(helper.make_tensor_value_info("anchors", 1, [1, 9, 4]))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ConversionError, match="decodes the boxes"):
        write_out(tmp_path / "model.onnx")
