"""Sequences and optionals whose content is known: what reads an element of one reads the tensor itself.

Source: the operators' definitions on ONNX's pages for Sequence*, SplitToSequence, ConcatFromSequence and Optional*.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable
from enginesmith.compat.repairs.loops import inlined, unrolled
from enginesmith.compat.repairs.repair import graph_repair
from enginesmith.compat.target import Target
from enginesmith.compat.values import argument, attribute, constant, label, shape

READERS = ("SequenceAt", "SequenceLength", "ConcatFromSequence", "OptionalGetElement", "OptionalHasElement")
MAX_PARTS = 4096
"""Parts into which a SplitToSequence may be written out."""
Items = list[ir.Value]


@graph_repair(
    "sequences",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
halves (float[4, 2] x) => (float[2, 2] y) <int64 two = {2}, int64 one = {1}> {
  parts = SplitToSequence (x, two)
  a = SequenceAt (parts, one)
  y = Neg (a)
}
""",
)
def sequences(model: ir.Model, target: Target) -> int:
    """A tensor taken out of a sequence that the graph itself puts together is taken from where it comes from.

    So are a sequence's length, and its tensors joined together. A Loop that carries a sequence, and a SequenceMap, are
    written out where the number of iterations is known.
    """
    changes = 0
    for graph in model.graphs():
        known = _Known(target)
        for node in list(graph):
            if node.op_type in READERS and not node.domain and _read(graph, node, known):
                changes += 1
    return changes


def _read(graph: ir.Graph, node: ir.Node, known: _Known) -> bool:
    """Replace a node that reads a sequence or an optional; False where that isn't known."""
    build = Builder(node, known.target)
    new = _result(node, build, known)
    if new is None:
        return False
    if new.producer() not in build.nodes or new.is_graph_output():
        new = build.op("Identity", new)
    old = node.outputs[0]
    _insert(build)
    name, old.name = old.name, f"{old.name}/read"
    new.name, new.type, new.shape = name, old.type or new.type, old.shape or new.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    return True


def _result(node: ir.Node, build: Builder, known: _Known) -> ir.Value | None:
    source = argument(node, 0)
    if node.op_type == "OptionalHasElement":
        found = known.optional(source)
        return None if found is None else build.constant(np.array(found is not _EMPTY))
    if node.op_type == "OptionalGetElement":
        found = known.optional(source)
        return found if isinstance(found, ir.Value) and isinstance(found.type, ir.TensorType) else None
    items = known.items(source)
    if items is None:
        return None
    match node.op_type:
        case "SequenceLength":
            return build.constant(np.array(len(items)))
        case "SequenceAt":
            place = _position(node, 1)
            return items[place] if place is not None and -len(items) <= place < len(items) else None
    axis = attribute(node, "axis")
    if not items:
        return None
    if attribute(node, "new_axis", 0):
        items = [build.op("Unsqueeze", item, np.array([axis])) for item in items]
    return build.op("Concat", *items, axis=axis)


def _position(node: ir.Node, index: int) -> int | None:
    array = constant(argument(node, index))
    return None if array is None or array.size != 1 else int(array.reshape(()))


class _Empty:
    """An optional that holds nothing."""


_EMPTY = _Empty()


