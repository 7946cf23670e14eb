"""What a rewrite changed in a graph, cut out of the graph before and the graph after: a proof need not run the rest.

Nodes that stand in both graphs as they are need not be run: where all that the changed ones hand to them is equal, given that all
that they take from them is, so is what they compute, one after the other in the order of the graph. And a value is the same
in both graphs where it is computed from the same inputs by the same operators, whatever it is called: a Merkle tree of
operators, attributes and constants says so (Merkle, CRYPTO 1987).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import onnx
from onnx import helper

from enginesmith.compat.interface import KEY, ROWS, outputs
from enginesmith.compat.operators import RANDOM
from enginesmith.compat.values import Array
from enginesmith.compat.walk import proto_nodes, proto_subgraphs

Digest = bytes
SMALL = 1 << 14
"""Elements of a value that may be recorded though nothing has asked for it yet."""
SIZES = 8
"""So long are lists of sizes at most, be they floats that become integers later."""
USUAL = 256
"""For a size that is not known."""


@dataclass(frozen=True)
class Cut:
    """A part of a graph before a rewrite, and what stands for it after: both give the `outputs`, and take inputs of the graph
    and values of the graph before. `before` and `after` map these values' names, there, to their digests before; `kept` are
    the names of what is computed in both graphs in the same way.
    """

    outputs: tuple[str, ...]
    before: Mapping[str, Digest]
    after: Mapping[str, Digest]
    kept: Collection[str]


class Values:
    """The values of a graph outside of subgraphs. `digests` tell equal ones, `fed` are those that depend on an input."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.outputs = outputs(model)
        self.nodes = list(model.graph.node)
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.inputs = {value.name: value for value in model.graph.input if value.name not in self.initializers}
        self.digests: dict[str, Digest] = {}
        self.fed: set[str] = set(self.inputs)
        self.producers = {name: node for node in self.nodes for name in node.output if name}
        self._versions = {entry.domain: entry.version for entry in model.opset_import}
        self._functions = {(function.domain, function.name): function for function in model.functions}
        for name, value in self.inputs.items():
            self.digests[name] = _digest(b"input", name.encode(), _bytes(value.type))
        for name, tensor in self.initializers.items():
            self.digests[name] = _tensor(tensor)
        self.keys: list[Digest] = []
        """Of each node, what tells it from all others: what it does, and the names that it reads and gives."""
        for node in self.nodes:
            self._add(node)

    def _add(self, node: onnx.NodeProto) -> None:
        stored = node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t")
        read, kind = self.read(node), _tensor(node.attribute[0].t) if stored else self._kind(node)
        self.keys.append(_digest(kind, *(name.encode() for name in (*read, "", *node.output))))
        if not self.fed.isdisjoint(read):
            self.fed.update(node.output)
        if stored:
            self.digests[node.output[0]] = kind
            return
        of = _digest(kind, *(self.digests.get(name, b"") for name in read))
        if node.op_type in RANDOM:
            of = _digest(of, node.output[0].encode())
        for place, name in enumerate(node.output):
            self.digests[name] = _digest(of, str(place).encode())

    def _kind(self, node: onnx.NodeProto) -> bytes:
        """What a node does with whatever it reads."""
        domain = node.domain.replace("ai.onnx", "") if node.domain == "ai.onnx" else node.domain
        version = self._versions.get(node.domain, self._versions.get(domain, 0))
        if not proto_subgraphs(node) and onnx.defs.has(node.op_type, version, domain):
            version = onnx.defs.get_schema(node.op_type, version, domain).since_version
        attributes = [_bytes(attribute) for attribute in sorted(node.attribute, key=lambda found: found.name)]
        function = self._functions.get((node.domain, node.op_type))
        inside = b"" if function is None else _bytes(function)
        return _digest(domain.encode(), node.op_type.encode(), str(version).encode(), inside, *attributes)

    def read(self, node: onnx.NodeProto) -> list[str]:
        """The names of all that a node reads, in its subgraphs too."""
        names = list(node.input)
        for graph in proto_subgraphs(node):
            inner = [name for deeper in proto_nodes(graph) for name in deeper.input]
            names += sorted({*inner, *(value.name for value in graph.output)} & self.digests.keys())
        return names

    def small(self) -> list[Digest]:
        """Those that depend on an input and are known to be small, by their declared shapes."""
        found = []
        for value in self.model.graph.value_info:
            sizes = [dim.dim_value or USUAL for dim in value.type.tensor_type.shape.dim]
            if value.name in self.fed and value.type.HasField("tensor_type") and math.prod(sizes) <= SMALL:
                found.append(self.digests[value.name])
        return found

    def told(self, name: str) -> dict[str, str]:
        """What a repair noted of an input or output."""
        keys = KEY + name, ROWS + name
        return {prop.key: prop.value for prop in self.model.metadata_props if prop.key in keys}

    def part(self, outputs: Iterable[str], given: Mapping[str, str]) -> onnx.ModelProto:
        """The nodes that the `outputs` follow from, as a model. `given` are values that it takes instead of computing them, each
        with the name of the input that it comes from.
        """
        wanted, found, inputs = list(outputs), set[str](), dict[str, None]()
        while wanted:
            name = wanted.pop()
            if not name or name in found:
                continue
            found.add(name)
            if name in given or name in self.inputs:
                inputs[name] = None
            elif name in self.producers:
                wanted += self.read(self.producers[name])
        result = onnx.ModelProto()
        result.CopyFrom(_shell(self.model))
        graph = result.graph
        declared = {value.name: value for value in self.model.graph.output}
        graph.output.extend(declared.get(name) or onnx.ValueInfoProto(name=name) for name in outputs)
        graph.input.extend(self.inputs[name] for name in inputs if name not in given)
        nodes = [node for node in self.nodes if any(name in found and name not in given for name in node.output)]
        # What comes from outside is read as it comes, and where a subgraph reads it, through an Identity.
        named = {name for node in nodes if proto_subgraphs(node) for name in self.read(node)}.union(outputs)
        graph.node.extend(
            helper.make_node("Identity", [given[name]], [name]) for name in inputs if name in given and name in named
        )
        graph.node.extend(nodes)
        for node in graph.node:
            for place, name in enumerate(node.input):
                if name in given and name not in named:
                    node.input[place] = given[name]
        graph.initializer.extend(tensor for name, tensor in self.initializers.items() if name in found)
        for name in (*outputs, *(value.name for value in graph.input)):
            helper.set_model_props(result, {**_props(result), **self.told(name)})
        return result


