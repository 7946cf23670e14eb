"""Small ONNX models for the tests of backends, written with onnx.helper alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
value = helper.make_tensor_value_info
node = helper.make_node


def constant(name: str, data: Any, dtype: str = "int64") -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(data, dtype), name)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
    opset: int = 17,
    **how: Any,
) -> Path:
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), str(path), **how)
    return path


def convnet(path: Path, batch: int | str = 1, dtype: str = "float32", **how: Any) -> Path:
    """Conv 3x3 (3 to 8 channels), Relu, strided Conv, global average, Gemm to 10 classes; input `x` of 16x16 pixels."""
    rng = np.random.default_rng(0)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weights = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (16, 8, 3, 3), "w3": (16, 10)}
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], name="relu1"),
        node("Conv", ["r1", "w2"], ["c2"], name="conv2", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["c2"], ["p"], name="pool"),
        node("Flatten", ["p"], ["f"], name="flatten"),
        node("Gemm", ["f", "w3"], ["y"], name="gemm"),
    ]
    tensors = [constant(name, rng.standard_normal(shape) / 4, dtype) for name, shape in weights.items()]
    return save(
        path, nodes, [value("x", element, [batch, 3, 16, 16])], [value("y", element, [batch, 10])], tensors, **how
    )


def refused_by_rtx(path: Path) -> Path:
    """NonZero, NonMaxSuppression, RoiAlign on boxes of unknown number, TopK with K = 5000; all else is fine."""
    nodes = [
        node("Relu", ["x"], ["r"], name="relu"),
        node("NonZero", ["r"], ["where"], name="nonzero"),
        node("NonMaxSuppression", ["boxes", "scores", "k", "iou", "least"], ["selected"], name="nms"),
        node("Slice", ["selected", "two", "three", "one"], ["column"], name="slice"),
        node("Squeeze", ["column", "one"], ["index"], name="squeeze"),
        node("Squeeze", ["boxes", "zero"], ["flat"], name="squeeze_boxes"),
        node("Gather", ["flat", "index"], ["rois"], name="gather"),
        node("Shape", ["index"], ["count"], name="shape"),
        node("ConstantOfShape", ["count"], ["batch"], name="fill", value=constant("", [0])),
        node("RoiAlign", ["r", "rois", "batch"], ["pooled"], name="roialign", output_height=7, output_width=7),
        node("TopK", ["long", "many"], ["best", "order"], name="topk"),
        node("Unsqueeze", ["best", "one"], ["out"], name="unsqueeze"),
    ]
    inputs = [
        value("x", FLOAT, [1, 3, 32, 32]),
        value("boxes", FLOAT, [1, 50, 4]),
        value("scores", FLOAT, [1, 2, 50]),
        value("long", FLOAT, [1, 8000]),
    ]
    outputs = [
        value("where", INT64, [4, "n"]),
        value("pooled", FLOAT, ["m", 3, 7, 7]),
        value("out", FLOAT, [1, 1, 5000]),
    ]
    constants = [constant(name, [number]) for name, number in [("k", 10), ("zero", 0), ("one", 1), ("two", 2)]]
    constants += [constant("three", [3]), constant("many", [5000])]
    constants += [constant("iou", [0.5], "float32"), constant("least", [0.1], "float32")]
    return save(path, nodes, inputs, outputs, constants)


def counted(path: Path) -> Path:
    """y: for each of n lengths, which of the first `count` numbers are below it."""
    nodes = [
        node("Range", ["zero", "count", "one"], ["numbers"]),
        node("Unsqueeze", ["numbers", "first"], ["row"]),
        node("Unsqueeze", ["lengths", "second"], ["column"]),
        node("Less", ["row", "column"], ["below"]),
        node("Cast", ["below"], ["y"], to=FLOAT),
    ]
    constants = [constant("zero", 0), constant("one", 1), constant("first", [0]), constant("second", [1])]
    inputs = [value("count", INT64, []), value("lengths", INT64, [2])]
    return save(path, nodes, inputs, [value("y", FLOAT, [2, "t"])], constants)
