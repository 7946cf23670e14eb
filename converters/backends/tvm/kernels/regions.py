"""The pass: gives every operator that it can a kernel of ours, with the elementwise operators after it, and a layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tvm import relax

from enginesmith.converters.backends.tvm.kernels.anchors import Anchor, Settings
from enginesmith.converters.backends.tvm.kernels.composites import composites
from enginesmith.converters.backends.tvm.kernels.fusion import Chain, Classify, Kind, grow
from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, NotCovered, result_shape, shape_of
from enginesmith.converters.backends.tvm.kernels.int8.quantized import held, view_of
from enginesmith.converters.backends.tvm.kernels.layout import Halo, Planes
from enginesmith.converters.backends.tvm.kernels.operators import anchor
from enginesmith.converters.backends.tvm.kernels.operators.integers import quantize_rows
from enginesmith.converters.backends.tvm.kernels.operators.moves import move_of
from enginesmith.converters.backends.tvm.kernels.operators.rows import elementwise
from enginesmith.converters.backends.tvm.kernels.pointwise import Concat
from enginesmith.converters.backends.tvm.kernels.steps import step_of
from enginesmith.converters.backends.tvm.kernels.views import Move, View, composed


@dataclass
class Group:
    """Operators that one kernel computes."""

    start: Node
    anchor: Anchor
    chain: Chain
    source: Any
    """What the kernel's own result is: the variable of `start`, or a tensor that it reads."""

    @property
    def nodes(self) -> list[Node]:
        """Without the first twice, where that is a member of the chain."""
        return [*dict.fromkeys([*self.anchor.inner, self.start, *self.chain.members])]

    @property
    def last(self) -> Node:
        return self.nodes[-1]

    @property
    def result(self) -> Any:
        return self.last.var


@dataclass
class Plan:
    """What the pass found, before anything is changed."""

    groups: list[Group] = field(default_factory=list)
    halos: dict[tuple[Any, int], Halo] = field(default_factory=dict)
    """By variable and block: how far its readers look beyond the plane."""
    moved: dict[Any, tuple[Any, tuple[Move, ...]]] = field(default_factory=dict)
    """Tensors that are another one's numbers in another order, which needs no kernel until somebody wants them so."""
    left: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Operators that are left to TVM's lowering, and why."""


def plan(graph: Graph, settings: Settings) -> Plan:
    """Find the groups of a function, and which layouts they need."""
    found = Plan()
    composed = composites(graph, settings)
    taken = {node.index for start in composed.values() for node in start.inner}
    planes: dict[Any, Planes] = {}

    def blocked(expression: Any) -> bool:
        return expression in planes

    for node in graph.nodes:
        if node.index in taken or (not node.op and not isinstance(node.value, relax.TupleGetItem)):
            continue
        if graph.constant(node.var) is not None:
            continue
        if view := view_of(graph, node.var):
            if view.integers in planes:
                planes[node.var] = planes[view.integers]
            continue
        try:
            start = composed.get(node.index) or anchor(graph, node, settings, blocked)
        except NotCovered as reason:
            found.left[node.op, str(reason)] += 1
            continue
        source = node.var
        if start is None:
            if _move(found, graph, node):
                continue
            start = (
                _elementwise(graph, node, settings, blocked)
                or quantize_rows(graph, node, settings)
                or elementwise(graph, node, settings)
            )
            if start is None:
                found.left[node.op, "no kernel for it"] += 1
                continue
            source = start.sources[0][0]
        if start.linear:
            start = _of_integers(graph, start)
        chain = Chain()
        if start.fuses:
            readable = _planes(graph, start.shape) if start.shape is not None else _rows(graph, node)
            readable = _views(node) if start.strided else readable
            chain = grow(graph, node, source, readable, taken | composed.keys(), start.scale, floats=start.strided)
        group = Group(node, start, chain, source)
        taken |= {member.index for member in group.nodes}
        found.groups.append(group)
        if start.shape is not None:
            planes[group.result] = start.shape
        for tensor, block, reach in start.sources:
            if block:
                _widen(found, tensor, block, reach)
        for tensor, kind in chain.operands.items():
            if start.shape is not None and kind != "channel":
                _widen(found, held(graph, tensor), settings.simd.lanes, Halo())
    return found


