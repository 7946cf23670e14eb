"""What is known about a value of an onnx_ir graph: its dtype, sizes and constant content. Unknown is None."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[Any]
DEFAULT_DOMAINS = ("", "ai.onnx")
FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)
EAGER_BYTES = 1 << 26
"""Constants above this many bytes are never read just to look at them."""


def constant(value: ir.Value | None, limit: int = EAGER_BYTES) -> Array | None:
    """The content of an initializer or of a Constant node's output; None for anything else, or above `limit` bytes."""
    tensor = constant_tensor(value)
    if tensor is None or tensor.nbytes > limit or tensor.dtype == ir.DataType.STRING:
        return None
    return tensor.numpy()


def constant_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """As `constant`, unread. An initializer that is also an input is no constant: a caller may override it."""
    if value is None or (value.is_graph_input() and value.is_initializer()):
        return None
    node = value.producer()
    if node is not None and node.domain in DEFAULT_DOMAINS and node.op_type == "Identity":
        return constant_tensor(node.inputs[0])
    return ir.convenience.get_const_tensor(value)


def dtype(value: ir.Value | None) -> ir.DataType | None:
    """The element type, None when unknown, or when it is no tensor."""
    if value is None or not isinstance(value.type, ir.TensorType):
        tensor = constant_tensor(value)
        return tensor.dtype if tensor is not None else None
    return value.type.dtype


def shape(value: ir.Value | None) -> list[int | None] | None:
    """The sizes, None for each unknown one; None altogether where the rank is unknown."""
    if value is None:
        return None
    if value.shape is None:
        tensor = constant_tensor(value)
        return None if tensor is None else [int(size) for size in tensor.shape]  # type: ignore[arg-type]
    return [size if isinstance(size, int) else None for size in value.shape]


def static_shape(value: ir.Value | None) -> list[int] | None:
    """The sizes, None unless every one of them is known."""
    sizes = shape(value)
    if sizes is None:
        return None
    known = [size for size in sizes if size is not None]
    return known if len(known) == len(sizes) else None


def rank(value: ir.Value | None) -> int | None:
    sizes = shape(value)
    return None if sizes is None else len(sizes)


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """A node's attribute as a Python value (str, int, float, lists of them, ir.Graph, tensor), or `default`."""
    found = node.attributes.get(name)
    if found is None or found.is_ref():
        return default
    return list(found.value) if isinstance(found.value, tuple) else found.value


def argument(node: ir.Node, index: int) -> ir.Value | None:
    """The input at `index`; None where it is left out, at the end or as the empty name."""
    return node.inputs[index] if index < len(node.inputs) else None


def required(node: ir.Node, count: int) -> list[ir.Value]:
    """The first `count` inputs, which the operator's definition doesn't let out. Raises ValueError where one is."""
    given = [value for value in node.inputs[:count] if value is not None]
    if len(given) < count:
        raise ValueError(f"{label(node)}: {node.op_type} has fewer than {count} inputs")
    return given


def used(node: ir.Node, index: int) -> bool:
    """Is there an output at `index` that something reads?"""
    if index >= len(node.outputs):
        return False
    value = node.outputs[index]
    return bool(value.name) and (bool(value.uses()) or value.is_graph_output())


def qualified(node: ir.Node) -> str:
    """The operator type, with its domain where that is not the default one."""
    return node.op_type if node.domain in DEFAULT_DOMAINS else f"{node.domain}::{node.op_type}"


def label(node: ir.Node) -> str:
    """A node's name, or its first output's where it has none."""
    return node.name or next((value.name for value in node.outputs if value.name), "") or ""


def opset_of(graph: ir.Graph | None, domain: str = "") -> int:
    """The opset that a graph imports for `domain`, 0 where it imports none."""
    if graph is None:
        return 0
    return next((int(graph.opset_imports[name]) for name in (domain, "ai.onnx") if name in graph.opset_imports), 0)


def to_array(value: Any) -> Array:
    """A Python scalar or list as float32 or int64, what ONNX means by them; an array stays as it is.

    An empty list is one of int64: axes, or the shape of a scalar.
    """
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    array = np.asarray(value, np.int64 if isinstance(value, list | tuple) and not value else None)
    kinds = {"f": np.float32, "i": np.int64, "b": np.bool_}
    return array.astype(kinds[array.dtype.kind])
