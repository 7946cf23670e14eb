"""What a graph would take of memory and of time, estimated before anything in it is computed.

A file of 1 kB can ask for 37 GB: constants that are expanded, sizes that double, loops. Shapes are inferred node by node
with onnx's own functions, from constants that are small enough to look at. A size that nobody knows counts as one, so that
the estimate is a lower bound.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import TensorProto, TypeProto, helper, numpy_helper, shape_inference

from enginesmith.compat.evaluator import evaluator
from enginesmith.compat.operators import RANDOM
from enginesmith.compat.values import DEFAULT_DOMAINS
from enginesmith.compat.walk import proto_subgraphs

SMALL = 1024
"""Elements of a constant that may name sizes, and so is computed."""
MOST_STEPS = 20_000_000
"""Nodes that may be run, those of loops and functions each time: some minutes, in any tool."""
Types = dict[str, TypeProto]
Data = dict[str, TensorProto]


@dataclass(frozen=True)
class Need:
    """The most that is needed at a time: bytes of tensors, and the node that takes them there; or the `steps` that a loop
    or a function makes of a node, where they are too many.
    """

    bytes: int = 0
    node: str = ""
    op: str = ""
    steps: int = 0


class _TooManySteps(Exception):
    def __init__(self, need: Need) -> None:
        self.need = need


def footprint(model: onnx.ModelProto, sizes: Mapping[str, Sequence[int]] | None = None) -> Need:
    """Of a sound model; `sizes` are the shapes of its inputs, where the graph leaves them open."""
    estimate = _Estimate(model)
    try:
        steps = _Calls(model).steps(model.graph.node)
        if steps > MOST_STEPS:
            raise _TooManySteps(Need(node=model.graph.name, op="function", steps=steps))
        types = {value.name: value.type for value in model.graph.input}
        for name, shape in (sizes or {}).items():
            if name in types and types[name].HasField("tensor_type"):
                types[name] = helper.make_tensor_type_proto(types[name].tensor_type.elem_type, list(shape))
        return estimate.graph(model.graph, types, {}, 1)[0]
    except _TooManySteps as many:
        return many.need


@dataclass
class _Calls:
    """How many nodes are run when functions are written out, each call anew."""

    model: onnx.ModelProto
    known: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.functions = {(function.domain, function.name): function for function in self.model.functions}

    def steps(self, nodes: Iterable[onnx.NodeProto], depth: int = 0) -> int:
        total = 0
        for node in nodes:
            total += 1 + sum(self.steps(graph.node, depth) for graph in proto_subgraphs(node))
            key = (node.domain, node.op_type)
            if key in self.functions:
                if key not in self.known:
                    if depth > len(self.functions):
                        raise _TooManySteps(Need(node=node.name, op=node.op_type, steps=MOST_STEPS + 1))
                    self.known[key] = self.steps(self.functions[key].node, depth + 1)
                total += self.known[key]
        return total


class _Estimate:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.imports = list(model.opset_import)
        self.functions = {(function.domain, function.name): function for function in model.functions}
        self.known: dict[bytes, tuple[Need, Types]] = {}
        self.steps = 0

    def graph(self, graph: onnx.GraphProto, types: Types, data: Data, times: int) -> tuple[Need, Types]:
        """The need, and the types of the outputs. `types` and `data` are what is known around the graph and of its inputs;
        `times` is how often it runs.
        """
        types, data = dict(types), dict(data)
        held = 0
        for tensor in graph.initializer:
            types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
            if math.prod(tensor.dims) <= SMALL and tensor.data_location != TensorProto.EXTERNAL:
                data[tensor.name] = tensor
        for sparse in graph.sparse_initializer:
            types[sparse.values.name] = helper.make_tensor_type_proto(sparse.values.data_type, list(sparse.dims))
            held += _bytes(types[sparse.values.name])
        inputs = sum(_bytes(types[value.name]) for value in graph.input if value.name in types)
        need = self.nodes(graph.node, [value.name for value in graph.output], types, data, times, held + inputs)
        return need, {value.name: types[value.name] for value in graph.output if value.name in types}

    def nodes(
        self,
        nodes: Sequence[onnx.NodeProto],
        outputs: Sequence[str],
        types: Types,
        data: Data,
        times: int,
        live: int,
    ) -> Need:
        """Go through nodes in their order, and note the types of what they make in `types`."""
        uses = Counter(name for node in nodes for name in _reads(node))
        uses.update(outputs)
        made: dict[str, int] = {}
        need = Need(live)
        largest, culprit = 0, Need()
        for node in nodes:
            self.steps += times
            label = node.name or next(iter(node.output), "")
            if self.steps > MOST_STEPS:
                raise _TooManySteps(Need(node=label, op=node.op_type, steps=self.steps))
            inner = self.node(node, types, data, times)
            within = live + inner.bytes
            for name in node.output:
                if name in types:
                    made[name] = _bytes(types[name])
                    live += made[name]
                    if made[name] >= largest:
                        largest, culprit = made[name], Need(0, label, node.op_type)
            if max(live, within) > need.bytes:
                cause = inner if inner.bytes > largest else culprit
                need = Need(max(live, within), cause.node, cause.op)
            for name in _reads(node):
                uses[name] -= 1
                if not uses[name]:
                    live -= made.pop(name, 0)
        return need

    def node(self, node: onnx.NodeProto, types: Types, data: Data, times: int) -> Need:
        """Note the types of the outputs, and the content of small constants; the need of what lies within the node."""
        function = self.functions.get((node.domain, node.op_type))
        if function is not None:
            return self.call(function, node, types, times)
        if node.op_type in ("If", "Loop", "Scan") and node.domain in DEFAULT_DOMAINS:
            return self.control(node, types, data, times)
        found = self.infer(node, types, data)
        types.update(found)
        self.compute(node, found, data)
        return Need()

    def call(self, function: onnx.FunctionProto, node: onnx.NodeProto, types: Types, times: int) -> Need:
        given = {
            inner: types[outer] for inner, outer in zip(function.input, node.input, strict=False) if outer in types
        }
        key = repr((function.domain, function.name, sorted((n, t.SerializeToString()) for n, t in given.items())))
        if key.encode() not in self.known:
            inside = dict(given)
            need = self.nodes(function.node, list(function.output), inside, {}, times, 0)
            self.known[key.encode()] = need, {name: inside[name] for name in function.output if name in inside}
        need, made = self.known[key.encode()]
        for outer, inner in zip(node.output, function.output, strict=False):
            if outer and inner in made:
                types[outer] = made[inner]
        return need

    def control(self, node: onnx.NodeProto, types: Types, data: Data, times: int) -> Need:
        """Of a branch the larger side, of a loop the body, with what it collects."""
        need = Need()
        rounds, carried = 1, 0
        if node.op_type == "Loop":
            rounds, carried = max(_number(data.get(node.input[0] if node.input else ""), 1), 0), len(node.input) - 2
        elif node.op_type == "Scan":
            scanned = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 1)
            carried = len(node.input) - scanned
            sizes = _shape(types.get(node.input[-1])) if node.input else None
            rounds = max(sizes[0], 1) if sizes else 1
        for body in proto_subgraphs(node):
            inside = types | {value.name: value.type for value in body.input}
            known = {name: tensor for name, tensor in data.items() if name not in {value.name for value in body.input}}
            if times * rounds * len(body.node) > MOST_STEPS:
                raise _TooManySteps(
                    Need(node=node.name or next(iter(node.output), ""), op=node.op_type, steps=times * rounds)
                )
            found, made = self.graph(body, inside, known, times * rounds)
            need = max(need, found, key=lambda each: each.bytes)
            results = [made.get(value.name, value.type) for value in body.output][1 if node.op_type == "Loop" else 0 :]
            for index, (name, kind) in enumerate(zip(node.output, results, strict=False)):
                if not name:
                    continue
                if node.op_type != "If" and index >= carried:
                    kind = _stacked(kind, rounds)
                if name not in types or _bytes(kind) > _bytes(types[name]):
                    types[name] = kind
        return need

    def infer(self, node: onnx.NodeProto, types: Types, data: Data) -> Types:
        if node.op_type == "Constant" and node.domain in DEFAULT_DOMAINS:
            return _constant_type(node)
        if node.op_type == "Einsum" and (kind := _einsum(node, types)) is not None:
            return {node.output[0]: kind}
        version = self.opsets.get(node.domain, self.opsets.get("", 1) if node.domain in DEFAULT_DOMAINS else 0)
        try:
            schema = onnx.defs.get_schema(node.op_type, version, node.domain if node.domain != "ai.onnx" else "")
            names = [name for name in node.input if name]
            found = shape_inference.infer_node_outputs(
                schema,
                node,
                {name: types[name] for name in names},
                {name: data[name] for name in names if name in data},
                opset_imports=self.imports,
            )
        except Exception:  # noqa: BLE001 - an unknown operator, unknown inputs, or what the checker refuses in words of its own
            return {}
        return {name: found[name] for name in node.output if name in found}

    def compute(self, node: onnx.NodeProto, found: Types, data: Data) -> None:
        """Note the content of the outputs, where they are small and known."""
        if node.domain not in DEFAULT_DOMAINS or node.op_type in RANDOM or proto_subgraphs(node):
            return
        if node.op_type == "Constant":
            tensor = _constant(node)
            if tensor is not None and math.prod(tensor.dims) <= SMALL:
                data[node.output[0]] = tensor
            return
        shapes = {name: _shape(kind) for name, kind in found.items()}
        if not shapes or any(shape is None or -1 in shape or math.prod(shape) > SMALL for shape in shapes.values()):
            return
        names = [name for name in node.input if name]
        if not all(name in data for name in names):
            return
        inputs = [helper.make_tensor_value_info(name, data[name].data_type, None) for name in dict.fromkeys(names)]
        outputs = [onnx.ValueInfoProto(name=name, type=kind) for name, kind in found.items()]
        model = helper.make_model(
            helper.make_graph([node], "one", inputs, outputs),
            opset_imports=[helper.make_opsetid("", self.opsets.get("", 1))],
        )
        try:
            feed = {name: numpy_helper.to_array(data[name]) for name in names}
            for name, array in zip(found, evaluator(model).run(None, feed), strict=True):
                data[name] = numpy_helper.from_array(array, name)
        except Exception:  # noqa: BLE001 - a reference that can't compute it raises anything
            return


def _reads(node: onnx.NodeProto) -> set[str]:
    """What a node reads, its subgraphs included."""
    read = {name for name in node.input if name}
    for graph in proto_subgraphs(node):
        read.update(value.name for value in graph.output)
        for inner in graph.node:
            read |= _reads(inner)
    return read


def _shape(kind: TypeProto | None) -> list[int] | None:
    """The sizes, -1 for an unknown one; None for an unknown rank."""
    if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.tensor_type.shape.dim]


def _bytes(kind: TypeProto) -> int:
    shape = _shape(kind)
    if shape is None:
        return 0
    try:
        width = helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type).itemsize
    except (KeyError, ValueError):
        width = 1
    return math.prod(max(size, 0) if size != -1 else 1 for size in shape) * max(width, 1)


def _number(tensor: TensorProto | None, otherwise: int) -> int:
    if tensor is None or math.prod(tensor.dims) != 1:
        return otherwise
    value: Any = numpy_helper.to_array(tensor).reshape(-1)[0]
    return int(value)


def _stacked(kind: TypeProto, rounds: int) -> TypeProto:
    shape = _shape(kind)
    if shape is None:
        return kind
    return helper.make_tensor_type_proto(
        kind.tensor_type.elem_type, [min(rounds, 2**62), *(size if size >= 0 else None for size in shape)]
    )


def _constant(node: onnx.NodeProto) -> TensorProto | None:
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.t.data_location != TensorProto.EXTERNAL:
            tensor: TensorProto = attribute.t
            return tensor
        if attribute.name in ("value_int", "value_ints", "value_float", "value_floats"):
            value = helper.get_attribute_value(attribute)
            kind = TensorProto.INT64 if "int" in attribute.name else TensorProto.FLOAT
            listed = isinstance(value, list)
            return helper.make_tensor("", kind, [len(value)] if listed else [], value if listed else [value])
    return None


def _constant_type(node: onnx.NodeProto) -> Types:
    for attribute in node.attribute:
        if attribute.name == "sparse_value":
            sparse = attribute.sparse_tensor
            return {node.output[0]: helper.make_tensor_type_proto(sparse.values.data_type, list(sparse.dims))}
        if attribute.name == "value":
            return {node.output[0]: helper.make_tensor_type_proto(attribute.t.data_type, list(attribute.t.dims))}
    tensor = _constant(node)
    return {} if tensor is None else {node.output[0]: helper.make_tensor_type_proto(tensor.data_type, tensor.dims)}


def _einsum(node: onnx.NodeProto, types: Types) -> TypeProto | None:
    """onnx infers its rank alone."""
    equation = next((a.s.decode(errors="replace") for a in node.attribute if a.name == "equation"), "")
    terms, _, result = equation.replace(" ", "").partition("->")
    known: dict[str, int] = {}
    for term, name in zip(terms.split(","), node.input, strict=False):
        shape = _shape(types.get(name))
        if shape is None or len(shape) != len(term):  # an ellipsis
            return None
        known.update(zip(term, shape, strict=True))
    if not result or not set(result) <= set(known):
        return None
    first = types[node.input[0]].tensor_type.elem_type
    return helper.make_tensor_type_proto(first, [known[letter] if known[letter] >= 0 else None for letter in result])
