"""Models as files: reading the one to reduce, and writing candidates that need no other file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx_ir as ir

from enginesmith.compat.saving import save
from enginesmith.converters.bisect.surgery import bodies, graph_at
from enginesmith.converters.core.errors import UserError
from enginesmith.converters.graphs.files import load_graph


def read(path: Path, memory: int = 0) -> ir.Model:
    """The model with its nodes sorted; weights stay on the disk until they are needed. `memory` is what its tensors may take,
    in bytes, 0 for any amount.

    Raises UserError for a file that is none, whose external data is missing, or whose graph has a cycle.
    """
    load_graph(path, memory)
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
    """Write the model so that it needs no file but its own. Returns a hash of the content."""
    digest = hashlib.sha256()
    for written in save(model, path):
        with written.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
