"""Ways to make a failing model smaller without taking nodes out: what in it can be dropped.

Each way lists what there is to drop, and drops some of it from a copy; `minimise` finds out what has to stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.converters.bisect.feeds import SHAPE, VALUE, record
from enginesmith.converters.bisect.surgery import bodies, bypass, graph_at, graphs_of, like_output, prune, typed

SMALL_BYTES = 512
"""Constants up to this size stay what they are: they may be sizes and axes, and weigh nothing."""
FILL = 0.5
"""What a weight is filled with: an ordinary number of every type, and 0 for integers."""

Item = Hashable


@dataclass(frozen=True)
class Way:
    """One way to shrink. `drop` returns a changed copy without the given items, None where there is no such model."""

    name: str
    items: Callable[[ir.Model], Sequence[Item]]
    drop: Callable[[ir.Model, Collection[Any]], ir.Model | None]
    must_run: bool = False
    """A model that ran in ONNX Runtime must do so still: for changes that can make it contradict itself."""


def _graphs(model: ir.Model) -> list[ir.Graph]:
    return [model.graph, *(graph_at(model, place) for place in bodies(model))]


def _nodes(model: ir.Model) -> list[ir.Node]:
    """All nodes, subgraphs included, in the same order in every copy."""
    return [node for graph in _graphs(model) for node in graph]


def constant_nodes(model: ir.Model) -> list[Item]:
    return [
        index for index, node in enumerate(model.graph) if node.op_type == "Constant" and node.domain in ("", "ai.onnx")
    ]


def lift_constants(model: ir.Model, indices: Collection[int]) -> ir.Model | None:
    """Constant nodes of the main graph become initializers."""
    changed = model.clone()
    nodes = list(changed.graph)
    for index in indices:
        out = nodes[index].outputs[0]
        tensor = ir.convenience.get_const_tensor(out)
        if tensor is None or out in changed.graph.outputs:
            return None
        made = ir.Value(
            name=out.name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.numpy().shape), const_value=tensor
        )
        changed.graph.register_initializer(made)
        out.replace_all_uses_with(made)
    changed.graph.remove([nodes[index] for index in indices])
    return changed if len(changed.graph) else None


def bypasses(model: ir.Model) -> list[Item]:
    return [index for index, node in enumerate(model.graph) if like_output(node) is not None]


def outputs(model: ir.Model) -> list[Item]:
    return list(range(len(model.graph.outputs)))


def drop_outputs(model: ir.Model, indices: Collection[int]) -> ir.Model | None:
    changed = model.clone()
    kept = [value for index, value in enumerate(changed.graph.outputs) if index not in indices]
    if not kept:
        return None
    changed.graph.outputs.clear()
    changed.graph.outputs.extend(kept)
    return changed


def optional_inputs(model: ir.Model) -> list[Item]:
    """(node, input) by index, for all inputs but the first: which are optional, the checker knows."""
    return [
        (number, index)
        for number, node in enumerate(_nodes(model))
        for index, value in enumerate(node.inputs)
        if index and value is not None
    ]


def drop_inputs(model: ir.Model, pairs: Collection[tuple[int, int]]) -> ir.Model | None:
    changed = model.clone()
    nodes = _nodes(changed)
    for number, index in pairs:
        nodes[number].replace_input_with(index, None)
    for number in {number for number, _ in pairs}:
        while len(nodes[number].inputs) and nodes[number].inputs[-1] is None:
            nodes[number].resize_inputs(len(nodes[number].inputs) - 1)
    prune(changed)
    return changed


def attributes(model: ir.Model) -> list[Item]:
    """(node, name) of all attributes but graphs."""
    return [
        (number, name)
        for number, node in enumerate(_nodes(model))
        for name in node.attributes
        if not any(name == key for key, _ in graphs_of(node))
    ]


def drop_attributes(model: ir.Model, pairs: Collection[tuple[int, str]]) -> ir.Model | None:
    changed = model.clone()
    nodes = _nodes(changed)
    for number, name in pairs:
        del nodes[number].attributes[name]
    return changed


def weights(model: ir.Model) -> list[Item]:
    """Names of the large initializers of the main graph."""
    named = model.graph.initializers.items()
    return [name for name, value in named if value.const_value is not None and value.const_value.nbytes > SMALL_BYTES]


def weights_to_inputs(model: ir.Model, names: Collection[str]) -> ir.Model | None:
    changed = model.clone()
    for name in names:
        value = changed.graph.initializers.pop(name)
        if not typed(value):
            return None
        tensor, value.const_value = value.const_value, None
        if tensor is not None:
            value.metadata_props.update(record(tensor.numpy()))
        if value not in changed.graph.inputs:
            changed.graph.inputs.append(value)
    return changed


def plain_weights(model: ir.Model) -> list[Item]:
    """Large initializers of numbers that aren't all the same yet."""
    return [name for name in weights(model) if not _uniform(model.graph.initializers[str(name)])]


