"""Facts about an ONNX file: nodes, operators, inputs and outputs. Weights are not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.facts import GraphFacts
from enginesmith.converters.core.records import TensorInfo

if TYPE_CHECKING:
    import onnx


def describe(path: Path) -> GraphFacts:
    """Node count and operator histogram (subgraphs and functions included), inputs and outputs of an ONNX file."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    ops = Counter(operator_name(node) for node in all_nodes(model))
    return GraphFacts(
        nodes=sum(ops.values()),
        ops=dict(ops.most_common()),
        inputs=inputs_of(model),
        outputs=[_tensor(value) for value in model.graph.output],
    )


def inputs_of(model: onnx.ModelProto) -> list[TensorInfo]:
    """What must be fed to a graph."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    return [_tensor(value) for value in model.graph.input if value.name not in initializers]


def operator_name(node: onnx.NodeProto) -> str:
    """Operator type, with its domain where that is not ONNX's own."""
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else str(node.op_type)


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Nodes of the graph, of its subgraphs and of the model's functions."""
    from enginesmith.compat.walk import proto_nodes

    yield from proto_nodes(model.graph)
    for function in model.functions:
        yield from proto_nodes(function)


def _tensor(value: onnx.ValueInfoProto) -> TensorInfo:
    import onnx

    kind = value.type.tensor_type
    dtype = (
        onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name if kind.elem_type else value.type.WhichOneof("value")
    )
    # some exporters write -1 for a size that they don't know
    shape = [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or "?"
        for dim in kind.shape.dim
    ]
    return TensorInfo(name=value.name, dtype=str(dtype), shape=shape)
