"""A batch that is baked into a graph set free: reshapes to a constant size, constants of one item, sizes that were computed once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from enginesmith.compat.graphs import infer, initializer
from enginesmith.compat.sizes import write_sizes
from enginesmith.compat.values import argument, attribute, constant, rank, static_shape

NAME = "batch"


class Place(NamedTuple):
    """Where the batch is in a tensor: its size along `axis` is `outer` times the batch times `inner`, in this order."""

    axis: int
    outer: int = 1
    inner: int = 1


class Rewritten(NamedTuple):
    """A node at which the batch was fixed, and what was done."""

    node: str
    op: str
    change: str


def free_batch(model: ir.Model, sizes: Mapping[str, Sequence[int]], *, folded: bool, merged: bool) -> list[Rewritten]:
    """Let the first axis of the inputs in `sizes` be any batch, in place; the sizes are those with the batch that the graph
    was written for. Returns what was rewritten.

    `folded`: everything that depends on sizes is first computed at those. `merged`: where a reshape leaves it open, whether
    the batch joins the size before it or the one behind it, it is the one before. Nothing is proved here: whether the
    graph computes the same for each item is seen by running it.
    """
    write_sizes(model, sizes, folded=folded)
    batches = {shape[0] for shape in sizes.values()}
    if len(batches) != 1:
        return []
    graph = model.graph
    source = next(value for value in graph.inputs if value.name in sizes)
    made = _Rewriter(model, source, batches.pop(), merged).run({v for v in graph.inputs if v.name in sizes})
    for value in graph.inputs:
        if value.name in sizes:
            value.shape = ir.Shape([NAME, *sizes[str(value.name)][1:]])
    for node in graph.all_nodes():
        for output in node.outputs:
            output.shape = None
    infer(model)
    return made


class _Rewriter:
    def __init__(self, model: ir.Model, source: ir.Value, batch: int, merged: bool) -> None:
        self.graph = model.graph
        self.source = source
        self.batch = batch
        self.merged = merged
        self.places: dict[ir.Value, Place] = {}
        self.made: list[Rewritten] = []
        self._size: ir.Value | None = None

    def run(self, inputs: set[ir.Value]) -> list[Rewritten]:
        self.places = dict.fromkeys(inputs, Place(0))
        for node in list(self.graph):
            if not any(value in self.places for value in node.inputs):
                continue
            rule = _RULES.get(node.op_type, _same)
            for output, place in zip(node.outputs, rule(self, node), strict=False):
                if place is not None:
                    self.places[output] = place
        return self.made

    def place(self, node: ir.Node, index: int) -> Place | None:
        value = argument(node, index)
        return None if value is None else self.places.get(value)

    def note(self, node: ir.Node, change: str) -> None:
        self.made.append(Rewritten(node.name or str(node.outputs[0].name), node.op_type, change))

    def size(self) -> ir.Value:
        """The batch, a vector of one element, computed at the beginning of the graph."""
        if self._size is None:
            zero = initializer(self.graph, "batch/zero", np.array([0], np.int64))
            shape = ir.node("Shape", [self.source], name="batch/shape")
            gather = ir.node("Gather", [shape.outputs[0], zero], name="batch/size")
            self._size = gather.outputs[0]
            self._size.name, shape.outputs[0].name = "batch/size", "batch/shape"
            self.graph.insert_before(next(iter(self.graph)), [shape, gather])
        return self._size

    def vector(self, node: ir.Node, sizes: Sequence[int], axis: int, factor: int = 1) -> ir.Value:
        """The sizes with `factor` times the batch at `axis`, computed before a node."""
        label = f"{node.outputs[0].name}/batch{len(self.made)}"
        size, added = self.size(), []
        if factor != 1:
            constant_ = initializer(self.graph, f"{label}/factor", np.array([factor], np.int64))
            added.append(ir.node("Mul", [size, constant_], name=f"{label}/mul"))
            size = added[-1].outputs[0]
            size.name = f"{label}/mul"
        parts = [
            initializer(self.graph, f"{label}/{end}", np.array(part, np.int64))
            for end, part in (("before", sizes[:axis]), ("behind", sizes[axis + 1 :]))
        ]
        added.append(ir.node("Concat", [parts[0], size, parts[1]], {"axis": 0}, name=f"{label}/sizes"))
        added[-1].outputs[0].name = f"{label}/sizes"
        self.graph.insert_before(node, added)
        return added[-1].outputs[0]

    def replace(self, node: ir.Node, index: int, content: np.ndarray | ir.Value) -> None:
        value = content
        if isinstance(content, np.ndarray):
            value = initializer(self.graph, f"{node.outputs[0].name}/batch{len(self.made)}", content)
        node.replace_input_with(index, value)  # type: ignore[arg-type]

    def repeat(self, node: ir.Node, index: int, axis: int) -> None:
        """Give an input that has no batch one, by repeating its only or its first item along `axis`."""
        value = argument(node, index)
        sizes = static_shape(value)
        if value is None or sizes is None or sizes[axis] != self.batch:
            return
        label = f"{node.outputs[0].name}/batch{len(self.made)}"
        if self.batch != 1:
            bounds = [initializer(self.graph, f"{label}/{n}", np.array([n], np.int64)) for n in (0, 1)]
            along = initializer(self.graph, f"{label}/axis", np.array([axis], np.int64))
            first = ir.node("Slice", [value, *bounds, along], name=f"{label}/first")
            first.outputs[0].name = f"{label}/first"
            self.graph.insert_before(node, first)
            value = first.outputs[0]
        expand = ir.node("Expand", [value, self.vector(node, sizes, axis)], name=f"{label}/expand")
        expand.outputs[0].name = f"{label}/expand"
        self.graph.insert_before(node, expand)
        node.replace_input_with(index, expand.outputs[0])
        self.note(node, "a constant of one item is repeated for each")


Places = Sequence[Place | None]
Rule = Callable[[_Rewriter, ir.Node], Places]


def _same(rewriter: _Rewriter, node: ir.Node) -> Places:
    """Aligned from the right, as broadcasting has it."""
    for index, value in enumerate(node.inputs):
        place = rewriter.place(node, index)
        if value is None or place is None:
            continue
        own = rank(value)
        return [
            None if own is None or rank(output) is None else place._replace(axis=place.axis + rank(output) - own)  # type: ignore[operator]
            for output in node.outputs
        ]
    return []


def _broadcast(rewriter: _Rewriter, node: ir.Node) -> Places:
    """A constant with an item for each of the batch, all equal, becomes one item."""
    (place,) = _same(rewriter, node)
    sizes = static_shape(node.outputs[0])
    for index, value in enumerate(node.inputs):
        array = constant(value)
        if array is None or place is None or sizes is None or rewriter.batch == 1:
            continue
        axis = place.axis - (len(sizes) - array.ndim)
        if axis >= 0 and array.shape[axis] == rewriter.batch and (array == array.take([0], axis)).all():
            rewriter.replace(node, index, array.take([0], axis))
            rewriter.note(node, "a constant with equal items for each of the batch has one")
    return [place]


def _transpose(rewriter: _Rewriter, node: ir.Node) -> Places:
    place, count = rewriter.place(node, 0), rank(node.inputs[0])
    if place is None or count is None:
        return []
    perm = attribute(node, "perm") or list(reversed(range(count)))
    return [place._replace(axis=perm.index(place.axis))]


def _reshape(rewriter: _Rewriter, node: ir.Node) -> Places:
    place, sizes, target = rewriter.place(node, 0), static_shape(node.inputs[0]), static_shape(node.outputs[0])
    if place is None or sizes is None or target is None:
        return []
    found = moved_place(sizes, target, place, rewriter.batch, rewriter.merged)
    given = constant(argument(node, 1))
    if found is None or given is None or node.op_type != "Reshape":
        return [found]
    axis, same = found.axis, found == place
    stated = given.tolist()
    if stated[axis] == -1 or (stated[axis] == 0 and not attribute(node, "allowzero", 0) and same):
        return [found]
    resolved = [size if stated[i] != -1 else -1 for i, size in enumerate(target)]
    if -1 not in stated:
        resolved[axis] = -1
        rewriter.replace(node, 1, np.array(resolved, np.int64))
        rewriter.note(node, f"its shape has -1 in the place of {stated[axis]}")
    elif same and not attribute(node, "allowzero", 0) and sizes[axis] == target[axis]:
        resolved[axis] = 0
        rewriter.replace(node, 1, np.array(resolved, np.int64))
        rewriter.note(node, f"its shape has 0 in the place of {stated[axis]}")
    else:
        rewriter.replace(node, 1, rewriter.vector(node, resolved, axis, found.outer * found.inner))
        rewriter.note(node, f"its shape has the computed batch in the place of {stated[axis]}")
    return [found]


def moved_place(sizes: Sequence[int], target: Sequence[int], place: Place, batch: int, merged: bool) -> Place | None:
    """Where the batch is after a reshape from `sizes` to `target`, in row-major order; None where it is torn apart."""
    before = math.prod(sizes[: place.axis]) * place.outer
    behind = math.prod(sizes[place.axis + 1 :]) * place.inner
    found = []
    for axis, size in enumerate(target):
        ahead, after = math.prod(target[:axis]), math.prod(target[axis + 1 :])
        if not ahead or not after or before % ahead or behind % after:
            continue
        candidate = Place(axis, before // ahead, behind // after)
        if candidate.outer * batch * candidate.inner == size:
            found.append(candidate)
    alone = [each for each in found if each.outer == each.inner == 1]
    last = len(target) - 1  # features more likely than items
    ordered = sorted(found, key=lambda each: (each.axis == last, each.inner if merged else each.outer))
    return next(iter((*alone, *ordered)), None)


def _shifted(rewriter: _Rewriter, node: ir.Node) -> Places:
    """Squeeze and Unsqueeze: a reshape that says which axes."""
    place, sizes = rewriter.place(node, 0), static_shape(node.inputs[0])
    axes = constant(argument(node, 1)) if len(node.inputs) > 1 else attribute(node, "axes")
    if place is None or sizes is None or axes is None:
        return _reshape(rewriter, node)
    count = len(sizes) + (len(axes) if node.op_type == "Unsqueeze" else 0)
    taken = {int(axis) % count for axis in axes}
    if node.op_type == "Unsqueeze":
        return [place._replace(axis=[axis for axis in range(count) if axis not in taken][place.axis])]
    if place.axis in taken:
        return []
    return [place._replace(axis=place.axis - sum(axis < place.axis for axis in taken))]


def _concat(rewriter: _Rewriter, node: ir.Node) -> Places:
    places = [rewriter.place(node, index) for index in range(len(node.inputs))]
    place = next(each for each in places if each is not None)
    count = rank(node.inputs[places.index(place)]) or 0
    if attribute(node, "axis", 0) % max(count, 1) != place.axis:
        for index, each in enumerate(places):
            if each is None:
                rewriter.repeat(node, index, place.axis)
    return [place]


def _expand(rewriter: _Rewriter, node: ir.Node) -> Places:
    (place,) = _same(rewriter, node)
    given = constant(argument(node, 1))
    sizes = static_shape(node.inputs[0])
    if place is not None and given is not None and sizes is not None:
        axis = place.axis - ((rank(node.outputs[0]) or 0) - len(given))
        if axis >= 0 and given[axis] != 1:
            freed = given.copy()
            freed[axis] = 1
            rewriter.replace(node, 1, freed)
            rewriter.note(node, f"its shape has 1 in the place of {given[axis]}")
    return [place]


def _recurrent(rewriter: _Rewriter, node: ir.Node) -> Places:
    """Initial states are constants of one batch; the output is [time, directions, batch, hidden], or the batch first."""
    first = attribute(node, "layout", 0) == 1
    for index in (5, 6):
        if argument(node, index) is not None and rewriter.place(node, index) is None:
            rewriter.repeat(node, index, 0 if first else 1)
    return [Place(0)] * 3 if first else [Place(2), Place(1), Place(1)]


def _reduced(rewriter: _Rewriter, node: ir.Node) -> Places:
    place, count = rewriter.place(node, 0), rank(node.inputs[0])
    axes = attribute(node, "axes")
    if axes is None and len(node.inputs) > 1 and (given := constant(argument(node, 1))) is not None:
        axes = given.tolist()
    if place is None or count is None or axes is None:
        return []
    taken = {axis % count for axis in axes}
    if place.axis in taken:
        return []
    kept = attribute(node, "keepdims", 1)
    return [place if kept else place._replace(axis=place.axis - sum(axis < place.axis for axis in taken))]


def _resize(rewriter: _Rewriter, node: ir.Node) -> Places:
    place, sizes = rewriter.place(node, 0), constant(argument(node, 3))
    if place is not None and sizes is not None and len(sizes) == (rank(node.inputs[0]) or 0):
        rewriter.replace(node, 3, rewriter.vector(node, sizes.tolist(), place.axis))
        rewriter.note(node, f"its sizes have the computed batch in the place of {sizes[place.axis]}")
    return [place]


def _gathered(rewriter: _Rewriter, node: ir.Node) -> Places:
    data, index = rewriter.place(node, 0), rewriter.place(node, 1)
    axis, count = attribute(node, "axis", 0), rank(node.inputs[0]) or 0
    axis = axis % count if count else axis
    added = (rank(node.inputs[1]) or 0) - 1
    if data is None:
        return [index._replace(axis=index.axis + axis)] if index is not None else []
    if data.axis == axis:
        return []
    return [data if data.axis < axis else data._replace(axis=data.axis + added)]


def _all(names: str, rule: Rule) -> Iterator[tuple[str, Rule]]:
    return ((name, rule) for name in names.split())


_RULES: dict[str, Rule] = dict(
    (
        *_all("Transpose", _transpose),
        *_all("Reshape Flatten", _reshape),
        *_all("Squeeze Unsqueeze", _shifted),
        *_all("Concat", _concat),
        *_all("Expand", _expand),
        *_all("LSTM GRU RNN", _recurrent),
        *_all("ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare", _reduced),
        *_all("ArgMax ArgMin", lambda rewriter, node: _argument(rewriter, node)),
        *_all("Resize", _resize),
        *_all("Gather", _gathered),
        *_all("Add Sub Mul Div Pow Min Max Where Equal Less Greater And Or Mod PRelu", _broadcast),
        *_all("Shape Size", lambda rewriter, node: []),
    )
)


def _argument(rewriter: _Rewriter, node: ir.Node) -> Places:
    place, count = rewriter.place(node, 0), rank(node.inputs[0]) or 1
    axis = attribute(node, "axis", 0) % count
    if place is None or place.axis == axis:
        return []
    kept = attribute(node, "keepdims", 1) or axis > place.axis
    return [place if kept else place._replace(axis=place.axis - 1)]
