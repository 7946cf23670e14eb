"""Operators that choose rows: NonZero, Compress, TopK, Gather and Scatter, RoiAlign."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.repairs.bounded.arithmetic import highest, lowest
from enginesmith.compat.repairs.bounded.dims import Axis, Dim, Least, bound, dim, is_static
from enginesmith.compat.repairs.bounded.filters import flat
from enginesmith.compat.repairs.bounded.rewriter import Rewriter, rule
from enginesmith.compat.repairs.bounded.shapes import filtered, reshaped, sized
from enginesmith.compat.repairs.bounded.values import Bounded, Positions
from enginesmith.compat.values import argument, attribute


@rule("NonZero", source=True)
def nonzero(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    rows = flat(data.dims)
    kept = filtered(rewriter, ("nonzero", node.inputs[0]), rewriter.numeric(data), rows)
    rank = len(data.dims)
    if not rank:
        raise NotApplicable("its input is a scalar")
    places = np.stack(np.unravel_index(np.arange(bound(rows)), data.shape)).astype(np.int64)
    positions = Positions(data.dims, identity=True, columns=0)
    return Bounded(rewriter.build.constant(places), (dim(rank), kept), positions)


@rule("Compress", source=True)
def compress(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data, condition = (rewriter.get(value) for value in node.inputs)
    axis = attribute(node, "axis")
    if axis is None:
        data, axis = reshaped(rewriter, data, [flat(data.dims)]), 0
    axis %= len(data.dims)
    rows = data.dims[axis]
    flags = rewriter.tensor(condition)
    missing = bound(rows) - bound(condition.dims[0])
    if missing > 0 and is_static(rows) and is_static(condition.dims[0]):
        flags = rewriter.emit("Concat", flags, np.zeros(missing, bool), axis=0, shape=[bound(rows)], dtype=flags.dtype)
    elif condition.dims[0] != rows:
        raise NotApplicable("its condition has other rows than its data")
    kept = filtered(rewriter, ("compress", node.inputs[1], rows), flags, rows)
    dims = (*data.dims[:axis], kept, *data.dims[axis + 1 :])
    return Bounded(rewriter.tensor(data), dims, data.positions)


@rule("Guard")
def guard(rewriter: Rewriter, node: ir.Node) -> Bounded:
    """What an If gives that has nothing in its other branch: no row is real where the condition holds."""
    data, condition = (rewriter.get(value) for value in node.inputs)
    axis = attribute(node, "axis")
    rows = data.dims[axis]
    if is_static(rows) or len(rows) > 1:
        raise NotApplicable("its branches give different shapes")
    (old,) = rows
    assert isinstance(old, Axis)

    def make() -> Axis:
        size = [old.bound]
        holds = rewriter.emit(
            "Not", rewriter.reshape(rewriter.tensor(condition), [1]), shape=[1], dtype=ir.DataType.BOOL
        )
        valid = rewriter.emit("And", old.valid, holds, shape=size, dtype=ir.DataType.BOOL)
        return Axis(old.bound, valid, old.packed)

    new = (rewriter.once(("guard", rows, node.inputs[1]), make),)
    dims = (*data.dims[:axis], new, *data.dims[axis + 1 :])
    return Bounded(rewriter.tensor(data), dims, data.positions)


@rule("TopK")
def topk(rewriter: Rewriter, node: ir.Node) -> list[Bounded]:
    data = rewriter.get(node.inputs[0])
    axis = attribute(node, "axis", -1) % len(data.dims)
    rows = data.dims[axis]
    sizes = rewriter.sizes(argument(node, 1))
    if sizes is None:
        raise NotApplicable("its K depends on the data")
    wish = sizes[0]
    most = bound(rows)
    if isinstance(wish, int):
        count, new = wish, dim(wish)
    else:
        of = wish.of if isinstance(wish, Least) else wish
        count = min(most, wish.most if isinstance(wish, Least) else most)
        new = dim(rewriter.first(count, of))
    if count > most:
        raise NotApplicable("it wants more elements than there are")
    value = rewriter.numeric(data)
    if not is_static(rows):
        worst = lowest if attribute(node, "largest", 1) else highest
        mask = rewriter.valid([part if index == axis else () for index, part in enumerate(data.dims)])
        assert value.dtype is not None
        fill = np.array(worst(value.dtype), value.dtype.numpy())
        value = rewriter.emit("Where", mask, value, fill, shape=data.shape, dtype=value.dtype)
    dims = (*data.dims[:axis], new, *data.dims[axis + 1 :])
    shape = [bound(part) for part in dims]
    values, places = rewriter.emit_all(
        "TopK",
        value,
        np.array([count], np.int64),
        outputs=[(shape, value.dtype), (shape, ir.DataType.INT64)],
        **node.attributes,
    )
    return [Bounded(values, dims), Bounded(places, dims, Positions((rows,)))]


@rule("ArgMax", "ArgMin")
def extreme(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    axis = attribute(node, "axis", 0) % len(data.dims)
    rows, value = data.dims[axis], rewriter.numeric(data)
    if not is_static(rows):
        worst = lowest if node.op_type == "ArgMax" else highest
        value = rewriter.filled(data, worst(value.dtype), value)
    dims = [*data.dims]
    dims[axis : axis + 1] = [()] if attribute(node, "keepdims", 1) else []
    found = rewriter.again(node, [value], dims)
    return Bounded(found.value, found.dims, Positions((rows,)))


@rule("Gather")
def gather(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data, index = (rewriter.get(value) for value in node.inputs)
    axis = attribute(node, "axis", 0) % len(data.dims)
    if data.sizes is not None:
        chosen = rewriter.numbers(node.inputs[1])
        return sized(rewriter, [data.sizes[number] for number in chosen.reshape(-1)], scalar=not chosen.ndim)
    tagged = data.positions
    if tagged is not None and tagged.columns == axis and len(tagged.of) > 1:
        columns = [int(column) for column in rewriter.numbers(node.inputs[1]).reshape(-1)]
        positions: Positions | None = tagged.pick(columns)
    else:
        positions = tagged and Positions(tagged.of, False, _shifted(tagged.columns, axis, len(index.dims)))
    rows = data.dims[axis]
    dims = (*data.dims[:axis], *index.dims, *data.dims[axis + 1 :])
    if index.positions is not None and index.positions.of == (rows,):
        if index.positions.identity and len(index.dims) == 1:
            return Bounded(rewriter.tensor(data), dims, tagged)
        if tagged is not None and tagged.identity and len(data.dims) == len(tagged.of) == 1:
            return Bounded(rewriter.tensor(index), dims, Positions(tagged.of))
        value = rewriter.tensor(index)
    else:
        data = rewriter.exact(data, axis)
        value = rewriter.filled(index, 0, rewriter.numeric(index))
    found = rewriter.emit(
        "Gather",
        rewriter.tensor(data),
        value,
        axis=axis,
        shape=[bound(part) for part in dims],
        dtype=rewriter.tensor(data).dtype,
    )
    return Bounded(found, dims, positions)


def _shifted(columns: int | None, axis: int, rank: int) -> int | None:
    """Where the columns are after axis `axis` was replaced by `rank` ones."""
    if columns is None or columns < axis:
        return columns
    return None if columns == axis else columns + rank - 1


@rule("GatherElements")
def gather_elements(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data, index = (rewriter.get(value) for value in node.inputs)
    axis = attribute(node, "axis", 0) % len(data.dims)
    if index.positions is None or index.positions.of != (data.dims[axis],):
        data = rewriter.exact(data, axis)
        value = rewriter.filled(index, 0, rewriter.numeric(index))
    else:
        value = rewriter.tensor(index)
    others = [(*part.dims[:axis], *part.dims[axis + 1 :]) for part in (data, index)]
    if others[0] != others[1]:
        raise NotApplicable("it combines rows that were selected by different conditions")
    return rewriter.again(node, [rewriter.tensor(data), value], index.dims)


@rule("GatherND")
def gather_nd(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data, index = (rewriter.get(value) for value in node.inputs)
    if attribute(node, "batch_dims", 0):
        raise NotApplicable("it has batch dimensions")
    depth = bound(index.dims[-1])
    dims = (*index.dims[:-1], *data.dims[depth:])
    tag = index.positions
    if tag is not None and tag.of == data.dims[:depth]:
        if tag.identity and len(index.dims) == 2:
            value = rewriter.reshape(rewriter.tensor(data), [bound(part) for part in dims])
            return Bounded(value, dims)
        value = rewriter.tensor(index)
    else:
        for axis in range(depth):
            data = rewriter.exact(data, axis)
        value = rewriter.filled(index, 0, rewriter.numeric(index))
    return rewriter.again(node, [rewriter.tensor(data), value], dims)


@rule("ScatterND", "ScatterElements")
def scatter(rewriter: Rewriter, node: ir.Node) -> Bounded:
    """Values put back where they were taken from, or added to what stands there: a Where. Values from elsewhere are taken in
    their order: the first one for the first position. At places of the data, what is not real changes nothing.
    """
    data, index, updates = (rewriter.get(value) for value in node.inputs)
    tag = index.positions
    if tag is None or not tag.identity:
        return _scattered(rewriter, node, data, index, updates)
    if node.op_type == "ScatterND":
        depth, axis = bound(index.dims[-1]), 0
        fits = len(index.dims) == 2 and tag.of == data.dims[:depth]
        kept, others = index.dims[0], [updates.dims[1:], data.dims[depth:]]
    else:
        axis = attribute(node, "axis", 0) % len(data.dims)
        depth = 1
        fits = tag.of == (data.dims[axis],) and index.dims == updates.dims
        kept = index.dims[axis]
        others = [(*part.dims[:axis], *part.dims[axis + 1 :]) for part in (updates, data)]
    if not fits or others[0] != others[1]:
        raise NotApplicable("it writes to positions that depend on the data")
    mask = rewriter.mask(kept)
    assert mask is not None
    if updates.dims[axis] != kept:
        updates = _in_turn(rewriter, updates, axis, kept)
    inside = range(axis, axis + depth)
    mask = rewriter.reshape(mask, [size if place in inside else 1 for place, size in enumerate(data.shape)])
    new = rewriter.reshape(rewriter.numeric(updates), data.shape)
    old = rewriter.numeric(data)
    reduction = attribute(node, "reduction", "none")
    if reduction != "none":  # each position is written to once
        new = rewriter.emit(reduction.capitalize(), old, new, shape=data.shape, dtype=old.dtype)
    return Bounded(rewriter.emit("Where", mask, new, old, shape=data.shape, dtype=old.dtype), data.dims)


UNCHANGED = {"add": lambda kind: 0, "mul": lambda kind: 1, "max": lowest, "min": highest}
"""For each reduction the update that changes nothing, of a dtype."""


def _scattered(rewriter: Rewriter, node: ir.Node, data: Bounded, index: Bounded, updates: Bounded) -> Bounded:
    """Rows that are not real update the first place by what changes nothing there; without a reduction they go to a row behind
    the last one, which is cut off. Along the other axes elements stay in their rows, real or not."""
    elements = node.op_type == "ScatterElements"
    axis = attribute(node, "axis", 0) % len(data.dims) if elements else 0
    if elements:
        others = [(a, b) for place, (a, b) in enumerate(zip(data.dims, index.dims, strict=True)) if place != axis]
        fits = index.dims == updates.dims and all(a == b or (is_static(a) and is_static(b)) for a, b in others)
        whole = is_static(data.dims[axis])
    else:
        fits = (*index.dims[:-1], *data.dims[bound(index.dims[-1]) :]) == updates.dims
        whole = data.static
    if not fits or not whole:
        raise NotApplicable("it writes to positions that depend on the data")
    places, target = rewriter.numeric(index), rewriter.numeric(data)
    reduction = attribute(node, "reduction", "none")
    if reduction in UNCHANGED:
        neutral = UNCHANGED[reduction](target.dtype)
        inputs = [
            target,
            rewriter.filled(index, 0, places),
            rewriter.filled(updates, neutral, rewriter.numeric(updates)),
        ]
        return rewriter.again(node, inputs, data.dims)
    if elements and is_static(index.dims[axis]):
        return rewriter.again(node, [target, rewriter.filled(index, 0, places), rewriter.numeric(updates)], data.dims)
    sizes = np.array(data.shape[axis] if elements else data.shape[: bound(index.dims[-1])], np.int64)
    behind = np.where(np.arange(sizes.size) == 0, sizes, 0).reshape(sizes.shape)
    if places.dtype != ir.DataType.INT64:
        places = rewriter.emit("Cast", places, to=ir.DataType.INT64, shape=index.shape, dtype=ir.DataType.INT64)
    negative = rewriter.emit("Less", places, np.array(0, np.int64), shape=index.shape, dtype=ir.DataType.BOOL)
    turned = rewriter.emit("Add", places, sizes, shape=index.shape, dtype=ir.DataType.INT64)
    places = rewriter.emit("Where", negative, turned, places, shape=index.shape, dtype=ir.DataType.INT64)
    more = [size + (place == axis) for place, size in enumerate(data.shape)]
    assert target.dtype is not None
    row = np.zeros([1 if place == axis else size for place, size in enumerate(data.shape)], target.dtype.numpy())
    target = rewriter.emit("Concat", target, row, axis=axis, shape=more, dtype=target.dtype)
    inputs = [target, rewriter.filled(index, behind, places), rewriter.numeric(updates)]
    written = rewriter.again(node, inputs, [dim(size) for size in more])
    limits = [np.array([number], np.int64) for number in (0, data.shape[axis], axis)]
    return Bounded(
        rewriter.emit("Slice", rewriter.tensor(written), *limits, shape=data.shape, dtype=target.dtype), data.dims
    )


def _in_turn(rewriter: Rewriter, updates: Bounded, axis: int, kept: Dim) -> Bounded:
    """Rows from elsewhere, one for each real row of `kept`: one alone for all, or one after the other."""
    dims = (*updates.dims[:axis], kept, *updates.dims[axis + 1 :])
    shape = [bound(part) for part in dims]
    dtype = rewriter.tensor(updates).dtype
    if bound(updates.dims[axis]) == 1:
        return Bounded(rewriter.emit("Expand", rewriter.numeric(updates), shape, shape=shape, dtype=dtype), dims)
    updates = rewriter.exact(updates, axis)
    # Before the first real row, and behind the last one that there is an update for, nothing is read that counts.
    last = bound(updates.dims[axis]) - 1
    turn = rewriter.emit("Clip", rewriter.ranks(kept), 0, last, shape=[bound(kept)], dtype=ir.DataType.INT64)
    return Bounded(rewriter.emit("Gather", rewriter.numeric(updates), turn, axis=axis, shape=shape, dtype=dtype), dims)
