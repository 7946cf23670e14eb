"""Cut a graph: keep some of its nodes, and make what they took from the others into inputs or constants.

Every function returns a changed copy, or None where there is no such model. A node is known by its place in its graph,
and a graph by its `Place`, so that both can be found again in a copy.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import onnx_ir as ir

from enginesmith.converters.bisect.feeds import SHAPE, VALUE

Place = tuple[tuple[int, str, int], ...]
"""The way to a graph from the main one: index of a node, its attribute, index in that attribute's list of graphs."""

MAIN: Place = ()


def graph_at(model: ir.Model, place: Place) -> ir.Graph:
    graph = model.graph
    for index, attribute, number in place:
        graph = graphs_of(graph[index])[attribute, number]
    return graph


def graphs_of(node: ir.Node) -> dict[tuple[str, int], ir.Graph]:
    """The graphs in a node's attributes, by the attribute's name and the index in its list."""
    found = {}
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            found[name, 0] = attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            found |= {(name, number): graph for number, graph in enumerate(attribute.as_graphs())}
    return found


def bodies(model: ir.Model) -> list[Place]:
    """The places of all subgraphs, outer ones before those in them."""

    def below(graph: ir.Graph, place: Place) -> Iterator[Place]:
        for index, node in enumerate(graph):
            for (name, number), body in graphs_of(node).items():
                inner = (*place, (index, name, number))
                yield inner
                yield from below(body, inner)

    return list(below(model.graph, MAIN))


def used_by(nodes: Iterable[ir.Node]) -> set[ir.Value]:
    """Every value that the nodes, or the graphs in them, take."""
    used: set[ir.Value] = set()
    for node in nodes:
        used.update(value for value in node.inputs if value is not None)
        for body in graphs_of(node).values():
            used |= used_by(body) | set(body.outputs)
    return used


def keep(model: ir.Model, place: Place, kept: Collection[int], *, constants: bool) -> ir.Model | None:
    """The model with only these nodes of the graph at `place`.

    A value that a kept node took from one that goes becomes an input of the model or, with `constants` and where its
    value is on record, an initializer. The main graph's outputs are then those it had, and what nobody takes any more;
    a subgraph's outputs stay, passed through an Identity where their node is gone.

    None where no node or no output is left, or a type that is needed isn't known.
    """
    changed = model.clone()
    graph = graph_at(changed, place)
    nodes = list(graph)
    kept_nodes = [node for index, node in enumerate(nodes) if index in kept]
    removed = [node for index, node in enumerate(nodes) if index not in kept]
    if not kept_nodes:
        return None
    used_before = used_by(nodes)
    used = used_by(kept_nodes)
    lost = {value for node in removed for value in node.outputs}
    passed = [value for value in graph.outputs if value in lost] if place else []
    stand_ins: dict[ir.Value, ir.Value] = {}
    for value in dict.fromkeys([*_ordered(lost & used, removed), *passed]):
        stand_in = _stand_in(changed, value, constants=constants)
        if stand_in is None:
            return None
        stand_ins[value] = stand_in
    if place:
        _pass_through(graph, stand_ins)
    else:
        outputs = [value for value in graph.outputs if value not in lost]
        for node in kept_nodes:
            own = [value for value in node.outputs if value.name]
            if not any(value in used or value in outputs for value in own):
                outputs += [value for value in own if value in used_before] or own
        if not outputs:
            return None
        graph.outputs.clear()
        graph.outputs.extend(dict.fromkeys(outputs))
    for value, stand_in in stand_ins.items():
        value.replace_all_uses_with(stand_in, replace_graph_outputs=True)
    graph.remove(removed)
    prune(changed)
    return changed


def lift(model: ir.Model, place: Place) -> ir.Model | None:
    """The subgraph at `place` as a model of its own; what it took from outside becomes inputs and initializers."""
    changed = model.clone()
    body = graph_at(changed, place)
    own = {value for node in body for value in node.outputs} | {*body.inputs, *body.initializers.values()}
    outer = (used_by(body) | set(body.outputs)) - own - {v for inner in _inner(body) for v in inner}
    lifted = ir.Model(
        body,
        ir_version=changed.ir_version,
        functions=list(changed.functions.values()),
        metadata_props=dict(changed.metadata_props),
    )
    body.opset_imports.update(changed.graph.opset_imports)
    body.name = body.name or "body"
    if not len(body) or not any(value in own for value in body.outputs):
        return None
    outputs = [value for value in dict.fromkeys(body.outputs) if value.producer() is not None]
    body.outputs.clear()
    body.outputs.extend(outputs)
    for value in sorted(outer, key=lambda value: value.name or ""):
        stand_in = _stand_in(lifted, value, constants=True)
        if stand_in is None:
            return None
        value.replace_all_uses_with(stand_in, replace_graph_outputs=True)
    if not outputs or any(value.type is None for value in (*body.inputs, *outputs)):
        return None
    prune(lifted)
    return lifted


