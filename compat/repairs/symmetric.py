"""Quantization to uint8 around 128, as the same quantization to int8 around 0."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.graphs import initializer
from enginesmith.compat.operators import QUANTIZING
from enginesmith.compat.repairs.repair import graph_repair
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import argument, constant, dtype, required, static_shape
from enginesmith.compat.walk import graphs

MIDDLE = 128


@graph_repair(
    "uint8-to-int8",
    backends=TENSORRT,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
quantized (float[2, 3] x) => (float[2, 2] y)
  <float s = {0.5}, uint8 z = {128}, uint8[3, 2] q = {0, 1, 127, 128, 129, 255}> {
  a = QuantizeLinear (x, s, z)
  b = DequantizeLinear (a, s, z)
  w = DequantizeLinear (q, s, z)
  y = MatMul (b, w)
}
""",
)
def uint8_to_int8(model: ir.Model, target: Target) -> int:
    """A uint8 with the zero point 128 is the int8 less by 128, with the zero point 0 that TensorRT asks for.

    Only what lies between QuantizeLinear and DequantizeLinear, and constants before DequantizeLinear, can be changed.
    """
    changes = 0
    for graph in graphs(model):
        for node in list(graph):
            value = node.outputs[0] if node.op_type == "QuantizeLinear" else argument(node, 0)
            if node.domain or node.op_type not in QUANTIZING or value is None:
                continue
            if dtype(argument(node, 2)) != ir.DataType.UINT8:
                continue
            around = [inner for inner in (value.producer(), *(use.node for use in value.uses())) if inner is not None]
            if _between(value, around):
                _shift(graph, value, around)
                changes += 1
    return changes


def _between(value: ir.Value, around: list[ir.Node]) -> bool:
    """Is the value read by DequantizeLinear alone, made by QuantizeLinear or constant, and centred on 128 each time?"""
    if value.is_graph_output() or value.is_graph_input() or not value.uses():
        return False
    if any(use.node.op_type != "DequantizeLinear" or use.idx != 0 for use in value.uses()):
        return False
    maker = value.producer()
    if maker is None or maker.op_type != "QuantizeLinear":
        if constant(value) is None:
            return False
        around = [node for node in around if node is not maker]
    zeros = [constant(argument(node, 2)) for node in around]
    return all(zero is not None and bool((zero == MIDDLE).all()) for zero in zeros)


def _shift(graph: ir.Graph, value: ir.Value, around: list[ir.Node]) -> None:
    numbers = constant(value)
    if numbers is not None:
        shifted = (numbers.astype(np.int16) - MIDDLE).astype(np.int8)
        new = initializer(graph, f"{value.name}/int8", shifted)
        value.replace_all_uses_with(new)
        around = [node for node in around if node is not value.producer()]
    else:
        value.type = ir.TensorType(ir.DataType.INT8)
    for node in around:
        zero = required(node, 3)[2]
        sizes = static_shape(zero)
        node.replace_input_with(2, initializer(graph, f"{zero.name}/int8", np.zeros(sizes or (), np.int8)))
        if "output_dtype" in node.attributes and node.op_type == "QuantizeLinear":
            del node.attributes["output_dtype"]