def cut(before: Values, after: Values) -> Cut:
    """The smallest part that a rewrite may have changed. Raises ValueError for a graph of other outputs."""
    if before.outputs != after.outputs:
        raise ValueError("the graph has other outputs")
    keys = set(before.keys) & set(after.keys)
    nodes = [node for node, key in zip(before.nodes, before.keys, strict=True) if key in keys]
    kept = {name for node in nodes for name in node.output if name}
    read = [*before.outputs, *(name for node in nodes for name in before.read(node) if name)]
    changed = [name for name in read if name not in kept and before.digests[name] != after.digests[name]]
    changed += [name for name in before.outputs if before.told(name) != after.told(name)]
    outputs = tuple(dict.fromkeys(changed))
    same = set(before.digests.values()) & set(after.digests.values())
    alike = {name: digest for name, digest in before.digests.items() if name in kept}
    front, other = (
        _front(values, outputs, alike | {name: own for name, own in values.digests.items() if own in same})
        for values in (before, after)
    )
    return Cut(outputs, front, other, kept)


def _front(values: Values, outputs: Iterable[str], alike: Mapping[str, Digest]) -> dict[str, Digest]:
    """The values that both graphs have from which the outputs follow by what is changed, with their digests before."""
    wanted, seen, front = list(outputs), set[str](), dict[str, Digest]()
    while wanted:
        name = wanted.pop()
        if not name or name in seen:
            continue
        seen.add(name)
        if name in values.fed and name in alike:
            front[name] = alike[name]
        elif name in values.producers:
            wanted += values.read(values.producers[name])
    return front


def taking(part: onnx.ModelProto, arrays: Mapping[str, Array]) -> onnx.ModelProto:
    """The part with its missing inputs, of the arrays' dtypes and ranks. What may be a list of sizes has its length, for ONNX
    Runtime takes one of an unknown length for an empty one."""
    result = onnx.ModelProto()
    result.CopyFrom(part)
    result.graph.input.extend(
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(array.dtype),
            list(array.shape) if array.ndim <= 1 and array.size <= SIZES else [None] * array.ndim,
        )
        for name, array in arrays.items()
    )
    return result


def _shell(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without what its graph holds."""
    shell = onnx.ModelProto(ir_version=model.ir_version)
    shell.opset_import.extend(model.opset_import)
    shell.functions.extend(model.functions)
    shell.graph.name = "part"
    return shell


def _props(model: onnx.ModelProto) -> dict[str, str]:
    return {prop.key: prop.value for prop in model.metadata_props}


def _tensor(tensor: onnx.TensorProto) -> Digest:
    if tensor.HasField("raw_data"):
        return _digest(b"tensor", str((tensor.data_type, list(tensor.dims))).encode(), tensor.raw_data)
    if tensor.data_type == onnx.TensorProto.STRING or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _digest(b"tensor", _bytes(tensor))
    raw = onnx.numpy_helper.to_array(tensor).tobytes()
    return _digest(b"tensor", str((tensor.data_type, list(tensor.dims))).encode(), raw)


def _bytes(message: onnx.AttributeProto | onnx.TypeProto | onnx.TensorProto | onnx.FunctionProto) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def _digest(*parts: bytes) -> Digest:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()
