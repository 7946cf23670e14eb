"""A graph with its subgraphs, seen as one: order, owners, and who reads a value."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.values import DEFAULT_DOMAINS, constant_tensor, dtype
from enginesmith.compat.walk import ordered as ordered
from enginesmith.compat.walk import subgraphs as subgraphs

FLOAT = ir.DataType.FLOAT
INT8 = "int8"
INT8_WEIGHTS = "int8 weights"
INT4_WEIGHTS = "int4 weights"
"""What products of integers are counted as, beside the names of dtypes."""


def owners(model: ir.Model) -> dict[ir.Graph, ir.Node]:
    """Each subgraph to the node that has it."""
    return {inner: node for node in ordered(model.graph) for inner in subgraphs(node)}


def is_standard(node: ir.Node) -> bool:
    return node.domain in DEFAULT_DOMAINS


def is_float(value: ir.Value | None) -> bool:
    """Is it a float32 tensor?"""
    return value is not None and dtype(value) == FLOAT


def is_fractional(value: ir.Value | None) -> bool:
    """Is it a tensor of any floating-point type?"""
    kind = dtype(value)
    return kind is not None and kind.is_floating_point()


def is_constant(value: ir.Value | None) -> bool:
    return constant_tensor(value) is not None


def is_dequantized(value: ir.Value | None) -> bool:
    """Does the value come from integers, through a DequantizeLinear?"""
    node = value.producer() if value is not None else None
    return node is not None and node.op_type == "DequantizeLinear" and is_standard(node)


def quantization(node: ir.Node) -> str:
    """Of a product: INT8 where both factors are dequantized integers, so that a backend computes it in integers, and
    INT8_WEIGHTS where the second one alone is; INT4_WEIGHTS where that has 4 bits. Empty for all others.
    """
    if len(node.inputs) < 2 or not is_dequantized(node.inputs[1]):
        return ""
    maker = node.inputs[1].producer()  # type: ignore[union-attr]
    kind = dtype(maker.inputs[0]) if maker is not None else None
    if kind is not None and kind.is_integer() and kind.bitwidth == 4:
        return INT4_WEIGHTS
    return INT8 if is_dequantized(node.inputs[0]) else INT8_WEIGHTS


def quantized_from(value: ir.Value | None) -> ir.Value | None:
    """The value that was quantized and dequantized again; any other value itself. None for quantized weights."""
    if value is None or not is_dequantized(value):
        return value
    integers = value.producer().inputs[0]  # type: ignore[union-attr]
    maker = integers.producer() if integers is not None else None
    return maker.inputs[0] if maker is not None and maker.op_type == "QuantizeLinear" else None


def name_uniquely(model: ir.Model) -> None:
    """Give every value a name of its own, in place: the two branches of an If may use the same ones. Inputs, outputs
    and initializers of the model keep theirs.
    """
    taken = {value.name for value in (*model.graph.inputs, *model.graph.outputs)} | set(model.graph.initializers)
    for node in ordered(model.graph):
        for value in node.outputs:
            if value.name and not (value.graph is model.graph and value.is_graph_output()):
                _rename(value, taken)
    for graph in model.graphs():
        if graph is not model.graph:
            for value in graph.inputs:
                _rename(value, taken)


def _rename(value: ir.Value, taken: set[str | None]) -> None:
    base, count = value.name, 1
    while value.name in taken:
        count += 1
        value.name = f"{base}#{count}"
    taken.add(value.name)
