"""The one writer of ONNX files: it knows what a protobuf message holds."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
from onnx_ir import external_data

from enginesmith.compat.graphs import weight_bytes

MAX_PROTO = 2**31 - 1
"""Bytes that a protobuf message may have."""
LARGE = 1_500_000_000
"""Bytes of weights from which a file has them beside it: the graph, with its other constants, needs room too."""


def save(model: ir.Model, path: Path) -> list[Path]:
    """Write a model, weights inside, or in `<name>.data` beside it where they are large. Returns the files written: they
    need no other one.

    Weights that were left on the disk are read into the model, unless they are large.
    """
    data = path.with_name(f"{path.name}.data")
    beside = weight_bytes(model) > LARGE
    if not beside:
        external_data.load_to_model(model)
    for graph in model.graphs():
        for node in graph:
            _load_attributes(node)
    ir.save(model, path, external_data=data.name if beside else None)
    return [path, data] if beside else [path]


def _load_attributes(node: ir.Node) -> None:
    """A constant's number is no initializer: it is written where the node is."""
    for name, attribute in node.attributes.items():
        if attribute.type == ir.AttributeType.TENSOR and isinstance(attribute.value, ir.ExternalTensor):
            (tensor,) = external_data.convert_tensors_from_external([attribute.value])
            node.attributes[name] = ir.AttrTensor(name, tensor)
