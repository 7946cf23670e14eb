"""Layers of the engine and kernels of ONNX Runtime that compute the same nodes, as small groups as both fusions allow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import onnx

from enginesmith.converters.backends.tvm.profiling.coverage import Coverage
from enginesmith.converters.core.engine_layers import Group, Layer


def groups(
    graph: onnx.GraphProto,
    layers: Sequence[Layer],
    layer_times: Sequence[float],
    optimized: onnx.GraphProto,
    kernel_times: Mapping[int, float],
) -> list[Group]:
    """Every layer and every kernel with a time is in one group, in the graph's order; what can't be placed comes last.

    `kernel_times` by the number of the node in `optimized`. Milliseconds.
    """
    coverage = Coverage(graph, optimized)
    numbers = {next(filter(None, node.output), ""): number for number, node in enumerate(graph.node)}
    parts: dict[tuple[str, int], set[int]] = {}
    for number, layer in enumerate(layers):
        # A node that a lower precision needs, which ONNX Runtime's graph has not, is called by its tensor and a slash.
        near = (numbers.get(name, numbers.get(name.rpartition("/")[0])) for name in layer.nodes)
        parts["layer", number] = {place for place in near if place is not None}
    for number in kernel_times:
        parts["kernel", number] = coverage.covered[number]
    root = list(range(len(graph.node)))

    def find(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for nodes in parts.values():
        for node in nodes:
            root[find(node)] = find(min(nodes))
    members: dict[int | None, list[tuple[str, int]]] = defaultdict(list)
    for part, nodes in parts.items():
        members[find(min(nodes)) if nodes else None].append(part)
    nodes_of = defaultdict(list)
    for node in sorted(set().union(*parts.values())):
        nodes_of[find(node)].append(node)
    places = sorted((key for key in members if key is not None), key=lambda key: nodes_of[key][0])
    made = [_group(graph, nodes_of[place], members[place], layer_times, optimized, kernel_times) for place in places]
    if None in members:
        made.append(_group(graph, [], members[None], layer_times, optimized, kernel_times))
    return made


def _group(
    graph: onnx.GraphProto,
    nodes: Sequence[int],
    members: Sequence[tuple[str, int]],
    layer_times: Sequence[float],
    optimized: onnx.GraphProto,
    kernel_times: Mapping[int, float],
) -> Group:
    layers = [number for side, number in members if side == "layer"]
    kernels = [number for side, number in members if side == "kernel"]
    return Group(
        layers=layers,
        kernels=[optimized.node[number].op_type for number in kernels],
        nodes=[next(filter(None, graph.node[number].output), "") for number in nodes],
        ops=[graph.node[number].op_type for number in nodes],
        engine_ms=sum(layer_times[number] for number in layers),
        onnxruntime_ms=sum(kernel_times[number] for number in kernels),
    )
