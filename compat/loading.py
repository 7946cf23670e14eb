"""Load an ONNX file that may be anything: what is wrong with the file itself becomes findings.

Everything that takes an ONNX file from outside reads it here first: before this, nothing in it is believed.
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from enginesmith.compat import interface
from enginesmith.compat.findings import Finding
from enginesmith.compat.footprint import Need, footprint
from enginesmith.compat.soundness import finding, problems, unlike_operators
from enginesmith.compat.walk import proto_subgraphs

MAX_DEPTH = 24
"""Subgraphs within subgraphs; protobuf itself stops at about this many, and passes over graphs recurse."""
MOST_BYTES = 2**31
"""Of one protobuf message."""
MOST_FINDINGS = 20


def load(path: Path, memory: int = 0) -> tuple[ir.Model | None, list[Finding]]:
    """The model with its external weights unread, and what is wrong with it; None where nothing can be loaded. `memory` is
    what its tensors may take, in bytes; 0 for any amount.

    Nodes out of order are put in order, with a finding. Raises OSError when the file can't be read.
    """
    proto, findings = read(path, memory)
    if proto is None:
        return None, findings
    try:
        model = ir.from_proto(proto)
        ir.external_data.set_base_dir(model.graph, path.parent)
    except Exception as error:  # noqa: BLE001 - a malformed proto raises anything
        return None, [*findings, finding(f"the graph is malformed: {_line(error)}")]
    return model, findings


def read(
    path: Path, memory: int = 0, sizes: Mapping[str, Sequence[int]] | None = None
) -> tuple[onnx.ModelProto | None, list[Finding]]:
    """As `load`, the file's own message. `sizes` are shapes of inputs that the graph leaves open."""
    proto, findings = _parse(path)
    if proto is None:
        return None, findings
    depth = _depth(proto)
    if depth > MAX_DEPTH:
        return None, [finding(f"{depth} subgraphs lie within each other", f"flatten it to {MAX_DEPTH} at most")]
    findings = [problem for problem, _ in zip(problems(proto, path.parent), range(MOST_FINDINGS), strict=False)]
    if not findings:
        findings += [*unlike_operators(proto), *_order(proto.graph, "")]
    if any(problem.severity == "error" for problem in findings):
        return None, findings
    if reason := _refused(path):
        return None, [*findings, finding(f"the file is not valid ONNX: {reason}")]
    if memory and (reason := too_large(footprint(proto, sizes), memory)):
        return None, [*findings, finding(reason, "make it smaller, or give it more with --memory GB")]
    findings += [finding(reason, "", severity="warning") for reason in interface.forget_unsound(proto)]
    return proto, findings


def too_large(need: Need, memory: int) -> str:
    """What is said of a graph that takes more than that many bytes, or for ever; empty of one that doesn't."""
    where = f"{need.op} {need.node}".strip()
    if need.steps:
        return f"{where} would run {need.steps:.3g} times, which no tool comes to the end of"
    if need.bytes > memory:
        return f"{where} would need {need.bytes / 2**30:.3g} GB of memory, and {memory / 2**30:.3g} GB are allowed"
    return ""


def _parse(path: Path) -> tuple[onnx.ModelProto | None, list[Finding]]:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        return None, [finding("it is no regular file", "give the .onnx file")]
    if found.st_size >= MOST_BYTES:
        return None, [
            finding(
                f"the file has {found.st_size / 2**30:.1f} GB; ONNX files have less than 2",
                "keep the weights beside it",
            )
        ]
    content = path.read_bytes()
    try:
        proto = onnx.ModelProto.FromString(content)
    except (DecodeError, RecursionError) as error:
        return None, [finding(f"it is no ONNX file: {_kind(content)} ({_line(error)})")]
    if not proto.graph.node and not proto.graph.output and not proto.graph.input:
        return None, [finding("it is no ONNX file, or its graph has no nodes")]
    return proto, []


def _kind(content: bytes) -> str:
    head = content[:64]
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer; fetch the file itself with `git lfs pull`"
    if head.isascii() and head.strip() and b"\0" not in head:
        return "a text file"
    return "cut off, nested too deep, or something else"


def _refused(path: Path) -> str:
    """What onnx's own checker says; empty where it says nothing, or only that it doesn't know an operator."""
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        # custom operators have no schema, which the backends' own checks will judge; the order is mended here
        known = ("No Op registered", "No opset import for domain", "topologically sorted", "sorted in topological")
        return "" if any(words in str(error) for words in known) else _line(error)
    except Exception as error:  # noqa: BLE001 - it raises a dozen types for what it can't read
        return _line(error)
    return ""


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _subgraphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    for node in graph.node:
        yield from proto_subgraphs(node)


def _depth(model: onnx.ModelProto) -> int:
    """How many graphs lie within each other."""
    nodes = [[*model.graph.node], *([*function.node] for function in model.functions)]
    level, depth = [node for each in nodes for node in each], 1
    while depth <= 10 * MAX_DEPTH and (graphs := [graph for node in level for graph in proto_subgraphs(node)]):
        depth += 1
        level = [node for graph in graphs for node in graph.node]
    return depth


def _order(graph: onnx.GraphProto, outer: str) -> list[Finding]:
    """Put the nodes in order if they aren't, in place; a cycle, and a value that two nodes write, are errors."""
    findings = []
    written: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in node.output:
            if name and name in written:
                findings.append(finding(f"two nodes write {name}", "give each its own name", name, node.op_type))
            if name:
                written[name] = index
    needs = [{written[name] for name in _reads(node) if name in written} - {i} for i, node in enumerate(graph.node)]
    itself = [i for i, node in enumerate(graph.node) if set(node.output) & _reads(node) - {""}]
    if any(need > index for index, found in enumerate(needs) for need in found) or itself:
        order = _sorted(needs)
        if len(order) < len(needs) or itself:
            stuck = itself[0] if itself else min(set(range(len(needs))) - set(order))
            node = graph.node[stuck]
            name = node.name or next(iter(node.output), "")
            findings.append(finding("the graph has a cycle through this node", "cut it", name, node.op_type))
            return findings
        nodes = [graph.node[index] for index in order]
        ordered = onnx.GraphProto(node=nodes)
        del graph.node[:]
        graph.node.extend(ordered.node)
        findings.append(
            finding(
                f"the nodes{outer} are not in order, which most tools refuse",
                "sort them topologically",
                severity="warning",
            )
        )
    for inner in _subgraphs(graph):
        findings += _order(inner, f" of the subgraph {inner.name}")
    return findings


def _reads(node: onnx.NodeProto) -> set[str]:
    """Every name that a node reads, or a graph within it that has no value of that name itself."""
    return {*node.input}.union(*map(_free, proto_subgraphs(node)))


def _free(graph: onnx.GraphProto) -> set[str]:
    own = {value.name for value in (*graph.input, *graph.initializer)}.union(*(node.output for node in graph.node))
    return {value.name for value in graph.output}.union(*map(_reads, graph.node)) - own


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
