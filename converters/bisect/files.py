"""Models as files: reading the one to reduce, and writing candidates that need no other file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx_ir as ir

from enginesmith.converters.bisect.surgery import bodies, graph_at
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.graphs.files import external_files, load_graph

EXTERNAL_BYTES = 1_500_000_000
"""Weights above this go into a file beside the graph: a protobuf message ends at 2 GiB."""


def read(path: Path) -> ir.Model:
    """The model with its nodes sorted; weights stay on the disk until they are needed.

    Raises UserError for a file that is none, whose external data is missing, or whose graph has a cycle.
    """
    external_files(load_graph(path), path)
    try:
        model = ir.load(path)
        for graph in (model.graph, *(graph_at(model, place) for place in bodies(model))):
            graph.sort()
    except ValueError as error:
        raise UserError(f"{path} can't be cut: {error}") from None
    if not len(model.graph):
        raise UserError(f"{path} is no ONNX file, or its graph has no nodes")
    return model


def write(model: ir.Model, path: Path) -> str:
    """Write the model, weights inside, or beside it where they are too large. Returns a hash of the content."""
    if weight_bytes(model) > EXTERNAL_BYTES:
        ir.save(model, path, external_data=f"{path.name}.data")
        digest = hashlib.sha256(path.read_bytes())
        with path.with_name(f"{path.name}.data").open("rb") as data:
            digest.update(hashlib.file_digest(data, "sha256").digest())
        return digest.hexdigest()
    ir.external_data.load_to_model(model)
    content: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all initializers of the main graph."""
    tensors = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)
