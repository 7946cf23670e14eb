"""Small graphs in ONNX's textual form, and ways to run them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import numpy_helper, parser

from enginesmith.converters.core.records import Lowering
from enginesmith.converters.graphs.structure import ordered
from enginesmith.converters.precision.formats import FORMATS
from enginesmith.converters.precision.lower import lower, prepare
from enginesmith.converters.precision.ranges import measure_ranges
from enginesmith.converters.precision.standin import stand_in

HEAD = '<ir_version: 10, opset_import: ["" : 18]>\n'


def model(text: str, **weights: np.ndarray[Any, Any]) -> ir.Model:
    """A model of the text, with the weights as initializers."""
    proto = parser.parse_model(HEAD + text)
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.checker.check_model(proto, full_check=True)
    return ir.from_proto(proto)


def lowered(
    given: ir.Model, feed: Mapping[str, Any] | None, folder: Path, precision: str = "fp16", **how: bool
) -> tuple[ir.Model, Lowering]:
    """A copy of the model, lowered by the ranges that it has on `feed`; by the rules alone without one."""
    made = prepare(ir.from_proto(ir.to_proto(given)), precision)
    ranges = measure_ranges(made, [feed], folder) if feed is not None else None
    report = lower(made, precision, ranges, **how)
    onnx.checker.check_model(ir.to_proto(made), full_check=True)
    return made, report


def run(given: ir.Model, feed: Mapping[str, Any]) -> list[np.ndarray[Any, Any]]:
    """Outputs in ONNX Runtime, without optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        ir.to_proto(given).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, dict(feed)))


def run_stand_in(given: ir.Model, feed: Mapping[str, Any], precision: str = "fp16") -> list[np.ndarray[Any, Any]]:
    made = stand_in(given, FORMATS[precision].dtype)
    onnx.checker.check_model(ir.to_proto(made), full_check=True)
    return run(made, feed)


def dtypes(given: ir.Model) -> dict[str, str]:
    """Name of each node's first output to its dtype, Cast and Constant left out."""
    return {
        node.outputs[0].name.partition("/")[0]: node.outputs[0].dtype.numpy().name
        for node in ordered(given.graph)
        if node.op_type not in ("Cast", "Constant") and node.outputs[0].dtype is not None
    }


def casts(given: ir.Model) -> Iterator[ir.Node]:
    return (node for node in ordered(given.graph) if node.op_type == "Cast")


def normal(*shape: int, scale: float = 1.0, seed: int = 0) -> np.ndarray[Any, Any]:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)
