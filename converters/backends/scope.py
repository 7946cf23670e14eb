"""What is known about every tensor of an ONNX graph and its subgraphs, dynamic sizes set to a profile's optimum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import external_data_helper, numpy_helper

from enginesmith.compat.walk import proto_subgraphs
from enginesmith.converters.backends.base import Profile

SMALL = 64
"""Elements up to which a tensor may hold sizes, axes or scales rather than data."""
EAGER_BYTES = 1 << 16
"""Constants up to this size are read at once, since shapes may depend on them; larger ones when they are needed."""


@dataclass
class Scope:
    """The tensors that a graph's nodes can see; `parent` is the scope of the graph around it."""

    nodes: Sequence[onnx.NodeProto]
    outputs: frozenset[str]
    types: dict[str, onnx.TypeProto] = field(default_factory=dict)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    producers: dict[str, onnx.NodeProto] = field(default_factory=dict)
    parent: Scope | None = None

    def type_of(self, name: str) -> onnx.TypeProto | None:
        """The inferred type of a tensor, None where inference had nothing to say."""
        found = self.types.get(name)
        return found if found is not None or self.parent is None else self.parent.type_of(name)

    def constant(self, name: str) -> onnx.TensorProto | None:
        found = self.constants.get(name)
        return found if found is not None or self.parent is None else self.parent.constant(name)

    def producer(self, name: str) -> onnx.NodeProto | None:
        found = self.producers.get(name)
        return found if found is not None or self.parent is None else self.parent.producer(name)


def load(path: Path, profile: Profile) -> onnx.ModelProto:
    """The model, functions inlined, inputs at the profile's optimum, types inferred; large external weights unread."""
    model = onnx.load(str(path), load_external_data=False)
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    for tensor in _tensors(model.graph):
        if external_data_helper.uses_external_data(tensor) and _external_bytes(tensor) <= EAGER_BYTES:
            read(tensor, path.parent)
    fix_inputs(model, {name: optimum for name, (_, optimum, _) in profile.items()})
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except onnx.shape_inference.InferenceError:
        # One contradiction in the graph; the declared types are still worth something.
        return model


def fix_inputs(model: onnx.ModelProto, shapes: dict[str, Sequence[int]]) -> None:
    """Give the inputs named their static shapes, and forget every inferred shape that may contradict them."""
    if not shapes:
        return
    for value in model.graph.input:
        if value.name in shapes:
            dims = value.type.tensor_type.shape
            dims.Clear()
            for size in shapes[value.name]:
                dims.dim.add(dim_value=size)
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def read(tensor: onnx.TensorProto, folder: Path) -> None:
    """Read a tensor's external data into it, if it has any."""
    if external_data_helper.uses_external_data(tensor):
        external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def scopes(graph: onnx.GraphProto, parent: Scope | None = None) -> Iterator[Scope]:
    """The graph's scope and those of its subgraphs; an inner one comes before the one around it."""
    scope = Scope(
        nodes=[node for node in graph.node if node.op_type != "Constant"],
        outputs=frozenset(value.name for value in graph.output),
        parent=parent,
    )
    for value in (*graph.value_info, *graph.output, *graph.input):
        scope.types[value.name] = value.type
    for tensor in graph.initializer:
        scope.constants[tensor.name] = tensor
    for node in graph.node:
        constant = _constant(node)
        if constant is not None:
            scope.constants[node.output[0]] = constant
        else:
            scope.producers.update((name, node) for name in node.output if name)
    for node in graph.node:
        for inner in proto_subgraphs(node):
            yield from scopes(inner, scope)
    yield scope


def captures(node: onnx.NodeProto) -> list[str]:
    """Names that a node's subgraphs take from the graphs around them, in order of use."""
    found: dict[str, None] = {}
    for graph in proto_subgraphs(node):
        own = {value.name for value in (*graph.input, *graph.initializer)} | {n for x in graph.node for n in x.output}
        for inner in graph.node:
            found.update(dict.fromkeys(n for n in (*inner.input, *captures(inner)) if n and n not in own))
        found.update(dict.fromkeys(value.name for value in graph.output if value.name not in own))
    return list(found)


def dims(kind: onnx.TypeProto) -> list[int | None] | None:
    """A tensor type's sizes, None for an unknown one; None altogether where the rank is unknown or it is no tensor."""
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.tensor_type.shape.dim]


def label(node: onnx.NodeProto) -> str:
    """A node's name, or its first output's where it has none."""
    return node.name or next(iter(node.output), "")


def qualified_op(node: onnx.NodeProto) -> str:
    """The operator type, with its domain where that is not the default one."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The value of a Constant node as a tensor; None for other nodes, and for sparse and string constants."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or not node.attribute:
        return None
    attribute = node.attribute[0]
    if attribute.name == "value":
        value: onnx.TensorProto = attribute.t
        return value
    import numpy as np

    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if attribute.name not in kinds:
        return None
    return numpy_helper.from_array(np.array(onnx.helper.get_attribute_value(attribute), kinds[attribute.name]))


def _tensors(graph: onnx.GraphProto) -> Iterable[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from (attr.t for attr in node.attribute if attr.HasField("t"))
        for inner in proto_subgraphs(node):
            yield from _tensors(inner)


def _external_bytes(tensor: onnx.TensorProto) -> int:
    """An upper bound: types below a byte count as one."""
    width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    count = 1
    for size in tensor.dims:
        count *= size
    return count * width
