"""Scatter with a reduction, where several updates may meet in one place, and scatter into a cache."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import Arithmetic, Operand
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.repairs.selections import summed
from enginesmith.compat.target import TENSORRT
from enginesmith.compat.values import Array, argument, attribute, dtype, required, shape, static_shape

REDUCE = {
    "add": ("Add", "ReduceSum"),
    "mul": ("Mul", "ReduceProd"),
    "max": ("Max", "ReduceMax"),
    "min": ("Min", "ReduceMin"),
}
"""For each reduction the operator of two tensors, and that of all elements along an axis."""
MAX_STEPS = 16
"""Updates up to which they are made one after the other."""
MAX_COMPARED = 1 << 24
"""Elements of the largest intermediate where every place is compared with every update."""


@repair(
    "scatter-elements-by-steps",
    ops="ScatterElements",
    backends=TENSORRT,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sums (float[2, 5] x, int64[2, 3] where, float[2, 3] u) => (float[2, 5] y) {
  y = ScatterElements <axis = 1, reduction = "add"> (x, where, u)
}
""",
)
def scatter_elements(node: ir.Node, build: Builder) -> Replacement:
    """The updates along the axis are made one after the other: read the place, combine, write it back."""
    data, indices, updates = required(node, 3)
    binary, reduce = _reduction(node)
    updates = _without_nan(build, updates, reduce, dtype(data))
    axis = _axis(node)
    count = _known(indices)[axis]
    if count is None or count > MAX_STEPS:
        raise NotApplicable(f"it has {_number(count)} updates along its axis")
    indices = _wrapped(build, indices, Arithmetic(build).size(data, axis))
    for step in range(count):
        place, update = (build.op("Slice", value, [step], [step + 1], [axis]) for value in (indices, updates))
        there = build.op("GatherElements", data, place, axis=axis)
        data = build.op("ScatterElements", data, place, build.op(binary, there, update), axis=axis)
    return data


@repair(
    "scatter-elements-by-comparison",
    ops="ScatterElements",
    backends=TENSORRT,
    tolerance=1e-6,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
largest (float[2, 5] x, int64[2, 30] where, float[2, 30] u) => (float[2, 5] y) {
  y = ScatterElements <axis = 1, reduction = "max"> (x, where, u)
}
""",
)
def scatter_elements_compared(node: ir.Node, build: Builder) -> Replacement:
    """Every place is compared with every update along the axis, and those that meet are reduced at once."""
    data, indices, updates = required(node, 3)
    binary, reduce = _reduction(node)
    axis = _axis(node)
    _check_compared(data, indices, axis)
    met = _met(build, indices, data, axis)
    kind = dtype(data)
    updates = _without_nan(build, updates, reduce, kind)
    chosen = build.op("Where", met, _unsqueezed(build, updates, axis), _neutral(reduce, kind))
    taken = build.op(reduce, chosen, np.array([axis + 1]), keepdims=0)
    return build.op(binary, data, taken)


@repair(
    "scatter-elements-last-wins",
    ops="ScatterElements",
    backends=TENSORRT,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
many (float[2, 3] x, int64[2, 6] where, float[2, 6] u) => (float[2, 3] y) {
  y = ScatterElements <axis = 1> (x, where, u)
}
""",
)
def scatter_elements_last(node: ir.Node, build: Builder) -> Replacement:
    """Of more updates than places each place takes the last that is meant for it, as ONNX Runtime does: the largest number of one."""
    data, indices, updates = required(node, 3)
    axis, calc = _axis(node), Arithmetic(build)
    size, count = _known(data)[axis], _known(indices)[axis]
    few = size is not None and count is not None and count <= size
    if attribute(node, "reduction", "none") != "none" or few:
        raise NotApplicable("it has a reduction, or no more updates than places")
    _check_compared(data, indices, axis)
    met = _met(build, indices, data, axis)
    turns = [1] * (len(_known(data)) + 1)
    turns[axis + 1] = -1
    numbers = calc.op("Reshape", calc.counted(calc.size(indices, axis)), np.array(turns))
    last = build.op("ReduceMax", build.op("Where", met, numbers, np.int64(-1)), np.array([axis + 1]), keepdims=0)
    taken = build.op("GatherElements", updates, build.op("Max", last, np.int64(0)), axis=axis)
    return build.op("Where", build.op("Less", last, np.int64(0)), data, taken)


