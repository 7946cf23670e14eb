"""Bounded tensors in operators that change shapes, and arithmetic on sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.repairs.bounded.dims import Axis, Dim, Least, bound, dim, is_exact, is_static, regroup
from enginesmith.compat.repairs.bounded.rewriter import Rewriter, rule
from enginesmith.compat.repairs.bounded.values import Bounded, Positions, Size
from enginesmith.compat.values import argument, attribute, static_shape


def sized(rewriter: Rewriter, sizes: Sequence[Size], scalar: bool = False) -> Bounded:
    """A vector of sizes; a constant as soon as all are known."""
    dims = () if scalar else (dim(len(sizes)),)
    simple = [bound(size) if isinstance(size, tuple) and is_static(size) else size for size in sizes]
    value = None
    if all(isinstance(size, int) for size in simple):
        value = rewriter.constant(np.array(simple[0] if scalar else simple, np.int64))
    return Bounded(value, dims, sizes=tuple(simple))


def filtered(rewriter: Rewriter, key: object, condition: ir.Value, rows: Dim) -> Dim:
    """Those of `rows` for which `condition`, of as many elements, holds. `key` tells equal filters."""

    def make() -> Axis:
        size = bound(rows)
        flags = condition
        if flags.dtype != ir.DataType.BOOL:
            shape = static_shape(flags) or []
            flags = rewriter.emit("Cast", flags, to=ir.DataType.BOOL, shape=shape, dtype=ir.DataType.BOOL)
        flags = rewriter.reshape(flags, [size])
        mask = rewriter.mask(rows)
        return Axis(size, flags if mask is None else rewriter.both(mask, flags), packed=False)

    return dim(rewriter.once(key, make))


@rule("Shape")
def shape(rewriter: Rewriter, node: ir.Node) -> Bounded:
    dims = rewriter.get(node.inputs[0]).dims
    return sized(rewriter, dims[slice(attribute(node, "start", 0), attribute(node, "end"))])


@rule("Size")
def size(rewriter: Rewriter, node: ir.Node) -> Bounded:
    dims = rewriter.get(node.inputs[0]).dims
    return sized(rewriter, [dim(*(factor for part in dims for factor in part))], scalar=True)


def wanted(rewriter: Rewriter, value: ir.Value | None) -> list[int | Dim]:
    """A shape given as an input. Raises NotApplicable if it is computed in a way that nothing is known of."""
    sizes = rewriter.sizes(value)
    if sizes is None or any(isinstance(size, Least) for size in sizes):
        raise NotApplicable("the shape that it is given depends on the data")
    return [size for size in sizes if not isinstance(size, Least)]


@rule("Reshape")
def reshape(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    goal = wanted(rewriter, node.inputs[1])
    if data.sizes is not None and is_static(dim(*(f for s in goal for f in (s if isinstance(s, tuple) else (s,))))):
        return Bounded(data.value, () if not goal else (dim(len(data.sizes)),), sizes=data.sizes)
    if not attribute(node, "allowzero", 0):
        goal = [data.dims[index] if part == 0 else part for index, part in enumerate(goal)]
    return reshaped(rewriter, data, regroup(data.dims, goal))


def reshaped(rewriter: Rewriter, data: Bounded, dims: Sequence[Dim]) -> Bounded:
    positions = data.positions
    if positions is not None and len(positions.of) > 1:
        if not all(map(is_exact, positions.of)):
            raise NotApplicable("positions in a dimension that depends on the data are reshaped")
        positions = None
    elif positions is not None:
        positions = Positions(positions.of, positions.identity)
    value = rewriter.reshape(rewriter.tensor(data), [bound(part) for part in dims])
    return Bounded(value, tuple(dims), positions)


@rule("Flatten")
def flatten(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    axis = attribute(node, "axis", 1)
    axis += len(data.dims) if axis < 0 else 0
    parts = (data.dims[:axis], data.dims[axis:])
    return reshaped(rewriter, data, [dim(*(factor for part in half for factor in part)) for half in parts])


@rule("Squeeze")
def squeeze(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    axes = argument(node, 1)
    gone = (
        [index for index, part in enumerate(data.dims) if part == ()]
        if axes is None
        else [int(axis) % len(data.dims) for axis in rewriter.numbers(axes).reshape(-1)]
    )
    if data.sizes is not None:
        return Bounded(data.value and rewriter.reshape(data.value, []), (), sizes=data.sizes)
    return reshaped(rewriter, data, [part for index, part in enumerate(data.dims) if index not in gone])


@rule("Unsqueeze")
def unsqueeze(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    axes = rewriter.numbers(argument(node, 1)).reshape(-1)
    rank = len(data.dims) + len(axes)
    if data.sizes is not None and rank == 1:
        return Bounded(data.value and rewriter.reshape(data.value, [1]), ((),), sizes=data.sizes)
    dims = list(data.dims)
    for axis in sorted(int(axis) % rank for axis in axes):
        dims.insert(axis, ())
    return reshaped(rewriter, data, dims)


@rule("Transpose")
def transpose(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    order = attribute(node, "perm", list(reversed(range(len(data.dims)))))
    result = rewriter.again(node, [rewriter.tensor(data)], [data.dims[index] for index in order])
    positions = data.positions
    if positions is not None and positions.columns is not None:
        positions = Positions(positions.of, positions.identity, order.index(positions.columns))
    return Bounded(result.value, result.dims, positions)


@rule("Expand")
def expand(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    goal = [part if isinstance(part, tuple) else dim(part) for part in wanted(rewriter, node.inputs[1])]
    dims = broadcast([data.dims, goal])
    if list(data.dims) == dims:
        return data
    shape = [bound(part) for part in dims]
    value = rewriter.tensor(data)
    value = rewriter.emit("Expand", value, np.array(shape, np.int64), shape=shape, dtype=value.dtype)
    positions = data.positions
    if positions is not None and len(positions.of) > 1:
        raise NotApplicable("positions in several dimensions are expanded")
    return Bounded(value, tuple(dims), positions)


def broadcast(all_dims: Sequence[Sequence[Dim]]) -> list[Dim]:
    """The dimensions of an elementwise result. Raises NotApplicable where rows of different selections meet."""
    rank = max(map(len, all_dims))
    result: list[Dim] = []
    for index in range(rank):
        parts = [dims[index - rank + len(dims)] for dims in all_dims if index >= rank - len(dims)]
        distinct = list(dict.fromkeys(part for part in parts if part != ()))
        if len(distinct) > 1:
            raise NotApplicable("it combines rows that were selected by different conditions")
        result.append(distinct[0] if distinct else ())
    return result


@rule("ConstantOfShape")
def constant_of_shape(rewriter: Rewriter, node: ir.Node) -> Bounded:
    dims = [part if isinstance(part, tuple) else dim(part) for part in wanted(rewriter, node.inputs[0])]
    return rewriter.again(node, [np.array([bound(part) for part in dims], np.int64)], dims)


@rule("Range")
def numbered(rewriter: Rewriter, node: ir.Node) -> Bounded:
    start, limit, step = (rewriter.sizes(value) for value in node.inputs)
    known = [part[0] for part in (start, limit, step) if part is not None and isinstance(part[0], int)]
    if len(known) == 3:
        value = rewriter.constant(np.arange(*known, dtype=np.int64))
        return Bounded(value, (dim(len(range(*known))),))
    if start != (0,) or step != (1,) or limit is None or not isinstance(limit[0], tuple):
        raise NotApplicable("its number of elements depends on the data")
    rows = limit[0]
    value = rewriter.constant(np.arange(bound(rows)))
    return Bounded(value, (rows,), Positions((rows,), identity=len(rows) == 1))


@rule("Concat")
def concat(rewriter: Rewriter, node: ir.Node) -> Bounded:
    vectors = [rewriter.sizes(value) for value in node.inputs]
    if any(value in rewriter.known and rewriter.known[value].sizes is not None for value in node.inputs if value):
        known = [vector for vector in vectors if vector is not None]
        if len(known) == len(vectors):
            return sized(rewriter, [part for vector in known for part in vector])
    parts = [rewriter.get(value) for value in node.inputs]
    axis = attribute(node, "axis", 0) % len(parts[0].dims)
    others = broadcast([(*part.dims[:axis], *part.dims[axis + 1 :]) for part in parts])
    joined = _joined(rewriter, [part.dims[axis] for part in parts])
    dims = [*others[:axis], joined, *others[axis:]]
    return rewriter.again(node, [rewriter.numeric(part) for part in parts], dims)


def added(rewriter: Rewriter, one: Dim, other: Dim) -> Dim:
    """A dimension of as many rows as two have: that of them joined in either order, if there is one yet, else of what is selected
    and a constant behind it."""
    orders = [[one, other], [other, one]]
    orders.sort(key=lambda parts: (("concat", *parts) not in rewriter.memo, is_static(parts[0])))
    return _joined(rewriter, orders[0])


def _joined(rewriter: Rewriter, parts: Sequence[Dim]) -> Dim:
    """The rows of one dimension after those of another."""
    if len(parts) == 1:
        return parts[0]
    total = sum(map(bound, parts))
    if all(map(is_static, parts)):
        return dim(total)

    def make() -> Axis:
        masks = [rewriter.mask(part) or rewriter.constant(np.ones(bound(part), bool)) for part in parts]
        valid = rewriter.emit("Concat", *masks, axis=0, shape=[total], dtype=ir.DataType.BOOL)
        return Axis(total, valid, packed=all(map(is_static, parts[:-1])) and is_exact(parts[-1]))

    return dim(rewriter.once(("concat", *parts), make))


@rule("Split")
def split(rewriter: Rewriter, node: ir.Node) -> list[Bounded]:
    data = rewriter.get(node.inputs[0])
    axis = attribute(node, "axis", 0) % len(data.dims)
    if not is_static(data.dims[axis]):
        raise NotApplicable("it cuts a dimension that depends on the data")
    size, count = bound(data.dims[axis]), len(node.outputs)
    sizes = argument(node, 1)
    most = -(-size // count)
    lengths = (
        [min(most, size - most * index) for index in range(count)]
        if sizes is None
        else [int(length) for length in rewriter.numbers(sizes)]
    )
    dims = [(*data.dims[:axis], dim(length), *data.dims[axis + 1 :]) for length in lengths]
    shapes = [([bound(part) for part in part_dims], node.outputs[0].dtype) for part_dims in dims]
    values = rewriter.emit_all("Split", rewriter.tensor(data), np.array(lengths, np.int64), outputs=shapes, axis=axis)
    ends = np.cumsum(lengths)
    tags = [
        _part(data.positions, axis, range(int(end) - length, int(end)))
        for end, length in zip(ends, lengths, strict=True)
    ]
    return [Bounded(value, part, tag) for value, part, tag in zip(values, dims, tags, strict=True)]


def _part(positions: Positions | None, axis: int, chosen: range) -> Positions | None:
    """Positions after some elements of a static axis were cut out."""
    if positions is None:
        return None
    return positions.pick(chosen) if positions.columns == axis else positions


@rule("Slice")
def cut(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    starts, ends = (rewriter.sizes(argument(node, index)) for index in (1, 2))
    if starts is None or ends is None:
        raise NotApplicable("where it cuts depends on the data")
    axes = argument(node, 3)
    places = range(len(starts)) if axes is None else [int(axis) for axis in rewriter.numbers(axes)]
    steps = rewriter.numbers(argument(node, 4), np.ones(len(starts), np.int64))
    if data.sizes is not None and len(starts) == 1 and isinstance(starts[0], int) and isinstance(ends[0], int):
        return sized(rewriter, data.sizes[starts[0] : ends[0] : int(steps[0])])
    for axis, start, end, step in zip(places, starts, ends, steps, strict=True):
        data = _cut(rewriter, data, axis % len(data.dims), start, end, int(step))
    return data


def _cut(rewriter: Rewriter, data: Bounded, axis: int, start: Size, end: Size, step: int) -> Bounded:
    rows = data.dims[axis]
    end = end.most if isinstance(end, Least) and end.of == rows else end
    if start == 0 and step == 1 and (end == rows or (isinstance(end, int) and end >= bound(rows))):
        return data
    if start == 0 and step == 1 and isinstance(end, tuple):
        return _first(rewriter, data, axis, end)
    if not isinstance(start, int) or not isinstance(end, int):
        raise NotApplicable("where it cuts depends on the data")
    if is_static(rows):
        chosen = range(*slice(start, end, step).indices(bound(rows)))
        value, positions = rewriter.tensor(data), _part(data.positions, axis, chosen)
        new: Dim = dim(len(chosen))
    else:
        if start < 0 or end < 0 or step != 1:
            raise NotApplicable("it counts from the end of a dimension that depends on the data")
        data = rewriter.exact(data, axis)
        rows, value = data.dims[axis], rewriter.tensor(data)
        positions = data.positions and data.positions.moved()
        end = min(end, bound(rows))
        new = dim(_front(rewriter, rows, start, end))
    dims = (*data.dims[:axis], new, *data.dims[axis + 1 :])
    limits = [np.array([number], np.int64) for number in (start, end, axis, step)]
    value = rewriter.emit("Slice", value, *limits, shape=[bound(part) for part in dims], dtype=value.dtype)
    return Bounded(value, dims, positions)


def _first(rewriter: Rewriter, data: Bounded, axis: int, count: Dim) -> Bounded:
    """As many of the first rows as a dimension that depends on the data has; all, where there are fewer."""
    data = rewriter.exact(data, axis)
    rows = data.dims[axis]
    new = rewriter.first(bound(rows), count)
    old = rewriter.mask(rows)
    if old is not None:

        def make() -> Axis:
            return Axis(bound(rows), rewriter.both(old, new.valid), packed=True)

        new = rewriter.once(("both", rows, count), make)
    dims = (*data.dims[:axis], dim(new), *data.dims[axis + 1 :])
    return Bounded(rewriter.tensor(data), dims, data.positions)


def _front(rewriter: Rewriter, rows: Dim, start: int, end: int) -> Axis:
    def make() -> Axis:
        limits = [np.array([number], np.int64) for number in (start, end, 0)]
        size = max(end - start, 0)
        valid = rewriter.emit("Slice", rewriter.mask(rows), *limits, shape=[size], dtype=ir.DataType.BOOL)
        return Axis(size, valid, packed=True)

    return rewriter.once(("slice", rows, start, end), make)
