"""Small graphs, calibrated and quantized, and what is asked of all of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from graphs import model

from enginesmith.compat.values import constant
from enginesmith.converters.graphs.structure import ordered
from enginesmith.converters.precision.int8.calibration import Calibration, calibrate
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.int8.placement import observed
from enginesmith.converters.precision.int8.quantize import Quantized, quantize
from enginesmith.converters.precision.lower import prepare

MINMAX = Int8Options(method="minmax", correct_bias=False)


def prepared(text: str, **weights: np.ndarray[Any, Any]) -> ir.Model:
    return prepare(model(text, **weights), "int8")


def calibrated(given: ir.Model, feeds: Iterable[Mapping[str, Any]], names: list[str] | None = None) -> Calibration:
    data = list(feeds)
    with tempfile.TemporaryDirectory() as folder:
        return calibrate(given, lambda: data, Path(folder), observed(given) if names is None else names)


def copy(given: ir.Model) -> ir.Model:
    return ir.Model(given.graph.clone(), ir_version=given.ir_version)


def quantized(
    given: ir.Model,
    feeds: Iterable[Mapping[str, Any]] | None,
    options: Int8Options = MINMAX,
    chosen: list[str] | None = None,
) -> tuple[ir.Model, Quantized]:
    """A quantized copy of a prepared model, which is valid and has the same inputs and outputs."""
    calibration = None if feeds is None else calibrated(given, feeds)
    made = copy(given)
    result = quantize(made, chosen, calibration, options)
    onnx.checker.check_model(ir.to_proto(made), full_check=True)
    assert interface(made) == interface(given)
    check_pairs(made)
    return made, result


def interface(given: ir.Model) -> list[tuple[str | None, Any, Any]]:
    return [(value.name, value.dtype, value.shape) for value in (*given.graph.inputs, *given.graph.outputs)]


def check_pairs(given: ir.Model) -> None:
    """Symmetric int8; each tensor is quantized once; no bias is quantized; Q is followed by DQ of the same scale."""
    seen = set()
    for node in ordered(given.graph):
        if node.op_type == "QuantizeLinear":
            assert node.inputs[0] not in seen, "one pair a tensor"
            seen.add(node.inputs[0])
            (user,) = node.outputs[0].consumers()
            assert user.op_type == "DequantizeLinear"
            assert list(user.inputs[1:]) == list(node.inputs[1:])
        if node.op_type == "DequantizeLinear":
            zero = constant(node.inputs[2])
            assert zero is not None
            assert zero.dtype == np.int8
            assert not zero.any()
            assert (constant(node.inputs[1]) > 0).all()
            assert all(use.idx < 2 for use in node.outputs[0].uses()), "no bias"


def sources(given: ir.Model) -> dict[str, list[str]]:
    """Node name to its inputs by name; what is dequantized has a `q:` before the name of the tensor."""
    return {
        node.name or "": [_named(value) for value in node.inputs if value is not None]
        for node in ordered(given.graph)
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear", "Constant")
    }


def _named(value: ir.Value) -> str:
    node = value.producer()
    if node is None or node.op_type != "DequantizeLinear":
        return value.name or ""
    maker = node.inputs[0].producer()  # type: ignore[union-attr]
    if maker is None:
        return f"q:{(node.inputs[0].name or '').split('/')[0]}"  # type: ignore[union-attr]
    return f"q:{maker.inputs[0].name}"  # type: ignore[union-attr]


def scale_of(given: ir.Model, name: str) -> np.ndarray[Any, Any]:
    """Of the tensor, or of the weights, `name`."""
    for node in ordered(given.graph):
        if node.op_type == "DequantizeLinear" and _named(node.outputs[0]) == f"q:{name}":
            found = constant(node.inputs[1])
            assert found is not None
            return found
    raise KeyError(name)