@repair(
    "scatter-nd-by-steps",
    ops="ScatterND",
    backends=TENSORRT,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sums (float[4, 3] x, int64[2, 1] where, float[2, 3] u) => (float[4, 3] y) {
  y = ScatterND <reduction = "add"> (x, where, u)
}
""",
)
def scatter_nd(node: ir.Node, build: Builder) -> Replacement:
    """The updates are made one after the other: read the place, combine, write it back."""
    binary, _ = _reduction(node)
    rows = Rows(node, build)
    if rows.count is None or rows.count > MAX_STEPS:
        raise NotApplicable(f"it has {_number(rows.count)} updates")
    updates, result = rows.updates, rows.data
    for step in range(rows.count):
        place = build.op("Unsqueeze", build.op("Slice", rows.places, [step], [step + 1], [0]), [1])
        update = build.op("Slice", updates, [step], [step + 1], [0])
        there = build.op("GatherND", result, place)
        result = build.op("ScatterND", result, place, build.op(binary, there, update))
    return rows.restored(result)


@repair(
    "scatter-nd-by-comparison",
    ops="ScatterND",
    backends=TENSORRT,
    tolerance=1e-6,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sums (float[4, 3] x, int64[40, 1] where, float[40, 3] u) => (float[4, 3] y) {
  y = ScatterND <reduction = "add"> (x, where, u)
}
""",
)
def scatter_nd_compared(node: ir.Node, build: Builder) -> Replacement:
    """Every place is compared with every update; floats are summed by one matrix product, all else reduced at once."""
    binary, reduce = _reduction(node)
    rows, kind = Rows(node, build), dtype(node.inputs[0])
    summing = kind if reduce == "ReduceSum" and kind is not None and kind.is_floating_point() else None
    if rows.compared * (1 if summing else rows.width) > MAX_COMPARED:
        raise NotApplicable(f"{rows.compared} pairs of a place and an update are too many to compare")
    numbers = rows.calc.op("Unsqueeze", rows.calc.counted(rows.many), [1])
    met = build.op("Equal", numbers, rows.places)
    if summing:
        taken = summed(build, met, rows.updates, summing)
    else:
        taken = _selected(build, build.op("Unsqueeze", met, [2]), rows.updates, kind, 1, reduce)
    return rows.restored(build.op(binary, rows.data, taken))


class Rows:
    """A ScatterND as one of whole rows. A size that only the run tells counts as 1 where the work is estimated."""

    def __init__(self, node: ir.Node, build: Builder) -> None:
        data, indices, updates = required(node, 3)
        sizes, places, calc = _known(data), _known(indices), Arithmetic(build)
        if (depth := places[-1]) is None:
            raise NotApplicable("over how many axes its indices go is not known")
        self.calc, self._whole = calc, data
        limits = [calc.size(data, axis) for axis in range(depth)]
        self.many = calc.product(limits)
        """Of the data, an int64 scalar."""
        self.count = prod(known) if None not in (known := places[:-1]) else None  # type: ignore[arg-type]
        """Of the updates, None where only the run tells."""
        self.width = prod(size or 1 for size in sizes[depth:])
        self.compared = prod(size or 1 for size in (*sizes[:depth], *places[:-1]))
        """How many pairs of a row and an update there are."""
        shape = [np.array(-1), calc.product([calc.size(data, axis) for axis in range(depth, len(sizes))])]
        self.data = build.op("Reshape", data, calc.vector(shape))
        """[rows, width]"""
        self.updates = build.op("Reshape", updates, calc.vector(shape))
        """[updates, width]"""
        flat = build.op("Reshape", indices, np.array([-1, depth]))
        extent = calc.vector(limits)
        flat = build.op("Where", build.op("Less", flat, np.int64(0)), build.op("Add", flat, extent), flat)
        strides = calc.vector([calc.product(limits[axis + 1 :]) for axis in range(depth)])
        self.places = build.op("ReduceSum", build.op("Mul", flat, strides), np.array([1]), keepdims=0)
        """The row that each update is for, int64[updates]."""

    def restored(self, rows: ir.Value) -> ir.Value:
        """[rows, width] in the data's own shape."""
        return self.calc.build.op("Reshape", rows, self.calc.op("Shape", self._whole))


def _known(value: ir.Value) -> list[int | None]:
    sizes = shape(value)
    if sizes is None:
        raise NotApplicable("the ranks of its inputs are not known")
    return sizes


def _axis(node: ir.Node) -> int:
    axis: int = attribute(node, "axis", 0)
    return axis % len(_known(required(node, 1)[0]))


def _number(count: int | None) -> str:
    return "an unknown number of" if count is None else str(count)


def _reduction(node: ir.Node) -> tuple[str, str]:
    reduction = attribute(node, "reduction", "none")
    if reduction not in REDUCE:
        raise NotApplicable("it has no reduction")
    if dtype(node.inputs[0]) == ir.DataType.BOOL:
        raise NotApplicable("its data is bool")
    return REDUCE[reduction]


