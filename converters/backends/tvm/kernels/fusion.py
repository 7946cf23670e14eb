"""Elementwise operators after a kernel's own, gathered into the expression that the kernel applies before it stores."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, result_shape, shape_of, sizes_of
from enginesmith.converters.backends.tvm.kernels.int8.quantized import view_of
from enginesmith.converters.backends.tvm.kernels.steps import Elementwise, step_of

MOST_STEPS = 24
Kind = Literal["tensor", "pooled", "channel", "number", "view"]
Classify = Callable[[Any], Kind | None]
"""What an outside tensor is to the result; None where the kernel can't read it."""


@dataclass
class Chain:
    """Operators in order, and the steps that compute them; the last step's result is the chain's."""

    members: list[Node] = field(default_factory=list)
    steps: list[Elementwise] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    """The variable that each step computes."""
    operands: dict[Any, Kind] = field(default_factory=dict)
    """Tensors from outside, in the order of their first use."""


def grow(
    graph: Graph,
    start: Node,
    source: Any,
    classify: Classify,
    taken: Collection[int],
    scale: Any = None,
    *,
    floats: bool = False,
) -> Chain:
    """The longest chain of elementwise operators from `start` on of which nothing but the end is used elsewhere.

    `source` is value 0: the result of `start`, which is no member then, or a tensor that `start` reads, which makes
    `start` the first member. A kernel that computes in integers gives `scale`, a constant by which its result is multiplied
    first. Other tensors that lie in memory as integers are multiplied by their scale too; a
    kernel that reads and writes `floats` alone gets none of them, and rounds nothing. A QuantizeLinear is always the end.
    """
    shape = result_shape(start)
    first = not source.same_as(start.var)
    chain = Chain()
    inside = [] if first else [start.var]
    best = 0
    waiting = [start] if first else sorted(graph.users[start.var], key=lambda node: node.index)
    tried: set[int] = set()
    while waiting and len(chain.members) < MOST_STEPS:
        node = waiting.pop(0)
        if node.index in tried:
            continue
        tried.add(node.index)
        step = None if node.index in taken or sizes_of(node.var) != shape else step_of(graph, node)
        if step is None or (floats and node.op == "relax.quantize"):
            continue
        fed = _feeders(graph, start, step, {source, *inside}, taken) if first else []
        added = [*(fed if len(chain.members) + len(fed) < MOST_STEPS else []), (node, step)]
        results = {source, *inside, *(member.var for member, _ in added)}
        outside = [tensor for _, work in added for tensor in work.tensors if tensor not in results]
        later = node is not start and any(
            isinstance(tensor, relax.Var) and graph.depends(tensor, start) for tensor in outside
        )
        if later or None in map(classify, outside):
            continue
        for member, work in added:
            tried.add(member.index)
            chain.members.append(member)
            chain.steps.append(work)
            inside.append(member.var)
        if result_shape(node) == shape and _closed(graph, inside):
            best = len(chain.members)
        if node.op != "relax.quantize":  # whose integers exist in memory alone: the steps before it don't round
            waiting = sorted({*waiting, *graph.users[node.var]}, key=lambda user: user.index)
    del chain.members[best:], chain.steps[best:]
    chain.results = [member.var for member in chain.members]
    _join_affine(graph, chain, source)
    _join_silu(graph, chain)
    inner = {source, *chain.results}
    if not floats:
        _scale_views(graph, chain, source, scale)
    for step in chain.steps:
        for tensor in step.tensors:
            if tensor not in inner and tensor not in chain.operands:
                kind = classify(tensor)
                assert kind is not None
                chain.operands[tensor] = kind
    return chain


