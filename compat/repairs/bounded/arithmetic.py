"""Bounded tensors in operators that compute: element by element, along a dimension, or row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.operators import BROADCASTING, UNARY
from enginesmith.compat.repairs.bounded.dims import Dim, Least, bound, dim, is_static
from enginesmith.compat.repairs.bounded.filters import counted, flat
from enginesmith.compat.repairs.bounded.rewriter import Rewriter, inferred_shape, rule
from enginesmith.compat.repairs.bounded.shapes import added, broadcast, filtered, sized
from enginesmith.compat.repairs.bounded.values import Bounded, Size
from enginesmith.compat.values import argument, attribute, constant


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ROW_BY_ROW = _names("""
    AveragePool BatchNormalization Conv ConvTranspose DepthToSpace GlobalAveragePool GlobalLpPool GlobalMaxPool
    GroupNormalization InstanceNormalization LpPool LRN MaxPool Resize SpaceToDepth Upsample
""")
"""What is computed for each element of the first dimension alone."""


@rule("Identity", "Cast", "CastLike")
def renamed(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    integer = node.outputs[0].dtype in (ir.DataType.INT64, ir.DataType.INT32)
    same = data.value is not None and data.value.dtype is not None and data.value.dtype == node.outputs[0].dtype
    if node.op_type == "Identity" or same or (data.sizes is not None and integer):
        return data
    if data.positions is not None and integer:
        done = rewriter.again(node, [rewriter.tensor(data), *node.inputs[1:]], data.dims)
        return Bounded(done.value, done.dims, data.positions)
    return rewriter.again(node, [rewriter.numeric(data), *node.inputs[1:]], data.dims)


@rule(*UNARY)
def unary(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    return rewriter.again(node, [rewriter.numeric(data), *node.inputs[1:]], data.dims)


@rule(*BROADCASTING)
def elementwise(rewriter: Rewriter, node: ir.Node) -> Bounded:
    sizes = _sizes(rewriter, node)
    if sizes is not None:
        return sizes
    parts = [rewriter.get(value) for value in node.inputs]
    values = [rewriter.numeric(part) for part in parts]
    dtype = parts[-1].value.dtype if parts[-1].value is not None else None
    if node.op_type in ("Div", "Mod") and dtype is not None and dtype.is_integer():
        values[1] = rewriter.filled(parts[1], 1, values[1])  # what is not real may be 0, which some runtimes die of
    return rewriter.again(node, values, broadcast([part.dims for part in parts]))


def _sizes(rewriter: Rewriter, node: ir.Node) -> Bounded | None:
    """The result of arithmetic on sizes; None where nothing exact is known of it."""
    if not any(rewriter.known[value].sizes is not None for value in node.inputs if value in rewriter.known):
        return None
    function = partial(_sum, rewriter) if node.op_type == "Add" else _ON_SIZES.get(node.op_type)
    if node.op_type == "Where":
        return _choice(rewriter, node)
    vectors = [rewriter.sizes(value) for value in node.inputs]
    if function is None or len(vectors) != 2 or vectors[0] is None or vectors[1] is None:
        return None
    count = max(map(len, (vectors[0], vectors[1])))
    pairs = zip(*((vector * count)[:count] for vector in (vectors[0], vectors[1])), strict=True)
    results = [found for one, other in pairs if (found := function(one, other)) is not None]
    if len(results) < count:
        return None
    scalar = all(not rewriter.get(value).dims for value in node.inputs)
    if all(isinstance(result, bool) for result in results):
        value = rewriter.constant(np.array(results[0] if scalar else results))
        return Bounded(value, () if scalar else (dim(count),))
    return sized(rewriter, results, scalar=scalar)


def _choice(rewriter: Rewriter, node: ir.Node) -> Bounded | None:
    """Where with a known condition."""
    condition = node.inputs[0]
    flags = constant(rewriter.known[condition].value if condition in rewriter.known else condition)
    one, other = (rewriter.sizes(value) for value in node.inputs[1:])
    if flags is None or one is None or other is None or not len(one) == len(other) == flags.size:
        return None
    return sized(rewriter, [a if flag else b for flag, a, b in zip(flags.reshape(-1), one, other, strict=True)])


def _exactly(function: Callable[[int, int], int]) -> Callable[[Size, Size], Size | None]:
    return lambda one, other: function(one, other) if isinstance(one, int) and isinstance(other, int) else None


def _sum(rewriter: Rewriter, one: Size, other: Size) -> Size | None:
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    if one == 0 or other == 0:
        return other if one == 0 else one
    dims = [dim(size) if isinstance(size, int) and size > 0 else size for size in (one, other)]
    tuples = [size for size in dims if isinstance(size, tuple)]
    return added(rewriter, *tuples) if len(tuples) == 2 else None


def _difference(one: Size, other: Size) -> Size | None:
    if isinstance(one, int) and isinstance(other, int):
        return one - other
    return one if other == 0 else 0 if one == other else None


def _product(one: Size, other: Size) -> Size | None:
    if isinstance(one, Least) or isinstance(other, Least):
        return None
    if isinstance(one, int) and isinstance(other, int):
        return one * other
    parts = [part if isinstance(part, tuple) else (part,) for part in (one, other)]
    return dim(*parts[0], *parts[1])


def _least(one: Size, other: Size) -> Size | None:
    if isinstance(one, int) and isinstance(other, int):
        return min(one, other)
    if isinstance(one, int) and isinstance(other, tuple):
        return Least(one, other)
    return Least(other, one) if isinstance(one, tuple) and isinstance(other, int) else None


def _equal(one: Size, other: Size) -> bool | None:
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    number = one if isinstance(one, int) else other
    return False if isinstance(number, int) and number < 0 else None


_ON_SIZES: dict[str, Callable[[Size, Size], Any]] = {
    "Sub": _difference,
    "Max": _exactly(max),
    "Min": _least,
    "Mul": _product,
    "Equal": _equal,
}


NEUTRAL: dict[str, Callable[[np.dtype[Any]], Any]] = {
    **dict.fromkeys(("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceMean", "CumSum"), lambda kind: 0),
    "ReduceLogSum": lambda kind: 0,
    "ReduceProd": lambda kind: 1,
    **dict.fromkeys(
        ("ReduceMax", "ReduceLogSumExp", "ArgMax", "Softmax", "LogSoftmax", "Hardmax"), lambda k: _lowest(k)
    ),
    **dict.fromkeys(("ReduceMin", "ArgMin"), lambda kind: _highest(kind)),
}
"""What changes nothing where it is added to the rows."""


def _lowest(kind: np.dtype[Any]) -> Any:
    return False if kind == np.bool_ else np.iinfo(kind).min if kind.kind in "iu" else -np.inf


def _highest(kind: np.dtype[Any]) -> Any:
    return True if kind == np.bool_ else np.iinfo(kind).max if kind.kind in "iu" else np.inf


def lowest(dtype: ir.DataType | None) -> Any:
    """What is below every number of a dtype. Raises NotApplicable where the dtype is unknown."""
    if dtype is None:
        raise NotApplicable("the dtype is unknown")
    return _lowest(dtype.numpy())


def highest(dtype: ir.DataType | None) -> Any:
    """What is above every number of a dtype. Raises NotApplicable where the dtype is unknown."""
    if dtype is None:
        raise NotApplicable("the dtype is unknown")
    return _highest(dtype.numpy())


@rule(*(name for name in NEUTRAL if name.startswith("Reduce")))
def reduce(rewriter: Rewriter, node: ir.Node) -> Bounded:
    condition = counted(node)
    if condition is not None:
        of = rewriter.get(condition)
        rows = filtered(rewriter, ("nonzero", condition), rewriter.numeric(of), flat(of.dims))
        return sized(rewriter, [rows], scalar=not attribute(node, "keepdims", 1))
    data = rewriter.get(node.inputs[0])
    if data.sizes is not None:
        found = _reduced_sizes(node, data.sizes)
        if found is not None:
            return sized(rewriter, [found], scalar=not attribute(node, "keepdims", 1))
    given = argument(node, 1)
    axes = [int(axis) % len(data.dims) for axis in rewriter.numbers(given).reshape(-1)] if given is not None else []
    if not axes and attribute(node, "noop_with_empty_axes", 0):
        return data
    axes = axes or list(range(len(data.dims)))
    keep = attribute(node, "keepdims", 1)
    dims = [() if index in axes else part for index, part in enumerate(data.dims) if keep or index not in axes]
    gone = [data.dims[axis] for axis in axes]
    value = rewriter.numeric(data)
    if all(map(is_static, gone)):
        return rewriter.again(node, [value, *node.inputs[1:]], dims)
    assert value.dtype is not None
    kind = value.dtype.numpy()
    value = rewriter.filled(data, NEUTRAL[node.op_type](kind), value)
    if node.op_type != "ReduceMean":
        return rewriter.again(node, [value, *node.inputs[1:]], dims)
    shape = [bound(part) for part in dims]
    total = rewriter.emit("ReduceSum", value, *node.inputs[1:], keepdims=keep, shape=shape, dtype=value.dtype)
    count = rewriter.count(dim(*(factor for part in gone for factor in part)))
    count = rewriter.emit("Cast", count, to=value.dtype, shape=[1], dtype=value.dtype)
    count = rewriter.emit("Max", count, np.ones(1, kind), shape=[1], dtype=value.dtype)
    count = rewriter.reshape(count, [1] * len(dims))  # of no rows ONNX leaves the mean undefined; runtimes give 0
    return Bounded(rewriter.emit("Div", total, count, shape=shape, dtype=value.dtype), tuple(dims))


def _reduced_sizes(node: ir.Node, sizes: Sequence[Size]) -> Size | None:
    function = {"ReduceProd": _product, "ReduceMin": _least}.get(node.op_type)
    if function is None or not sizes:
        return None
    result: Size | None = sizes[0]
    for size in sizes[1:]:
        result = None if result is None else function(result, size)
    return result


@rule("Softmax", "LogSoftmax", "Hardmax", "LpNormalization")
def along(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    value = rewriter.numeric(data)
    if not is_static(data.dims[attribute(node, "axis", -1)]):
        if node.op_type == "LpNormalization":
            raise NotApplicable("it goes along a dimension that depends on the data")
        value = rewriter.filled(data, lowest(value.dtype), value)
    return rewriter.again(node, [value], data.dims)


@rule("CumSum")
def running_sum(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    return rewriter.again(node, [rewriter.filled(data, 0, rewriter.numeric(data)), node.inputs[1]], data.dims)


@rule("LayerNormalization", "RMSNormalization")
def normalized(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    axis = attribute(node, "axis", -1) % len(data.dims)
    if not all(map(is_static, data.dims[axis:])) or any(value in rewriter.known for value in node.inputs[1:] if value):
        raise NotApplicable("it goes along a dimension that depends on the data")
    return rewriter.again(node, [rewriter.tensor(data), *node.inputs[1:]], data.dims)


@rule("MatMul")
def matmul(rewriter: Rewriter, node: ir.Node) -> Bounded:
    one, other = (rewriter.get(value) for value in node.inputs)
    if min(len(one.dims), len(other.dims)) < 2:
        raise NotApplicable("one of its inputs has a single dimension")
    if one.dims[-1] != other.dims[-2]:
        raise NotApplicable("it combines rows that were selected by different conditions")
    values = [rewriter.tensor(one), rewriter.tensor(other)]
    if not is_static(one.dims[-1]):
        values = [rewriter.filled(part, 0) for part in (one, other)]
    batch = broadcast([one.dims[:-2], other.dims[:-2]])
    return rewriter.again(node, values, [*batch, one.dims[-2], other.dims[-1]])


@rule("Gemm")
def gemm(rewriter: Rewriter, node: ir.Node) -> Bounded:
    parts = [rewriter.get(value) for value in node.inputs]
    a, b = (
        part.dims[::-1] if attribute(node, name, 0) else part.dims
        for part, name in zip(parts, ("transA", "transB"), strict=False)
    )
    if a[1] != b[0] or not is_static(a[1]):
        raise NotApplicable("it sums over a dimension that depends on the data")
    dims = [a[0], b[1]]
    if len(parts) > 2:
        broadcast([dims, parts[2].dims])
    return rewriter.again(node, [rewriter.tensor(part) for part in parts], dims)


@rule(*ROW_BY_ROW)
def row_by_row(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    if any(value in rewriter.known for value in node.inputs[1:] if value) or len(node.outputs) > 1:
        raise NotApplicable("it takes or gives more than one tensor that depends on the data")
    rows = _leading(data.dims)
    inputs = [rewriter.tensor(data), *node.inputs[1:]]
    shape = inferred_shape(node, inputs)
    if shape[0] != bound(rows):
        raise NotApplicable("it changes the number of rows")
    return rewriter.again(node, inputs, [rows, *map(dim, shape[1:])])


@rule("Pad")
def pad(rewriter: Rewriter, node: ir.Node) -> Bounded:
    data = rewriter.get(node.inputs[0])
    rank = len(data.dims)
    amounts = rewriter.numbers(argument(node, 1)).reshape(2, -1)
    axes = rewriter.numbers(argument(node, 3), np.arange(rank)) % rank
    dims = list(data.dims)
    for axis, before, after in zip(axes, *amounts, strict=True):
        if before or after:
            if not is_static(dims[axis]):
                raise NotApplicable("it pads a dimension that depends on the data")
            dims[axis] = dim(bound(dims[axis]) + int(before) + int(after))
    return rewriter.again(node, [rewriter.numeric(data), *node.inputs[1:]], dims)


def _leading(dims: Sequence[Dim]) -> Dim:
    """The first dimension, if it alone depends on the data."""
    if not dims or not all(map(is_static, dims[1:])):
        raise NotApplicable("it mixes the elements of a dimension that depends on the data")
    return dims[0]
