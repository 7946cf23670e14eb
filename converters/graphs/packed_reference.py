"""MultiHeadAttention with packed queries, keys and values, which ONNX Runtime has for GPUs alone: its kernel for CPUs, of the parts.

Layouts: onnxruntime/core/graph/contrib_ops/bert_defs.cc, MultiHeadAttention.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.reference.op_run import OpRun

from enginesmith.compat.values import Array

DOMAIN = "com.microsoft"


class MultiHeadAttention(OpRun):  # its name is the operator's
    op_domain = DOMAIN

    def _run(self, query: Array, key: Array | None = None, value: Array | None = None, *rest: Any, **given: Any) -> Any:
        import onnxruntime

        if key is None and query.ndim == 5:
            query, key, value = _parts(query)
        elif value is None and key is not None and key.ndim == 5:
            key, value = _parts(key)
        feed = {f"x{place}": each for place, each in enumerate((query, key, value, *rest)) if each is not None}
        names = [f"x{place}" if f"x{place}" in feed else "" for place in range(3 + len(rest))]
        outputs = [f"y{place}" if name else "" for place, name in enumerate(self.onnx_node.output)]
        node = helper.make_node(self.onnx_node.op_type, names, outputs, domain=DOMAIN)
        node.attribute.extend(self.onnx_node.attribute)
        model = _model(node, feed).SerializeToString()
        return tuple(onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, feed))


def _parts(packed: Array) -> list[Array]:
    """[batch, length, heads · size] of each part, from [batch, length, heads, parts, size]."""
    return [np.ascontiguousarray(part).reshape(*packed.shape[:2], -1) for part in np.moveaxis(packed, 3, 0)]


def _model(node: onnx.NodeProto, feed: dict[str, Array]) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in feed.items()
    ]
    kind = inputs[0].type.tensor_type.elem_type
    outputs = [helper.make_tensor_value_info(name, kind, None) for name in node.output if name]
    graph = helper.make_graph([node], "parts", inputs, outputs)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)], ir_version=9
    )
