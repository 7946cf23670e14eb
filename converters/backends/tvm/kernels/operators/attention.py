"""Attention, which graphs write out as a product, its scale and mask, a softmax and another product."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import relax

from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Settings
from enginesmith.converters.backends.tvm.kernels.attention import LEAST_SIZE, MOST_KEYS, Attention
from enginesmith.converters.backends.tvm.kernels.expression import HEAVY, Expression, Operand, Step
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, shape_of
from enginesmith.converters.backends.tvm.kernels.int8.quantized import view_of
from enginesmith.converters.backends.tvm.kernels.layout import NO_HALO
from enginesmith.converters.backends.tvm.kernels.steps import Elementwise, step_of
from enginesmith.converters.backends.tvm.kernels.views import Memory, Move, View, composed

RESHAPES = ("reshape", "squeeze", "expand_dims")


@dataclass(frozen=True)
class Source:
    """A tensor that the kernel reads, and how its memory becomes what the kernel sees."""

    tensor: Any
    moves: tuple[Move, ...]

    def seen(self, memory: Memory) -> Memory | None:
        view = composed(memory.view, self.moves)
        return None if view is None else Memory(memory.shape, view)


@dataclass
class Scores:
    """The first product, and what becomes of it before the softmax."""

    product: Node
    steps: list[tuple[Elementwise, Any, tuple[int, ...]]]
    """In their order: the step, which of its tensors is the score, and the shape that the scores have there."""
    inner: list[Node]
    """The nodes after the product."""


def match(graph: Graph, node: Node, settings: Settings) -> Anchor | None:
    """`node` is the second product."""
    shape, values = shape_of(node.var), shape_of(node.inputs[1])
    softmax = graph.producer_of(node.inputs[0], "softmax")
    given = shape_of(softmax.var) if softmax else None
    if shape is None or values is None or softmax is None or given is None or len(shape) < 3 or len(values) < 2:
        return None
    if int(softmax.attrs.axis) % len(given) != len(given) - 1 or given[:-2] != shape[:-2]:
        return None
    found = _scores(graph, softmax.inputs[0])
    if found is None:
        return None
    inner = [*found.inner, found.product, softmax]
    if len(graph.exclusive(inner, node)) < len(inner):
        return None
    (query, query_scale, before_query), (key, key_scale, before_key) = (
        _unscaled(graph, tensor) for tensor in found.product.inputs
    )
    if any(view_of(graph, tensor) for tensor in (query, key, node.inputs[1])):
        return None
    lead, (*before, rows, keys), depth = shape[:-2], shape_of(found.product.var) or (), (shape_of(query) or ())[-1]
    if min(rows, depth, shape[-1]) < LEAST_SIZE or keys > MOST_KEYS:
        return None
    swapped = [*range(len(before)), len(before) + 1, len(before)]
    operands, expression = _expression(graph, found, query_scale * key_scale, (*lead, rows, keys))
    sources = [
        Source(query, (_broadcast((*before, rows, depth)), _reshaped((*lead, rows, depth)))),
        Source(key, (_broadcast((*before, depth, keys)), _permuted(swapped), _reshaped((*lead, keys, depth)))),
        Source(node.inputs[1], (_broadcast((*lead, *values[-2:])),)),
        *operands,
    ]
    if any(source.seen(Memory((), View.whole(shape_of(source.tensor) or ()))) is None for source in sources):
        return None

    def make(memories: list[Memory], _: Any, __: Any) -> Any:
        found = (source.seen(memory) for source, memory in zip(sources, memories, strict=True))
        seen = [memory for memory in found if memory is not None]
        if len(seen) < len(sources):
            return None
        return Attention(settings.simd, seen[0], seen[1], seen[2], seen[3:], expression)

    return Anchor("attention", None, [(source.tensor, 0, NO_HALO) for source in sources], make, fuses=False, strided=True,
                  inner=[*inner, *before_query, *before_key])  # fmt: skip


def _scores(graph: Graph, tensor: Any) -> Scores | None:
    """What a tensor is made of, if that is a product of two activations and elementwise operators on it."""
    node, shape = graph.producer.get(tensor), shape_of(tensor)
    if node is None or shape is None or not node.op.startswith("relax."):
        return None
    if node.short_op == "matmul":
        shapes = [shape_of(side) for side in node.inputs]
        plain = all(side is not None and len(side) > 1 for side in shapes) and graph.constant(node.inputs[1]) is None
        return Scores(node, [], []) if plain else None
    if node.short_op in RESHAPES:
        found = _scores(graph, node.inputs[0]) if (shape_of(node.inputs[0]) or ())[-2:] == shape[-2:] else None
        return found and replace(found, inner=[*found.inner, node])
    step = step_of(graph, node)
    if step is None or step.op in HEAVY or None in map(shape_of, step.tensors):
        return None
    for main in step.tensors:
        found = _scores(graph, main) if shape_of(main) == shape else None
        if found:
            return Scores(found.product, [*found.steps, (step, main, shape)], [*found.inner, node])
    return None


def _unscaled(graph: Graph, tensor: Any) -> tuple[Any, float, list[Node]]:
    """A tensor without the numbers that it is multiplied by, their product, and the nodes that do so."""
    scale, nodes = 1.0, []
    while (node := graph.producer.get(tensor)) is not None:
        step = step_of(graph, node)
        if step is None or step.op not in ("multiply_number", "divide_by_number"):
            break
        factor = step.constants[0] if step.op == "multiply_number" else 1 / step.constants[0]
        tensor, scale = step.tensors[0], scale * factor
        nodes.append(node)
    return tensor, scale, nodes


def _expression(graph: Graph, scores: Scores, scale: float, shape: tuple[int, ...]) -> tuple[list[Source], Expression]:
    """The steps on the scores, of `shape` in the end, and the tensors that they read besides."""
    operands: list[Source] = []
    count = sum(not tensor.same_as(main) for step, main, _ in scores.steps for tensor in step.tensors)
    steps = [Step("multiply_number", (0,), (scale,))] if scale != 1.0 else []
    for step, main, at in scores.steps:
        value = count + len(steps) if steps else 0
        arguments = []
        for tensor in step.tensors:
            if tensor.same_as(main):
                arguments.append(value)
                continue
            operands.append(_operand(graph, tensor, (_broadcast(at), _reshaped(shape))))
            arguments.append(len(operands))
        steps.append(Step(step.op, tuple(arguments), step.constants))
    return operands, Expression(tuple(Operand("view") for _ in operands), tuple(steps))


def _operand(graph: Graph, tensor: Any, moves: tuple[Move, ...]) -> Source:
    """A constant is stored with its rows next to each other, as the kernel reads it."""
    array = graph.constant(tensor)
    if array is None or array.ndim < 2:
        return Source(tensor, moves)
    order = [*range(array.ndim - 2), array.ndim - 1, array.ndim - 2]
    turned = relax.const(np.ascontiguousarray(array.transpose(order)))
    return Source(turned, (_permuted(order), *moves))


def _broadcast(shape: tuple[int, ...]) -> Move:
    return lambda view: view.broadcast(shape)


def _reshaped(shape: tuple[int, ...]) -> Move:
    return lambda view: view.reshaped(shape)


def _permuted(order: list[int]) -> Move:
    return lambda view: view.permuted(order)