def _feeders(
    graph: Graph, start: Node, step: Elementwise, known: Collection[Any], taken: Collection[int]
) -> list[tuple[Node, Elementwise]]:
    """Elementwise operators after `start`, of its shape, that compute nothing but what `step` reads, in order."""
    found: list[tuple[Node, Elementwise]] = []
    for tensor in dict.fromkeys(step.tensors):
        node = graph.producer.get(tensor)
        if node is None or tensor in known or node.index in taken or node.index < start.index:
            continue
        if (
            shape_of(tensor) is None
            or shape_of(tensor) != result_shape(start)
            or len(graph.users[tensor]) > 1
            or tensor in graph.kept
        ):
            continue
        if (work := step_of(graph, node)) is not None:
            found += [*_feeders(graph, start, work, known, taken), (node, work)]
    return found


def _scale_views(graph: Graph, chain: Chain, source: Any, scale: Any) -> None:
    """Multiply value 0 by `scale`, and operands that are views of integers by theirs, before all else."""
    inner = {source, *chain.results}
    outside = {tensor: view_of(graph, tensor) for step in chain.steps for tensor in step.tensors if tensor not in inner}
    scales = {tensor: view.constant() for tensor, view in outside.items() if view}
    if scale is not None:
        scales = {source: scale, **scales}
    for tensor, constant in reversed(scales.items()):
        chain.steps.insert(0, Elementwise("multiply", (tensor, constant)))
        chain.results.insert(0, tensor)


def _join_affine(graph: Graph, chain: Chain, source: Any) -> None:
    """Make one scale and one shift of the constants that the first steps add and multiply: a normalization has four."""
    value = source
    scale: NDArray[np.float64] = np.ones(1)
    shift: NDArray[np.float64] = np.zeros(1)
    joined: list[Elementwise] = []
    for member, step in zip(chain.members, chain.steps, strict=True):
        constant = graph.constant(step.tensors[1]) if len(step.tensors) == 2 else np.array(step.constants)
        alone = value.same_as(source) or len(graph.users[value]) == 1
        if constant is None or not step.tensors[0].same_as(value) or not alone or step.op not in AFFINE:
            break
        factor, term = AFFINE[step.op](constant.astype(np.float64))
        scale, shift = scale * factor, shift * factor + term
        value = member.var
        joined.append(step)
    if len(joined) < 3:
        return
    count = len(joined)
    shape = np.broadcast_shapes(scale.shape, shift.shape)
    factors, terms = (np.broadcast_to(part, shape).astype(np.float32) for part in (scale, shift))
    chain.results[:count] = chain.results[count - 2 : count]
    chain.steps[:count] = (
        Elementwise("multiply", (source, relax.const(factors))),
        Elementwise("add", (chain.results[0], relax.const(terms))),
    )


def _join_silu(graph: Graph, chain: Chain) -> None:
    """x sigmoid(x) is one step: exporters write two."""
    for index in range(len(chain.steps) - 1, 0, -1):
        step = chain.steps[index]
        for gate, x in ((0, 1), (1, 0)) if step.op == "multiply" else ():
            at = next((i for i, result in enumerate(chain.results[:index]) if result.same_as(step.tensors[gate])), None)
            if at is None or chain.steps[at].op != "sigmoid" or len(graph.users[chain.results[at]]) > 1:
                continue
            if chain.steps[at].tensors[0].same_as(step.tensors[x]):
                chain.steps[index] = Elementwise("silu", (step.tensors[x],))
                del chain.steps[at], chain.results[at]
                break


AFFINE: dict[str, Callable[[NDArray[np.float64]], tuple[Any, Any]]] = {
    "add": lambda c: (1.0, c),
    "subtract": lambda c: (1.0, -c),
    "multiply": lambda c: (c, 0.0),
    "divide": lambda c: (1 / c, 0.0),
    "add_number": lambda c: (1.0, c),
    "multiply_number": lambda c: (c, 0.0),
}
"""Steps that multiply by a factor and add a term, both constant."""


def _closed(graph: Graph, inside: list[Any]) -> bool:
    """Is the last value the only one that is used outside?"""
    members = {graph.producer[var] for var in inside}
    return all(var not in graph.kept and members.issuperset(graph.users[var]) for var in inside[:-1])
