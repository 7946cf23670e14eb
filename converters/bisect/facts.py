"""What is known of a model's tensors: types and shapes by inference, and by a run where inference has no answer.

The functions that take paths run in an `Isolated` process: arguments and results are JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from enginesmith.compat.walk import proto_subgraphs
from enginesmith.converters.bisect import files
from enginesmith.converters.bisect.feeds import SHAPE, make_feed, record
from enginesmith.converters.bisect.surgery import bodies, graph_at
from enginesmith.converters.core.isolated import FAILED, Isolated

INFER = f"{__name__}:infer"
MEASURE = f"{__name__}:measure"
CHUNK_BYTES = 1 << 28
"""Tensors fetched in one run."""
UNKNOWN_BYTES = 1 << 22
"""What a tensor of unknown size counts for."""


def annotate(model: ir.Model, isolated: Isolated, folder: Path, timeout: float) -> None:
    """Fill in, in place, the types and shapes of the model's values, and the metadata of `feeds`.

    Where inference or the run fails, what is known already stays: such a model has its reasons to be here.
    """
    path = folder / "annotate.onnx"
    try:
        files.write(model, path)
        for name, (dtype, dims) in isolated.call(INFER, str(path), timeout=timeout).items():
            for value in _by_name(model).get(name, []):
                _set(value, dtype, dims)
    except FAILED:
        pass
    measured = mark(model)
    if measured is None:
        return
    marked, chunks = measured
    try:
        files.write(marked, path)
        for name, facts in isolated.call(MEASURE, str(path), chunks, timeout=timeout).items():
            for value in _by_name(model).get(name, []):
                value.metadata_props.update(facts["record"])
                if value.shape is None or not value.shape.is_static():
                    # what it is in this run need not be what it always is
                    value.metadata_props[SHAPE] = json.dumps(facts["dims"])
                    _set(value, facts["dtype"], value.shape or [None] * len(facts["dims"]))
    except FAILED:
        return


def mark(model: ir.Model) -> tuple[ir.Model, list[list[str]]] | None:
    """A copy with every tensor of the main graph as an output, and their names in chunks that fit into memory; None
    where there is nothing to mark."""
    marked = model.clone()
    outputs = {value.name for value in marked.graph.outputs}
    values = [
        value
        for node in marked.graph
        for value in node.outputs
        if value.name and (value.type is None or isinstance(value.type, ir.TensorType))
    ]
    marked.graph.outputs.extend(value for value in values if value.name not in outputs)
    chunks: list[list[str]] = []
    room = 0
    for value in values:
        size = _bytes(value)
        if size > room or not chunks:
            chunks.append([])
            room = CHUNK_BYTES
        chunks[-1].append(str(value.name))
        room -= size
    return (marked, chunks) if chunks else None


def infer(path: str) -> dict[str, tuple[int, list[int | str | None] | None]]:
    """Element type and dimensions of every tensor that inference knows, by name, subgraphs included."""
    inferred = str(Path(path).with_suffix(".inferred.onnx"))
    onnx.shape_inference.infer_shapes_path(path, inferred, data_prop=True)
    model = onnx.load(inferred, load_external_data=False)
    Path(inferred).unlink()
    return {value.name: kind for value in _values(model.graph) if (kind := _kind(value)) is not None}


def measure(path: str, chunks: Sequence[Sequence[str]]) -> dict[str, dict[str, Any]]:
    """Type, shape and metadata of tensors as they are in a run on made-up inputs."""
    from enginesmith.converters.graphs.onnxruntime import session

    feed = make_feed(onnx.load(path, load_external_data=False))
    running = session(Path(path), optimize=False)
    found = {}
    for names in chunks:
        for name, array in zip(names, running.run(list(names), feed), strict=True):
            if isinstance(array, np.ndarray):
                dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
                found[name] = {"dtype": int(dtype), "dims": list(array.shape), "record": record(array)}
    return found


def _by_name(model: ir.Model) -> dict[str, list[ir.Value]]:
    """What nodes produce, in the main graph and all others; names are unique but for branches beside each other."""
    found: dict[str, list[ir.Value]] = {}
    for graph in (model.graph, *(graph_at(model, place) for place in bodies(model))):
        for node in graph:
            for value in node.outputs:
                found.setdefault(value.name or "", []).append(value)
    return found


def _set(value: ir.Value, dtype: int, dims: Iterable[Any] | None) -> None:
    value.type = ir.TensorType(ir.DataType(dtype))
    if dims is not None:
        value.shape = ir.Shape(dims)


def _bytes(value: ir.Value) -> int:
    if value.shape is None or value.dtype is None or not value.shape.is_static():
        return UNKNOWN_BYTES
    return math.ceil(math.prod(int(size) for size in value.shape.numpy()) * value.dtype.itemsize)


def _values(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from (*graph.value_info, *graph.output)
    for node in graph.node:
        for inner in proto_subgraphs(node):
            yield from _values(inner)


def _kind(value: onnx.ValueInfoProto) -> tuple[int, list[int | str | None] | None] | None:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.elem_type:
        return None
    if not kind.HasField("shape"):
        return kind.elem_type, None
    return kind.elem_type, [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in kind.shape.dim
    ]
