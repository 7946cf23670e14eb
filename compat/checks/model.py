"""What can be wrong with a model as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from enginesmith.compat import support
from enginesmith.compat.checks.rule import model_rule
from enginesmith.compat.checks.types import QUANTIZED, TAKEN
from enginesmith.compat.graphs import opset
from enginesmith.compat.operators import QUANTIZING
from enginesmith.compat.target import EVERY, TENSORRT, Target
from enginesmith.compat.values import DEFAULT_DOMAINS, dtype

OLDEST_OPSET = 7
"""The oldest opset that TensorRT's parser reads; its documentation promises 9 and later."""
SHOWN = 5
"""Names in one message; the others are counted."""


@model_rule(
    "interface-type",
    backends=TENSORRT,
    remedy="cast outside of the model, or let `doctor --fix` change the type of the input or output",
    source="onnx-tensorrt onnxProtoUtils.cpp, convertDtype",
)
def interface_type(model: ir.Model, target: Target) -> Iterator[str]:
    """Inputs and outputs of a network have types that TensorRT knows: no int16, uint16, uint32, uint64, string or
    complex, and of the float8 types none but E4M3FN."""
    for kind, values in (("input", model.graph.inputs), ("output", model.graph.outputs)):
        for value in values:
            if value.type is not None and not isinstance(value.type, ir.TensorType):
                yield f"the {kind} {value.name} is no tensor"
            elif (found := dtype(value)) is not None and found not in TAKEN:
                yield f"the {kind} {value.name} is {found.name.lower()}"


@model_rule(
    "quantized-interface",
    backends=TENSORRT,
    remedy="quantize inside of the model",
    source="TensorRT: what may produce and consume FP8, FP4 and INT4",
)
def quantized_interface(model: ir.Model, target: Target) -> Iterator[str]:
    """float8, float4 and int4 exist between QuantizeLinear and DequantizeLinear. An input of such a type may go into one
    of them alone."""
    for value in model.graph.inputs:
        found = dtype(value)
        if found is not None and found in QUANTIZED and any(node.op_type not in QUANTIZING for node, _ in value.uses()):
            yield f"the input {value.name} is {found.name.lower()}"


@model_rule(
    "newer-opset",
    backends=EVERY,
    severity="warning",
    remedy="export with an older opset, or use a later version of the backend",
    source="the backend's support table",
)
def newer_opset(model: ir.Model, target: Target) -> Iterator[str]:
    """The parser was made for older opsets. It reads the model all the same, and may read newer forms wrongly."""
    known = support.table(target.backend)
    newest = known.versions[known.nearest(target.version)].opset
    if newest is not None and opset(model) > newest:
        yield f"the opset is {opset(model)}, and {target} reads up to {newest}"


@model_rule(
    "old-opset",
    backends=EVERY,
    severity="warning",
    remedy="let `doctor --fix` raise it, or export again",
    source="onnx-tensorrt ModelImporter.cpp: models older than opset 7 are not guaranteed to work",
)
def old_opset(model: ir.Model, target: Target) -> Iterator[str]:
    """Before opset 7, operators broadcast by an attribute, which parsers do not read."""
    if 0 < opset(model) < OLDEST_OPSET:
        yield f"the opset is {opset(model)}"


@model_rule(
    "no-opset",
    backends=EVERY,
    remedy="name the opset that the operators are meant in",
    source="onnx.checker",
)
def no_opset(model: ir.Model, target: Target) -> Iterator[str]:
    """A model with operators of the default domain must import it."""
    if opset(model) == 0 and any(node.domain in DEFAULT_DOMAINS for node in model.graph.all_nodes()):
        yield "the model imports no opset of the default domain"


@model_rule(
    "unused-domain",
    backends=EVERY,
    severity="info",
    remedy="take the import out",
    source="onnx.checker",
)
def unused_domain(model: ir.Model, target: Target) -> Iterator[str]:
    """A domain is imported of which no operator is used: often what is left of a fused operator."""
    used = {node.domain for node in model.graph.all_nodes()} | {domain for domain, _, _ in model.functions}
    for domain in model.opset_imports:
        if domain not in DEFAULT_DOMAINS and domain not in used:
            yield f"the domain {domain} is imported and not used"


@model_rule(
    "external-data",
    backends=EVERY,
    remedy="put the data file beside the model, under the name that the model has for it",
    source="onnx-tensorrt WeightsContext.cpp; onnx.checker",
)
def external_data(model: ir.Model, target: Target) -> Iterator[str]:
    """Weights that lie in a file of their own must be there, whole, and below the model's folder."""
    checked: dict[str, str] = {}
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if not isinstance(tensor, ir.ExternalTensor):
                continue
            location = str(tensor.location)
            if location not in checked:
                checked[location] = _missing(Path(tensor.path), location)
                if checked[location]:
                    yield checked[location]
            if not checked[location] and (tensor.offset or 0) + tensor.nbytes > Path(tensor.path).stat().st_size:
                yield f"{location} ends before the weights {value.name}"


def _missing(path: Path, location: str) -> str:
    if Path(location).is_absolute() or ".." in Path(location).parts:
        return f"the weights lie outside of the model's folder: {location}"
    return "" if path.is_file() else f"the file with the weights is missing: {location}"


@model_rule(
    "unsorted",
    backends=EVERY,
    remedy="sort the nodes (onnx_ir's Graph.sort, or a simplifier)",
    source="ONNX: a graph's nodes are sorted topologically",
)
def unsorted(model: ir.Model, target: Target) -> Iterator[str]:
    """A node reads what a later one makes, or what itself leads to: then no order exists at all."""
    for graph in model.graphs():
        done: set[ir.Node] = set()
        early = []
        for node in graph:
            producers = (value.producer() for value in node.inputs if value is not None)
            if any(p is not None and p.graph is graph and p not in done for p in producers):
                early.append(node.name or node.op_type)
            done.add(node)
        if early and _has_cycle(graph):
            yield f"the nodes form a circle: {_named(early)}"
        elif early:
            yield f"nodes stand before what they read: {_named(early)}"


def _has_cycle(graph: ir.Graph | ir.Function) -> bool:
    """Take away nodes whose inputs are there, until none is left or none can go."""
    waiting = {node: _own_producers(node, graph) for node in graph}
    readers: dict[ir.Node, list[ir.Node]] = {}
    for node, producers in waiting.items():
        for producer in producers:
            readers.setdefault(producer, []).append(node)
    free = [node for node, producers in waiting.items() if not producers]
    count = 0
    while free:
        node = free.pop()
        count += 1
        for reader in readers.get(node, ()):
            waiting[reader].discard(node)
            if not waiting[reader]:
                free.append(reader)
    return count < len(waiting)


def _own_producers(node: ir.Node, graph: ir.Graph | ir.Function) -> set[ir.Node]:
    producers = (value.producer() for value in node.inputs if value is not None)
    return {producer for producer in producers if producer is not None and producer.graph is graph}


def _named(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
