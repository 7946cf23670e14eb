"""The largest magnitude of every float32 tensor, subgraphs included, over some inputs.

Each tensor is reduced to one number within the graph, so that the run needs no more memory than the model does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.saving import save
from enginesmith.converters.graphs import onnxruntime
from enginesmith.converters.graphs.structure import FLOAT, is_float, subgraphs

Ranges = dict[str, float]
"""Value name to the largest magnitude that it had, NaN or infinity among them. Values that no run reached are left out."""
Probe = tuple[str, ir.Value]
"""A tensor's name, and the value of shape [1] that holds its largest magnitude."""


def measure_ranges(model: ir.Model, feeds: Iterable[Mapping[str, Any]], folder: Path) -> Ranges:
    """Run the model on `feeds` in ONNX Runtime; `folder` holds the instrumented file. Value names must be unique."""
    graph = model.graph.clone()
    probes = _instrument(graph)
    names = [f"{name}/peak" for name, _ in probes]
    for name, (_, value) in zip(names, probes, strict=True):
        value.name = name
        graph.outputs.append(value)
    path = folder / "ranges.onnx"
    save(ir.Model(graph, ir_version=model.ir_version), path)
    session = onnxruntime.session(path, optimize=False)
    ranges: Ranges = {}
    for feed in feeds:
        for (name, _), peak in zip(probes, session.run(names, dict(feed)), strict=True):
            before, found = ranges.get(name, -1.0), float(peak[0])
            ranges[name] = found if np.isnan(found) else max(before, found)
    return {name: peak for name, peak in ranges.items() if not peak < 0}


def _instrument(graph: ir.Graph) -> list[Probe]:
    """Add the nodes that reduce every float32 tensor of the graph, in place."""
    own_nodes = list(graph)
    if not own_nodes:
        return []
    probes = []
    for value in graph.inputs:
        if is_float(value):
            nodes, peak = _peak(value)
            graph.insert_before(own_nodes[0], nodes)
            probes.append((value.name or "", peak))
    for node in (node for node in own_nodes if node.op_type != "Constant"):
        own = [value for value in node.outputs if value.name and is_float(value)]
        probes += _hoist(graph, node)
        for value in own:
            nodes, peak = _peak(value)
            graph.insert_after(node, nodes)
            probes.append((value.name or "", peak))
    return probes


def _peak(value: ir.Value, reduced_before: bool = False) -> tuple[list[ir.Node], ir.Value]:
    """max(|x|, -1) over all elements: -1 stands for a tensor that has none, or that no run has reached."""
    name = f"{value.name}/reduced" if reduced_before else value.name or ""
    size = _constant(np.array([-1], np.int64), f"{name}/size")
    none = _constant(np.array([-1], np.float32), f"{name}/none")
    magnitude = _node("Identity" if reduced_before else "Abs", f"{name}/abs", [value])
    flat = _node("Reshape", f"{name}/flat", [*magnitude.outputs, *size.outputs])
    joined = _node("Concat", f"{name}/joined", [*flat.outputs, *none.outputs], axis=0)
    reduced = _node("ReduceMax", f"{name}/largest", joined.outputs, keepdims=1)
    reduced.outputs[0].type = ir.TensorType(FLOAT)
    reduced.outputs[0].shape = ir.Shape([1])
    return [size, none, magnitude, flat, joined, reduced], reduced.outputs[0]


def _node(op: str, name: str, inputs: Sequence[ir.Value], **attributes: Any) -> ir.Node:
    return ir.node(op, inputs, attributes, outputs=[ir.Value(name=name)])


def _constant(array: np.ndarray[Any, Any], name: str) -> ir.Node:
    return _node("Constant", name, [], value=ir.tensor(array))


def _hoist(graph: ir.Graph, node: ir.Node) -> list[Probe]:
    """Bring the probes of a node's subgraphs out through new outputs. A branch not taken answers -1."""
    inner = list(subgraphs(node))
    if node.op_type not in ("If", "Loop") or not inner:
        return []
    made: list[Probe] = []
    found = [_instrument(branch) for branch in inner]
    for at, probes in enumerate(found):
        for name, peak in probes:
            for index, branch in enumerate(inner):
                if index == at:
                    branch.outputs.append(peak)
                    continue
                absent = _constant(np.array([-1], np.float32), f"{name}/absent")
                absent.outputs[0].type, absent.outputs[0].shape = ir.TensorType(FLOAT), ir.Shape([1])
                branch.append(absent)
                branch.outputs.append(absent.outputs[0])
            node.resize_outputs(len(node.outputs) + 1)
            out = node.outputs[-1]
            out.name, out.type = f"{name}/peaks", ir.TensorType(FLOAT)
            nodes, reduced = _peak(out, reduced_before=True)  # of a Loop: one number for each iteration
            graph.insert_after(node, nodes)
            made.append((name, reduced))
    return made
