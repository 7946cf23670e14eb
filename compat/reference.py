"""Compute one node from constants, with onnx's own reference implementation."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir
from onnx import helper

from enginesmith.compat.evaluator import evaluator
from enginesmith.compat.values import DEFAULT_DOMAINS, Array


def evaluate(node: ir.Node, arguments: Sequence[Array | None], opset: int = 0) -> list[Array | None] | None:
    """The outputs of a node of the default domain, in their order, None for one without a name; None where the
    reference can't compute it.

    `opset` is needed where the node is in no graph that says it.
    """
    proto = ir.to_proto(node)
    names = [name for name in dict.fromkeys(proto.input) if name]
    feed = {name: array for name, array in zip(proto.input, arguments, strict=True) if name and array is not None}
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in names]
    wanted = [name for name in proto.output if name]
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in wanted]
    opsets = node.graph.opset_imports if node.graph is not None else {}
    stated = next((opsets[name] for name in DEFAULT_DOMAINS if name in opsets), 0)
    version = opset or stated or onnx.defs.onnx_opset_version()
    model = helper.make_model(
        helper.make_graph([proto], "one", inputs, outputs), opset_imports=[helper.make_opsetid("", version)]
    )
    try:
        found = dict(zip(wanted, evaluator(model).run(None, feed), strict=True))
    except Exception:  # noqa: BLE001 - a reference that can't compute it raises anything; the node then stays
        return None
    return [found.get(name) for name in proto.output]
