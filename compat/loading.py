"""Load an ONNX file that may be anything: what is wrong with the file itself becomes findings."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx import external_data_helper

from enginesmith.compat.findings import Finding, Severity
from enginesmith.compat.walk import proto_subgraphs

MAX_DEPTH = 24
"""Subgraphs within subgraphs; protobuf itself stops at about this many, and passes over graphs recurse."""


def load(path: Path) -> tuple[ir.Model | None, list[Finding]]:
    """The model with its external weights unread, and what is wrong with it; None where nothing can be loaded.

    Nodes out of order are put in order, with a finding. Raises OSError when the file can't be read.
    """
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except DecodeError as error:
        return None, [_finding("error", f"the file is no ONNX model, or is cut off: {error}", "export it again")]
    if not proto.graph.node and not proto.graph.output and not proto.graph.input:
        return None, [_finding("error", "the file holds no graph: it is no ONNX model, or empty", "export it again")]
    findings = [*_external(proto, path.parent)]
    depth = _depth(proto.graph)
    if depth > MAX_DEPTH:
        return None, [
            _finding("error", f"{depth} subgraphs lie within each other", f"flatten it to {MAX_DEPTH} at most")
        ]
    if _garbled(proto.graph):
        return None, [_finding("error", "the file is damaged: a name in it is no text", "export it again")]
    findings += _order(proto.graph, "")
    if any(finding.severity == "error" for finding in findings):
        return None, findings
    try:
        return ir.from_proto(proto) if not _needs_folder(proto) else ir.load(path), findings
    except Exception as error:  # noqa: BLE001 - a malformed proto raises anything
        reason = " ".join(str(error).split())[:300]
        return None, [*findings, _finding("error", f"the graph is malformed: {reason}", "export it again")]


def _finding(severity: Severity, message: str, remedy: str, node: str = "", op: str = "") -> Finding:
    return Finding(severity=severity, op=op, node=node, backend="", versions="", message=message, remedy=remedy)


def _needs_folder(proto: onnx.ModelProto) -> bool:
    return any(external_data_helper.uses_external_data(tensor) for tensor in proto.graph.initializer)


def _external(proto: onnx.ModelProto, folder: Path) -> Iterator[Finding]:
    """External data that isn't there, is too short, or lies outside the model's folder."""
    for tensor in proto.graph.initializer:
        if not external_data_helper.uses_external_data(tensor):
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = folder / location
        if not location or Path(location).is_absolute() or not file.resolve().is_relative_to(folder.resolve()):
            yield _finding("error", f"weights of {tensor.name} lie outside the model's folder: {location}", "move them")
        elif not file.is_file():
            yield _finding(
                "error", f"the file {location} with the weights of {tensor.name} is missing", "put it beside the model"
            )
        elif file.stat().st_size < _number(entries.get("offset")) + _number(entries.get("length")):
            yield _finding("error", f"{location} is too short for the weights of {tensor.name}", "copy it again")


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _subgraphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    for node in graph.node:
        yield from proto_subgraphs(node)


def _garbled(graph: onnx.GraphProto) -> bool:
    """Is a name no UTF-8? protobuf hands it out as bytes then."""
    names: list[object] = [value.name for part in (graph.input, graph.output, graph.initializer) for value in part]
    for node in graph.node:
        names += [node.op_type, node.name, node.domain, *node.input, *node.output]
    return any(not isinstance(name, str) for name in names) or any(map(_garbled, _subgraphs(graph)))


def _depth(graph: onnx.GraphProto) -> int:
    """How many graphs lie within each other."""
    level, depth = [graph], 0
    while level and depth <= 10 * MAX_DEPTH:
        depth += 1
        level = [inner for outer in level for inner in _subgraphs(outer)]
    return depth


def _order(graph: onnx.GraphProto, outer: str) -> list[Finding]:
    """Put the nodes in order if they aren't, in place; a cycle, and a value that two nodes write, are errors."""
    findings = []
    written: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in node.output:
            if name and name in written:
                findings.append(
                    _finding("error", f"two nodes write {name}", "give each its own name", name, node.op_type)
                )
            if name:
                written[name] = index
    needs = [{written[name] for name in _reads(node) if name in written} - {i} for i, node in enumerate(graph.node)]
    itself = [i for i, node in enumerate(graph.node) if set(node.output) & set(node.input) - {""}]
    if any(need > index for index, found in enumerate(needs) for need in found) or itself:
        order = _sorted(needs)
        if len(order) < len(needs) or itself:
            stuck = itself[0] if itself else min(set(range(len(needs))) - set(order))
            node = graph.node[stuck]
            name = node.name or next(iter(node.output), "")
            findings.append(_finding("error", "the graph has a cycle through this node", "cut it", name, node.op_type))
            return findings
        nodes = [graph.node[index] for index in order]
        ordered = onnx.GraphProto(node=nodes)
        del graph.node[:]
        graph.node.extend(ordered.node)
        findings.append(
            _finding(
                "warning", f"the nodes{outer} are not in order, which most tools refuse", "sort them topologically"
            )
        )
    for inner in _subgraphs(graph):
        findings += _order(inner, f" of the subgraph {inner.name}")
    return findings


def _reads(node: onnx.NodeProto) -> set[str]:
    """Every name that a node or a graph within it reads."""
    read = set(node.input)
    inside = proto_subgraphs(node)
    while inside:
        graph = inside.pop()
        read.update(value.name for value in graph.output)
        for inner in graph.node:
            read.update(inner.input)
        inside += _subgraphs(graph)
    return read


def _sorted(needs: list[set[int]]) -> list[int]:
    """Kahn's algorithm, stable for nodes that are in order; shorter than `needs` when there is a cycle."""
    readers: list[list[int]] = [[] for _ in needs]
    for index, found in enumerate(needs):
        for need in found:
            readers[need].append(index)
    waiting = [len(found) for found in needs]
    ready = deque(index for index, count in enumerate(waiting) if not count)
    order = []
    while ready:
        index = ready.popleft()
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return order
