"""Convolutions in ONNX Runtime's blocked layout, which its optimizer writes for the processor that it runs on.

Channels lie in blocks: [batch, channels / block, height, width, block] in a tensor that calls itself [batch, channels, height,
width]. Only convolutions, poolings and what is done element by element see such tensors: without the blocks they compute the same.
Source: onnxruntime/core/mlas/lib/reorder.cpp and onnxruntime/core/optimizer/nchwc_transformer.cc.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement, replace
from enginesmith.compat.repairs.fused_activations import activated
from enginesmith.compat.repairs.fused_products import CONV, given
from enginesmith.compat.repairs.quantized_operators import channels
from enginesmith.compat.repairs.repair import graph_repair
from enginesmith.compat.target import Target
from enginesmith.compat.values import Array, argument, attribute, constant, required, shape
from enginesmith.compat.walk import graphs

DOMAIN = "com.microsoft.nchwc"
POOL = ("auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "storage_order", "strides")
PLAIN = ("GlobalAveragePool", "GlobalMaxPool", "MaxPool", "AveragePool")


@graph_repair(
    "blocked-layout",
    tolerance=1e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft.nchwc" : 1]>
pool (float[1, 16, 4, 4] x) => (float[1, 16, 2, 2] y) {
  b = com.microsoft.nchwc.ReorderInput (x)
  p = com.microsoft.nchwc.MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (b)
  r = Relu (p)
  y = com.microsoft.nchwc.ReorderOutput <channels = 16> (r)
}
""",
)
def blocked_layout(model: ir.Model, target: Target) -> int:
    """Operators on channels in blocks, as ONNX Runtime's optimizer writes them for one processor, become those of plain tensors."""
    count = 0
    for graph in graphs(model):
        nodes = [node for node in graph if node.domain == DOMAIN]
        blocked = _blocked(graph) if nodes else set()
        for node in nodes:
            build = Builder(node, target)
            replace(node, build, _plain(node, build, blocked))
        count += len(nodes)
    if count:
        model.opset_imports.pop(DOMAIN, None)
    return count


def _blocked(graph: ir.Graph) -> set[ir.Value]:
    """The values whose channels lie in blocks."""
    found: set[ir.Value] = set()
    for node in graph:
        own = node.domain == DOMAIN
        if node.op_type != "ReorderOutput" if own else any(value in found for value in node.inputs):
            found.update(node.outputs)
    return found


def _plain(node: ir.Node, build: Builder, blocked: set[ir.Value]) -> Replacement:
    (x,) = required(node, 1)
    if node.op_type in PLAIN:
        return build.op(node.op_type, x, **given(node, POOL))
    match node.op_type:
        case "Conv":
            return _conv(node, build, x, x in blocked)
        case "ReorderInput":
            plain, size = _turned(node, build, x, first=True), shape(x)
            count = size[3 if attribute(node, "channels_last", 0) else 1] if size is not None else None
            if count is None:
                raise NotApplicable("the number of channels is unknown")
            missing = -count % _block()
            return build.op("Pad", plain, [0, 0, 0, 0, 0, missing, 0, 0]) if missing else plain
        case "ReorderOutput":
            plain = build.op("Slice", x, [0], [int(attribute(node, "channels"))], [1])
            return _turned(node, build, plain, first=False)
        case "Upsample":
            scales = np.array(attribute(node, "scales"), np.float32)
            mode = attribute(node, "mode", "nearest")
            known: dict[str, Any] = {
                "coordinate_transformation_mode": attribute(node, "coordinate_transformation_mode")
            }
            if mode == "nearest":
                known = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return build.op("Resize", x, None, scales, mode=mode, **known)
    raise NotApplicable(f"what {node.op_type} does in blocks is not known")


def _turned(node: ir.Node, build: Builder, x: ir.Value, *, first: bool) -> ir.Value:
    return channels(build, x, 4, first=first) if attribute(node, "channels_last", 0) else x


def _conv(node: ir.Node, build: Builder, x: ir.Value, blocked: bool) -> ir.Value:
    weights, bias, other = constant(argument(node, 1)), argument(node, 2), argument(node, 3)
    if weights is None:
        raise NotApplicable("its weights are no constants")
    inner = blocked and weights.shape[1] > 1
    kernels = _unblocked(weights, _block(), inner=inner)
    result = build.op("Conv", x, kernels, *([bias] if bias is not None else []), **given(node, CONV))
    if other is not None:
        result = build.op("Add", result, other)
    return activated(build, result, attribute(node, "activation", ""), attribute(node, "activation_params", []))


def _unblocked(weights: Array, block: int, *, inner: bool) -> Array:
    """Weights [out, in, height, width] whose output channels lie in blocks, and whose input channels too if `inner`."""
    out, into, height, width = weights.shape
    if out % block or (inner and into % block):
        raise NotApplicable(f"its channels are not in blocks of {block}, as this processor has them")
    if inner:
        parts = weights.reshape(out // block, into // block, height, width, block, block).transpose(0, 5, 1, 4, 2, 3)
    else:
        parts = weights.reshape(out // block, into, height, width, block).transpose(0, 4, 1, 2, 3)
    return np.ascontiguousarray(parts.reshape(weights.shape))


@cache
def _block() -> int:
    """How many channels a block has: ONNX Runtime's file is for the processor that wrote it, and is proved on the one that reads
    it."""
    try:
        return 16 if "avx512f" in Path("/proc/cpuinfo").read_text() else 8
    except OSError:
        return 8
