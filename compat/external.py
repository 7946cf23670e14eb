"""Weights that lie beside a graph's file: who names them, and whether what is named may be read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import onnx
from onnx import AttributeProto, TensorProto

MOST_DIGITS = 18
"""Of an offset or a length, so that it is a number of 64 bits."""


class Place(NamedTuple):
    """Where a tensor's content lies: a file's name relative to the graph's folder, and bytes; `length` None: to the end."""

    location: str
    offset: int
    length: int | None


def tensors(model: onnx.ModelProto) -> Iterator[tuple[TensorProto, str]]:
    """Every tensor of a model, and the kind of place that it is in: `graph`, `function`, `sparse` or `training`."""
    yield from _of_graph(model.graph, "graph")
    for function in model.functions:
        for node in function.node:
            yield from _of_attributes(node.attribute, "function")
        yield from _of_attributes(function.attribute_proto, "function")
    for training in model.training_info:
        for graph in (training.initialization, training.algorithm):
            yield from _of_graph(graph, "training")


def _of_graph(graph: onnx.GraphProto, kind: str) -> Iterator[tuple[TensorProto, str]]:
    for tensor in graph.initializer:
        yield tensor, kind
    for sparse in graph.sparse_initializer:
        yield sparse.values, "sparse"
        yield sparse.indices, "sparse"
    for node in graph.node:
        yield from _of_attributes(node.attribute, kind)


def _of_attributes(attributes: object, kind: str) -> Iterator[tuple[TensorProto, str]]:
    attribute: AttributeProto
    for attribute in attributes:  # type: ignore[attr-defined]
        if attribute.HasField("t"):
            yield attribute.t, kind
        for tensor in attribute.tensors:
            yield tensor, kind
        for sparse in [
            *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
            *attribute.sparse_tensors,
        ]:
            yield sparse.values, "sparse"
            yield sparse.indices, "sparse"
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            yield from _of_graph(graph, kind)


def is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def place(tensor: TensorProto) -> Place | str:
    """Where an external tensor lies, or what is wrong with how it says so."""
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        if not isinstance(entry.key, str) or not isinstance(entry.value, str):
            return "says where it lies in what is no text"
        if entry.key in entries:
            return f"says twice what its {entry.key} is"
        entries[entry.key] = entry.value
    location = entries.get("location", "")
    if not location or "\0" in location:
        return "names no file"
    numbers = {}
    for key in ("offset", "length"):
        text = entries.get(key, "")
        if text and not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
            return f"has the {key} {text[:30]!r}, which is no number of bytes"
        numbers[key] = int(text) if text else None
    return Place(location, numbers["offset"] or 0, numbers["length"])


def fault(where: Place, folder: Path, size: int | None) -> str:
    """Why that many bytes (None: of an unknown number) can't or mustn't be read there; empty where they can.

    A file must lie in the model's folder, links followed, and be a regular one.
    """
    location, root = where.location, folder.resolve()
    file = Path(os.path.normpath(root / location))
    if Path(location).is_absolute() or not file.is_relative_to(root):
        return f"lies outside its folder: {location}"
    try:
        real = file.resolve()
        if not real.is_relative_to(root):
            return f"lies outside its folder: {location} is a link to {real}"
        found = os.stat(real)
    except (OSError, RuntimeError, ValueError):
        return f"lies in {location}, which is missing"
    if not stat.S_ISREG(found.st_mode):
        return f"lies in {location}, which is no regular file"
    if found.st_nlink > 1:  # an archive may have linked it to any file of its owner's
        return f"lies in {location}, which has other names (hard links), outside the folder perhaps"
    if where.length is not None and size is not None and where.length < size:
        return f"has {where.length} bytes in {location}, where its shape takes {size}"
    needed = where.offset + (where.length if where.length is not None else size or 0)
    if found.st_size < needed:
        return f"lies in {location}, which is truncated: it has {found.st_size} bytes, and the model needs {needed}"
    return ""


def files(model: onnx.ModelProto) -> list[str]:
    """The external files of a sound model, by their names relative to its folder."""
    found = (place(tensor) for tensor, _ in tensors(model) if is_external(tensor))
    return list(dict.fromkeys(where.location for where in found if isinstance(where, Place)))