def _of_integers(graph: Graph, start: Anchor) -> Anchor:
    """The same kernel on the integers that all its sources are views of, where they have one scale."""
    views = [view for tensor, _, _ in start.sources if (view := view_of(graph, tensor))]
    if len(views) < len(start.sources) or len({view.scale for view in views}) > 1:
        return start
    sources = [(view.integers, *how) for view, (_, *how) in zip(views, start.sources, strict=True)]
    return replace(start, sources=sources, scale=views[0].constant())


def _widen(found: Plan, tensor: Any, block: int, reach: Halo) -> None:
    found.halos[tensor, block] = found.halos.get((tensor, block), Halo()).union(reach)


def _elementwise(graph: Graph, node: Node, settings: Settings, blocked: Callable[[Any], bool]) -> Anchor | None:
    """An elementwise operator on a blocked plane is worth a kernel, to keep the layout."""
    sizes, step = result_shape(node), step_of(graph, node)
    if step is None or sizes is None or len(sizes) != 4:
        return None
    shape: Planes = (sizes[0], sizes[1], sizes[2], sizes[3])
    source = next((tensor for tensor in step.tensors if blocked(tensor) and shape_of(tensor) == shape), None)
    if source is None or None in map(_planes(graph, shape), (t for t in step.tensors if not t.same_as(source))):
        return None
    sources = [(source, settings.simd.lanes, Halo())]
    return Anchor("elementwise", shape, sources, lambda s, t, e: Concat(settings.simd, s, t, e), linear=True)


def _move(found: Plan, graph: Graph, node: Node) -> bool:
    """Note a tensor that is another one's numbers in another order; True for what needs no kernel therefore."""
    if node.op == "relax.split":
        return all(move_of(graph, user) for user in graph.users[node.var]) and node.var not in graph.kept
    moved = move_of(graph, node)
    if moved is None:
        return not node.op
    source, move = moved
    first, before = found.moved.get(source, (source, ()))
    for base, moves in ((first, (*before, move)), (source, (move,))):
        shape = shape_of(base)
        if shape is not None and composed(View.whole(shape), moves) is not None:
            found.moved[node.var] = base, moves
            return True
    return False


def _views(node: Node) -> Classify:
    """What a tensor is to a result that reads everything in any order."""
    shape = shape_of(node.var)
    assert shape is not None

    def classify(expression: Any) -> Kind | None:
        given = shape_of(expression)
        return None if given is None or View.whole(given).broadcast(shape) is None else "view"

    return classify


def _planes(graph: Graph, shape: Planes) -> Classify:
    """What a tensor is to a result in blocked planes."""

    def classify(expression: Any) -> Kind | None:
        array, given = graph.constant(expression), shape_of(expression)
        if array is not None:
            if given == (1,):
                return "number"
            return "channel" if given in ((1, shape[1], 1, 1), (shape[1], 1, 1)) else None
        if given == shape:
            return "tensor"
        return "pooled" if given == (*shape[:2], 1, 1) else None

    return classify


def _rows(graph: Graph, node: Node) -> Classify:
    """What a tensor is to a result in rows."""
    shape = result_shape(node)
    assert shape is not None

    def classify(expression: Any) -> Kind | None:
        given = shape_of(expression)
        if given == shape:
            return "tensor"
        constant = graph.constant(expression) is not None
        if constant and given == (1,):
            return "number"
        return "channel" if constant and given and given[-1] == shape[-1] == _size(given) else None

    return classify


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for count in shape:
        size *= count
    return size
