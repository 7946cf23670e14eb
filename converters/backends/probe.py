"""Ask a backend about every node of a graph alone, since its parser stops at the first one that it refuses.

A node's probe is a model of one node: its data inputs become graph inputs, its constants stay constants. Inputs that
steer shapes (small integer tensors and what they are computed from, down to a `Shape`) and the Q/DQ pairs in front of a
quantized operator come along with the nodes that compute them, because a backend treats those specially.

Limits: dynamic dimensions are taken at the profile's optimum; a data-dependent size (of a NonZero's output, say) is
guessed, and a refusal then counts only if ONNX Runtime accepts the same probe; a node with an input of unknown rank
or type can't be probed and is listed as such.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from enginesmith.compat.walk import proto_nodes, proto_subgraphs
from enginesmith.converters.backends import scope as scoping
from enginesmith.converters.backends.base import Profile
from enginesmith.converters.backends.scope import Scope, label, qualified_op

Oracle = Callable[[onnx.ModelProto], str | None]
"""Takes a self-contained model; returns why the backend refuses it, or None."""

GUESS = 16
"""Size given to a data-dependent dimension."""
_STEERED_BY_VALUES = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Refusal:
    """A node that the backend refuses by itself."""

    node: str
    op: str
    message: str


@dataclass
class Verdict:
    """What probing a whole graph found."""

    refusals: list[Refusal] = field(default_factory=list)
    unprobed: list[str] = field(default_factory=list)
    """Names of nodes about which nothing can be said."""
    probes: int = 0
    """Distinct probes that the backend was asked."""


def probe_nodes(
    path: Path,
    profile: Profile,
    oracle: Oracle,
    progress: Callable[[str, float | None], None] = lambda text, fraction: None,
) -> Verdict:
    """Probe every node of the ONNX file, equal ones once.

    A node that holds a refused node in a subgraph is not probed: the inner one is to blame.
    """
    model = scoping.load(path, profile)
    all_scopes = list(scoping.scopes(model.graph))
    total = sum(len(scope.nodes) for scope in all_scopes)
    prober = _Prober(model, path.parent, oracle)
    done = 0
    for scope in all_scopes:
        for node in scope.nodes:
            done += 1
            progress(f"probing {label(node)} ({qualified_op(node)}), node {done} of {total}", done / total)
            prober.visit(node, scope)
    return prober.verdict


class _Prober:
    def __init__(self, model: onnx.ModelProto, folder: Path, oracle: Oracle) -> None:
        self.model = model
        self.folder = folder
        self.oracle = oracle
        self.verdict = Verdict()
        self._answers: dict[str, str | None] = {}
        self._refused_outputs: set[str] = set()
        self._used = {name for node in proto_nodes(model.graph) for name in node.input} | {
            value.name for value in model.graph.output
        }

    def visit(self, node: onnx.NodeProto, scope: Scope) -> None:
        inner_outputs = {name for graph in proto_subgraphs(node) for n in proto_nodes(graph) for name in n.output}
        if inner_outputs & self._refused_outputs:
            return
        cut = _Cut(self.model, scope, avoid=self._refused_outputs)
        if not cut.take(node):
            self.verdict.unprobed.append(label(node))
            return
        outputs = [n for n in node.output if n and (n in self._used or n in scope.outputs)] or list(node.output[:1])
        message = self._ask(cut, node, outputs)
        if message is not None:
            self._refused_outputs.update(node.output)
            self.verdict.refusals.append(Refusal(label(node), qualified_op(node), message))

    def _ask(self, cut: _Cut, node: onnx.NodeProto, outputs: Sequence[str]) -> str | None:
        key = cut.key(outputs)
        if key not in self._answers:
            self.verdict.probes += 1
            model = cut.model_of(outputs, self.folder, name=label(node))
            message = self.oracle(model)
            if message is not None and cut.guessed and not _runs_in_onnxruntime(model):
                message = None
            self._answers[key] = message
        return self._answers[key]


class _Cut:
    """A node cut out of its graph, with what must come along."""

    def __init__(self, model: onnx.ModelProto, scope: Scope, avoid: set[str]) -> None:
        self.source = model
        self.scope = scope
        self.avoid = avoid
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: dict[str, onnx.TypeProto] = {}
        self.constants: dict[str, onnx.TensorProto] = {}
        self.guessed = False
        self._seen: set[int] = set()

    def take(self, node: onnx.NodeProto) -> bool:
        """Cut out `node`; False where the type of one of its inputs is unknown."""
        self._seen.add(id(node))
        for name in (*node.input, *scoping.captures(node)):
            if name and name not in self.inputs and name not in self.constants and not self._take_input(name):
                return False
        self.nodes.append(node)
        return True

    def _take_input(self, name: str) -> bool:
        constant = self.scope.constant(name)
        if constant is not None:
            self.constants[name] = constant
            return True
        kind = self.scope.type_of(name)
        producer = self.scope.producer(name)
        if producer is not None and name not in self.avoid and self._comes_along(producer, kind):
            return id(producer) in self._seen or self.take(producer)
        concrete = _concrete(kind)
        if concrete is None:
            return False
        self.guessed |= concrete != kind
        self.inputs[name] = concrete
        return True

    def _comes_along(self, producer: onnx.NodeProto, kind: onnx.TypeProto | None) -> bool:
        if producer.op_type in _STEERED_BY_VALUES:
            return True
        sizes = scoping.dims(kind) if kind is not None else None
        if sizes is None or len(sizes) > 1 or proto_subgraphs(producer):
            return False
        return all(size is not None and size <= scoping.SMALL for size in sizes)

    def key(self, outputs: Sequence[str]) -> str:
        """The same for cuts that differ in nothing but names and the values of large constants."""
        if any(proto_subgraphs(node) for node in self.nodes):
            return "/".join(outputs)
        numbers: dict[str, int] = {"": -1}
        digest = hashlib.sha256()

        def number(name: str) -> int:
            return numbers.setdefault(name, len(numbers))

        for node in self.nodes:
            names = [number(name) for name in (*node.input, *node.output)]
            digest.update(repr((node.domain, node.op_type, len(node.input), names)).encode())
            for attribute in sorted(node.attribute, key=lambda attr: attr.name):
                digest.update(attribute.SerializeToString(deterministic=True))
        for name, kind in self.inputs.items():
            digest.update(repr((number(name), kind.SerializeToString(deterministic=True))).encode())
        for name, tensor in self.constants.items():
            digest.update(repr((number(name), tensor.data_type, list(tensor.dims))).encode())
            if _count(tensor) <= scoping.SMALL:
                digest.update(onnx.numpy_helper.to_array(tensor).tobytes())
        digest.update(repr([number(name) for name in outputs]).encode())
        return digest.hexdigest()

    def model_of(self, outputs: Sequence[str], folder: Path, name: str) -> onnx.ModelProto:
        """The cut as a model that needs no other file."""
        initializers = []
        for tensor_name, constant in self.constants.items():
            tensor = onnx.TensorProto()
            tensor.CopyFrom(constant)
            tensor.name = tensor_name
            scoping.read(tensor, folder)
            initializers.append(tensor)
        graph = helper.make_graph(
            self.nodes,
            name,
            [onnx.ValueInfoProto(name=key, type=kind) for key, kind in self.inputs.items()],
            [onnx.ValueInfoProto(name=key, type=self.scope.type_of(key)) for key in outputs],
            initializers,
        )
        return helper.make_model(graph, opset_imports=self.source.opset_import, ir_version=self.source.ir_version)


def _concrete(kind: onnx.TypeProto | None) -> onnx.TypeProto | None:
    """The type with a guess for every unknown size; None where element type or rank are unknown."""
    if kind is None:
        return None
    if not kind.HasField("tensor_type"):
        return kind if kind.WhichOneof("value") else None
    sizes = scoping.dims(kind)
    if sizes is None or kind.tensor_type.elem_type == onnx.TensorProto.UNDEFINED:
        return None
    if None not in sizes:
        return kind
    shape = [GUESS if size is None else size for size in sizes]
    return helper.make_tensor_type_proto(kind.tensor_type.elem_type, shape)


def _runs_in_onnxruntime(model: onnx.ModelProto) -> bool:
    """Whether ONNX Runtime runs a probe on made-up data: with guessed sizes, a probe may contradict itself.

    True where it can't be asked: ONNX Runtime is missing, or the operator is not a standard one.
    """
    if importlib.util.find_spec("onnxruntime") is None or any(
        node.domain not in ("", "ai.onnx") for node in model.graph.node
    ):
        return True
    import numpy as np
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    rng = np.random.default_rng(0)

    def make_up(value: onnx.ValueInfoProto) -> Any:
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        # Zeros are valid indices, sizes and batch numbers alike.
        return (rng.random(shape) if np.issubdtype(dtype, np.floating) else np.zeros(shape)).astype(dtype)

    errors = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        session.run(None, {value.name: make_up(value) for value in model.graph.input})
    except (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.RuntimeException, errors.NotImplemented):
        return False
    return True


def _count(tensor: onnx.TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count