def fill_weights(model: ir.Model, names: Collection[str]) -> ir.Model | None:
    changed = model.clone()
    for name in names:
        value = changed.graph.initializers[name]
        assert value.const_value is not None
        array = value.const_value.numpy()
        value.const_value = ir.tensor(np.full(array.shape, FILL).astype(array.dtype), name=name)
    return changed


def _uniform(value: ir.Value) -> bool:
    assert value.const_value is not None
    array = value.const_value.numpy()
    return array.dtype.kind in "OSU" or bool((array == array.flat[0]).all())


def sizes(model: ir.Model, target: int) -> list[Item]:
    """Sizes above `target` of the dimensions of inputs and initializers, the largest first."""
    found = {size for value in _roots(model) for size in _dims(value) if size > target}
    return sorted(found, reverse=True)


def shrink_sizes(model: ir.Model, chosen: Collection[int], *, target: int, values: bool) -> ir.Model | None:
    """Every dimension of such a size of inputs and initializers becomes `target`; with `values` also the number where it
    stands in integer attributes and in small integer constants. What was known of other shapes is forgotten."""
    changed = model.clone()
    for value in _roots(changed):
        old = _dims(value)
        new = [target if size in chosen else size for size in old]
        tensor = value.const_value
        if tensor is not None:
            array = tensor.numpy()[tuple(slice(size) for size in new)]
            if values and array.dtype.kind == "i" and array.nbytes <= SMALL_BYTES:
                array = np.where(np.isin(array, list(chosen)), target, array).astype(array.dtype)
            if array is not tensor.numpy():
                value.const_value = ir.tensor(
                    np.ascontiguousarray(array).reshape(new), dtype=tensor.dtype, name=value.name
                )
        if new != old:
            value.shape = ir.Shape(new)
            value.metadata_props.pop(VALUE, None)
            value.metadata_props.pop(SHAPE, None)
    for node in _nodes(changed):
        for out in node.outputs:
            out.shape = None if out.shape is None else ir.Shape([None] * len(out.shape))
            out.metadata_props.clear()
        if values:
            _replace_numbers(node, chosen, target)
    return changed


def _replace_numbers(node: ir.Node, chosen: Collection[int], target: int) -> None:
    for name, attribute in list(node.attributes.items()):
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.INT and attribute.as_int() in chosen:
            node.attributes[name] = ir.AttrInt64(name, target)
        elif attribute.type == ir.AttributeType.INTS:
            node.attributes[name] = ir.AttrInt64s(name, [target if n in chosen else n for n in attribute.as_ints()])


def _roots(model: ir.Model) -> list[ir.Value]:
    return list(dict.fromkeys([*model.graph.inputs, *model.graph.initializers.values()]))


def _dims(value: ir.Value) -> list[Any]:
    """Sizes of a tensor with a static shape, nothing of others."""
    if value.shape is None or not value.shape.is_static():
        return []
    return list(value.shape.numpy())


def texts(model: ir.Model) -> list[Item]:
    """Kinds of remarks: they may hold the author's paths and sources."""
    return ["remarks"]


def drop_texts(model: ir.Model, kinds: Collection[str]) -> ir.Model | None:
    """Doc strings and metadata of the model, its graphs and its nodes go; what is on record of values stays."""
    changed = model.clone()
    if not kinds:
        return changed
    changed.doc_string = None
    changed.metadata_props.clear()
    for graph in _graphs(changed):
        graph.doc_string = None
        graph.metadata_props.clear()
        for node in graph:
            node.doc_string = None
            node.metadata_props.clear()
    return changed


def _sizes_way(target: int, values: bool) -> Way:
    name = f"sizes to {target}" + (", with the numbers equal to them" if values else "")
    return Way(name, partial(sizes, target=target), partial(shrink_sizes, target=target, values=values), must_run=True)


FIRST: tuple[Way, ...] = (Way("constants", constant_nodes, lift_constants),)
"""Before the nodes: they then count what computes."""

WAYS: tuple[Way, ...] = (
    Way("nodes passed by", bypasses, bypass, must_run=True),
    Way("outputs", outputs, drop_outputs),
    Way("weights to inputs", weights, weights_to_inputs),
    Way("weights filled", plain_weights, fill_weights),
    Way("optional inputs", optional_inputs, drop_inputs),
    Way("attributes", attributes, drop_attributes),
    *(_sizes_way(target, values) for target in (1, 2) for values in (False, True)),
    Way("remarks", texts, drop_texts),
)
"""After the nodes, in this order: each makes the next one's tests cheaper."""