def bypass(model: ir.Model, skipped: Collection[int]) -> ir.Model | None:
    """The model without these nodes of the main graph: whoever took their first output takes an input of the same type
    and shape instead. None where one of them has no such input."""
    changed = model.clone()
    nodes = list(changed.graph)
    for index in sorted(skipped):  # a source that goes too has been replaced by then
        node = nodes[index]
        source = like_output(node)
        if source is None or any(value in changed.graph.outputs for value in node.outputs):
            return None
        node.outputs[0].replace_all_uses_with(source)
    if any(
        list(nodes[index].outputs[1:]) and used_by(changed.graph) & {*nodes[index].outputs[1:]} for index in skipped
    ):
        return None
    changed.graph.remove([nodes[index] for index in skipped])
    prune(changed)
    return changed


def like_output(node: ir.Node) -> ir.Value | None:
    """The first input with the type and the static shape of the first output."""
    out = node.outputs[0] if node.outputs else None
    if out is None or out.shape is None or out.dtype is None or not out.shape.is_static():
        return None
    return next((v for v in node.inputs if v is not None and v.dtype == out.dtype and v.shape == out.shape), None)


def prune(model: ir.Model) -> None:
    """Remove initializers and inputs that nothing takes, in place. The inputs of subgraphs are their signature."""
    used = used_by(model.graph) | set(model.graph.outputs)
    for graph in (model.graph, *(graph_at(model, place) for place in bodies(model))):
        for name, value in list(graph.initializers.items()):
            if value not in used:
                del graph.initializers[name]
    kept = [value for value in model.graph.inputs if value in used]
    model.graph.inputs.clear()
    model.graph.inputs.extend(kept)


def typed(value: ir.Value) -> bool:
    """Whether enough is known of a value to declare it as an input."""
    if isinstance(value.type, ir.TensorType):
        return value.shape is not None and value.dtype not in (None, ir.DataType.UNDEFINED)
    return value.type is not None


def _stand_in(model: ir.Model, value: ir.Value, *, constants: bool) -> ir.Value | None:
    """A new input or initializer of the main graph with the value's name, type, shape and what is on record of it."""
    tensor = value.const_value
    if tensor is None and constants and VALUE in value.metadata_props and value.dtype is not None:
        array = np.array(json.loads(value.metadata_props[VALUE]), dtype=value.dtype.numpy())
        if SHAPE in value.metadata_props:  # an empty list doesn't say all
            array = array.reshape(json.loads(value.metadata_props[SHAPE]))
        tensor = ir.tensor(array, name=value.name)
    if tensor is None and not typed(value):
        return None
    shape = value.shape.copy() if value.shape is not None else None
    if SHAPE in value.metadata_props:
        shape = ir.Shape(json.loads(value.metadata_props[SHAPE]))
    made = ir.Value(
        name=value.name,
        type=value.type,
        shape=shape,
        const_value=tensor,
        metadata_props=dict(value.metadata_props),
    )
    if tensor is None:
        model.graph.inputs.append(made)
    else:
        model.graph.register_initializer(made)
    return made


def _pass_through(graph: ir.Graph, stand_ins: dict[ir.Value, ir.Value]) -> None:
    """A subgraph must produce its outputs itself."""
    for position, value in enumerate(graph.outputs):
        if value in stand_ins:
            node = ir.Node("", "Identity", [stand_ins[value]], num_outputs=1)
            out = node.outputs[0]
            out.name, out.type, out.shape = f"{value.name}_passed", value.type, value.shape
            graph.append(node)
            graph.outputs[position] = out


def _ordered(values: set[ir.Value], nodes: Iterable[ir.Node]) -> list[ir.Value]:
    return [value for node in nodes for value in node.outputs if value in values]


def _inner(graph: ir.Graph) -> Iterator[set[ir.Value]]:
    """The values that the graphs within a graph define themselves."""
    for node in graph:
        for body in graphs_of(node).values():
            yield {*body.inputs, *body.initializers.values(), *(value for n in body for value in n.outputs)}
            yield from _inner(body)
