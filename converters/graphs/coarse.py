"""Operators that ONNX Runtime computes more coarsely than their definitions, or as it likes, by their names.

Known without `onnx_ir`, whose import takes longer than most graphs that have none of them.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import onnx

from enginesmith.compat.walk import proto_nodes

PRODUCTS = {
    "MatMulInteger": (0, 1, 2, 3), "ConvInteger": (0, 1, 2, 3), "QLinearMatMul": (0, 3, 2, 5), "QLinearConv": (0, 3, 2, 5),
    "QGemm": (0, 3, 2, 5), "MatMulIntegerToFloat": (0, 1, 4, 5), "QAttention": (0, 1, 6, 7),
    "DynamicQuantizeMatMul": (-1, 1, -1, 3), "DynamicQuantizeLSTM": (-1, 1, -1, 9),
}  # fmt: skip
"""The places of the data (-1: it is quantized within), the weights, and their zero points."""
STATES = {"DynamicQuantizeLSTM": (-1, 2, -1, 11)}
"""The same of what multiplies the state."""

WRITTEN_OUT = ("Sigmoid", "GlobalAveragePool", "ReduceSum", "ReduceMean")
"""What `faithful` has other operators for."""


def operators(model: Path) -> set[str]:
    """The names of all operators in an ONNX file, without their domains; weights beside it are not read."""
    read = onnx.load(str(model), load_external_data=False)
    return {node.op_type for part in (read.graph, *read.functions) for node in proto_nodes(part)}


def coarse(names: set[str]) -> bool:
    """Are there operators among these that `faithful` may change?"""
    return not names.isdisjoint((*PRODUCTS, *WRITTEN_OUT))


def quantizes(operators: Collection[str]) -> bool:
    """Are there operators among these, with or without their domain, that make integers of floats? What they make of NaN and of
    infinite scales is anybody's."""
    names = {each.rpartition(".")[2] for each in operators} - {"DequantizeLinear"}
    return any("Quantize" in name or name.startswith("Q") for name in names)


def ranks(operators: Collection[str]) -> bool:
    """Is there a pool of maxima among these? Which of its two kernels runs decides on what ONNX Runtime makes of NaN."""
    return any(each.rpartition(".")[2] in ("MaxPool", "GlobalMaxPool") for each in operators)


def integer(operators: Collection[str]) -> bool:
    """Are there operators among these that compute in integers of 8 bits?"""
    return any(name in PRODUCTS or name in ("QuantizeLinear", "DequantizeLinear") for name in operators)