def _check_compared(data: ir.Value, indices: ir.Value, axis: int) -> None:
    """Raises NotApplicable where the two aren't known to have equal sizes but along the axis, or have too many elements."""
    sizes, places = _known(data), _known(indices)
    assert data.shape is not None
    assert indices.shape is not None
    for place, (size, other) in enumerate(zip(data.shape, indices.shape, strict=True)):
        if place != axis and (size != other or size == ir.SymbolicDim(None)):
            raise NotApplicable("its updates cover a part of the other axes only")
    every = prod(size or 1 for size in sizes)
    if every * (places[axis] or 1) > MAX_COMPARED:
        raise NotApplicable(f"{every} places and {places[axis]} updates for each are too many to compare")


def _met(build: Builder, indices: ir.Value, data: ir.Value, axis: int) -> ir.Value:
    """Which updates are meant for which places: these have an axis of their own behind that of the places."""
    calc = Arithmetic(build)
    size = calc.size(data, axis)
    along = [1] * (len(_known(data)) + 1)
    along[axis] = -1
    numbers = calc.op("Reshape", calc.counted(size), np.array(along))
    return build.op("Equal", _unsqueezed(build, _wrapped(build, indices, size), axis), numbers)


def _wrapped(build: Builder, indices: ir.Value, size: Operand) -> ir.Value:
    """Indices from the end, as those from the start, in int64."""
    if dtype(indices) != ir.DataType.INT64:
        indices = build.op("Cast", indices, to=ir.DataType.INT64)
    return build.op("Where", build.op("Less", indices, np.int64(0)), build.op("Add", indices, size), indices)


def _unsqueezed(build: Builder, value: ir.Value, axis: int) -> ir.Value:
    return build.op("Unsqueeze", value, [axis])


def _neutral(reduce: str, kind: ir.DataType | None) -> Array:
    """What a reduction leaves as it is. Raises NotApplicable where the dtype is unknown."""
    if kind is None:
        raise NotApplicable("its dtype is unknown")
    low, high = (-np.inf, np.inf) if kind.is_floating_point() else (kind.min, kind.max)
    return np.asarray({"ReduceSum": 0, "ReduceProd": 1, "ReduceMax": low, "ReduceMin": high}[reduce], kind.numpy())


def _loses_nan(reduce: str, kind: ir.DataType | None) -> bool:
    return reduce in ("ReduceMax", "ReduceMin") and kind is not None and kind.is_floating_point()


def _without_nan(build: Builder, updates: ir.Value, reduce: str, kind: ir.DataType | None) -> ir.Value:
    """Updates of a ScatterElements, in which ONNX's reference takes no NaN for the larger or the smaller."""
    if not _loses_nan(reduce, kind):
        return updates
    return build.op("Where", build.op("Equal", updates, updates), updates, _neutral(reduce, kind))


def _selected(
    build: Builder, met: ir.Value, updates: ir.Value, kind: ir.DataType | None, axis: int, reduce: str
) -> ir.Value:
    """The updates that are met, reduced along `axis`; what changes nothing where none is. NaN where one is met."""
    chosen = build.op("Where", met, updates, _neutral(reduce, kind))
    result = build.op(reduce, chosen, np.array([axis]), keepdims=0)
    if not _loses_nan(reduce, kind) or kind is None:
        return result
    # ReduceMax may forget NaN, where Max of two keeps it, as the reference of ScatterND does.
    nan = build.op("Cast", build.op("Not", build.op("Equal", chosen, chosen)), to=ir.DataType.INT32)
    lost = build.op("Greater", build.op("ReduceMax", nan, np.array([axis]), keepdims=0), np.int32(0))
    return build.op("Where", lost, np.asarray(np.nan, kind.numpy()), result)


@repair(
    "tensor-scatter-by-elements",
    ops="TensorScatter",
    example="""
<ir_version: 12, opset_import: ["" : 24]>
cache (float[2, 4, 5] past, float[2, 2, 5] new, int64[2] at) => (float[2, 4, 5] present) {
  present = TensorScatter <mode = "circular"> (past, new, at)
}
""",
)
def tensor_scatter(node: ir.Node, build: Builder) -> Replacement:
    """The update's rows are scattered to where the indices say, counted around the end in circular mode."""
    past, update = required(node, 2)
    start = argument(node, 2)
    sizes, shape = static_shape(past), static_shape(update)
    if sizes is None or shape is None:
        raise NotApplicable("the shapes of its inputs are not known")
    axis = attribute(node, "axis", -2) % len(sizes)
    along = [1] * len(sizes)
    along[axis] = shape[axis]
    rows: ir.Value = build.constant(np.arange(shape[axis]).reshape(along))
    if start is not None:
        build.assume(start, *(np.full([sizes[0]], at) for at in (0, sizes[axis] - shape[axis])))
        rows = build.op("Add", rows, build.op("Reshape", start, np.array([-1] + [1] * (len(sizes) - 1))))
    if attribute(node, "mode", "linear") == "circular":
        rows = build.op("Mod", rows, np.int64(sizes[axis]))
    return build.op("ScatterElements", past, build.op("Expand", rows, np.array(shape)), update, axis=axis)