class _Known:
    """What the sequences and optionals of one graph hold, found out when it is asked for."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._items: dict[ir.Value, Items | None] = {}

    def optional(self, value: ir.Value | None) -> ir.Value | _Empty | None:
        """What an optional holds; None where that isn't known. A tensor or sequence counts as full."""
        if value is None:
            return _EMPTY
        node = value.producer()
        if node is not None and node.op_type == "Identity":
            return self.optional(node.inputs[0])
        if node is not None and node.op_type == "Optional":
            return self.optional(argument(node, 0))
        return value if isinstance(value.type, ir.TensorType | ir.SequenceType) else None

    def items(self, value: ir.Value | None) -> Items | None:
        """The tensors of a sequence in their order; None where they aren't known."""
        if value is None:
            return None
        if value not in self._items:
            node = value.producer()
            self._items[value] = None
            if node is not None and not node.domain:
                self._items[value] = self._of(node, value)
        return self._items[value]

    def _of(self, node: ir.Node, value: ir.Value) -> Items | None:
        match node.op_type:
            case "SequenceEmpty":
                return []
            case "SequenceConstruct":
                return [item for item in node.inputs if item is not None]
            case "Identity":
                return self.items(node.inputs[0])
            case "OptionalGetElement":
                found = self.optional(node.inputs[0])
                return self.items(found) if isinstance(found, ir.Value) else None
            case "SequenceInsert" | "SequenceErase":
                return self._edited(node)
            case "SplitToSequence":
                return self._split(node)
            case "SequenceMap":
                return self._mapped(node, value)
            case "Loop":
                return self._looped(node, value)
        return None

    def _edited(self, node: ir.Node) -> Items | None:
        items = self.items(node.inputs[0])
        insert = node.op_type == "SequenceInsert"
        place_at = 2 if insert else 1
        if items is None:
            return None
        place: int | None = len(items) if insert else len(items) - 1
        if argument(node, place_at) is not None:
            place = _position(node, place_at)
        if place is None or not -len(items) <= place <= len(items) - (not insert):
            return None
        place += len(items) if place < 0 else 0
        if insert:
            return [*items[:place], *node.inputs[1:2], *items[place:]]  # type: ignore[list-item]
        return [*items[:place], *items[place + 1 :]]

    def _split(self, node: ir.Node) -> Items | None:
        """A SplitToSequence as a Split in front of it."""
        axis, given = attribute(node, "axis", 0), argument(node, 1)
        sizes = shape(node.inputs[0])
        size = sizes[axis] if sizes is not None else None
        parts = np.array(1) if given is None else constant(given)
        if parts is None or (size is None and parts.ndim == 0):
            return None
        if parts.ndim == 0:
            whole, rest = divmod(int(size or 0), int(parts))
            parts = np.array([int(parts)] * whole + [rest] * bool(rest))
        if not 0 < len(parts) <= MAX_PARTS:
            return None
        build = Builder(node, self.target)
        if build.opset < 13:
            return None
        made = list(build.ops("Split", node.inputs[0], parts.astype(np.int64), outputs=len(parts), axis=axis))
        if given is None and not attribute(node, "keepdims", 1):
            made = [build.op("Squeeze", item, np.array([axis])) for item in made]
        _insert(build)
        return made

    def _mapped(self, node: ir.Node, value: ir.Value) -> Items | None:
        """A SequenceMap as one copy of its body for each element."""
        body: ir.Graph = attribute(node, "body")
        given = [
            self.items(item) if item is not None and isinstance(item.type, ir.SequenceType) else item
            for item in node.inputs
        ]
        first = given[0]
        if not isinstance(first, list) or any(item is None for item in given):
            return None
        build = Builder(node, self.target)
        made = []
        for index in range(len(first)):
            inputs = [item[index] if isinstance(item, list) else item for item in given]
            made.append(inlined(build, body, inputs)[value.index() or 0])
        _insert(build)
        return made

    def _looped(self, node: ir.Node, value: ir.Value) -> Items | None:
        """A Loop that carries a sequence, written out in front of it."""
        if not isinstance(value.type, ir.SequenceType):
            return None
        build = Builder(node, self.target)
        try:
            results = unrolled(node, build)
        except NotApplicable:
            return None
        result = results[value.index() or 0]
        _insert(build)
        return self.items(result)


def _insert(build: Builder) -> None:
    """Put what was built in front of its node, with names that nothing else has."""
    prefix = f"{label(build.node)}/read"
    for count, inner in enumerate(build.nodes):
        inner.name = f"{prefix}/{inner.op_type}_{count}"
        for place, value in enumerate(inner.outputs):
            value.name = f"{inner.name}:{place}"
    assert build.node.graph is not None
    build.node.graph.insert_before(build.node, build.nodes)
