"""Reductions, Squeeze and Unsqueeze whose axes are only given at run time, and reductions over nothing."""

from __future__ import annotations

from itertools import combinations
from math import prod

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.operators import REDUCTIONS
from enginesmith.compat.repairs.arithmetic import modern
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, constant, dtype, shape, static_shape

MAX_RANK = 8
MAX_CHOICES = 4
"""So many reductions are computed at most to choose the right one at run time."""
UNKNOWN = "the axes are known at run time only"
EMPTY = {
    "ReduceL1": 0.0,
    "ReduceL2": 0.0,
    "ReduceLogSum": -np.inf,
    "ReduceLogSumExp": -np.inf,
    "ReduceMax": -np.inf,
    "ReduceMin": np.inf,
    "ReduceProd": 1.0,
    "ReduceSum": 0.0,
    "ReduceSumSquare": 0.0,
}
"""What a reduction over no element gives, by the ONNX specification; ReduceMean leaves it undefined."""


@repair(
    "reduce-nothing",
    ops=tuple(EMPTY),
    example="""
<ir_version: 10, opset_import: ["" : 18]>
nothing (float[2, 0, 4] x) => (float[2, 1, 4] y) <int64[1] axes = {1}> { y = ReduceProd (x, axes) }
""",
)
def reduce_nothing(node: ir.Node, build: Builder) -> Replacement:
    """A reduction over an axis of size 0 has a constant result: a sum 0, a product 1, a maximum minus infinity."""
    sizes, result, kind = static_shape(node.inputs[0]), static_shape(node.outputs[0]), dtype(node.outputs[0])
    if sizes is None or 0 not in sizes or result is None or 0 in result:
        raise NotApplicable("it reduces something")
    if kind is None or (not kind.is_floating_point() and not np.isfinite(EMPTY[node.op_type])):
        raise NotApplicable(f"{kind} has no infinity")
    return build.constant(np.full(result, EMPTY[node.op_type], kind.numpy()))


@repair(
    "reduce-number",
    ops=REDUCTIONS,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
mean (float x) => (float y) { y = ReduceMean (x) }
""",
)
def reduce_number(node: ir.Node, build: Builder) -> Replacement:
    """Of a single number a sum, a mean or an extreme is the number itself; of its magnitude, square or logarithm, that."""
    x = node.inputs[0]
    if x is None or static_shape(x) != []:
        raise NotApplicable("it reduces more than a number")
    if node.op_type in ("ReduceL1", "ReduceL2"):
        return build.op("Abs", x)
    if node.op_type == "ReduceSumSquare":
        return build.op("Mul", x, x)
    return build.op("Log" if node.op_type == "ReduceLogSum" else "Identity", x)


@repair(
    "reduce-runtime-axes",
    ops=REDUCTIONS,
    tolerance=1e-6,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sums (float[3, 2, 2] x, int64[1] axes) => (float[3, 1, 2] y) { y = ReduceSum (x, axes) }
""",
)
def reduce_runtime_axes(node: ir.Node, build: Builder) -> Replacement:
    """Axes that are an input become constants where the declared shapes leave one possibility.

    Where they leave a few, each of them is computed, and the input selects one.
    """
    x, axes = node.inputs[0], argument(node, 1)
    modern(build)
    if x is None or axes is None or constant(axes) is not None:
        raise NotApplicable("its axes are constant")
    sizes, result = static_shape(x), static_shape(node.outputs[0])
    keepdims, noop = attribute(node, "keepdims", 1), attribute(node, "noop_with_empty_axes", 0)
    if sizes is None or result is None or len(sizes) > MAX_RANK:
        raise NotApplicable(UNKNOWN)
    count = (shape(axes) or [None])[0]
    if count == 0:
        build.assume(axes, np.zeros(0, np.int64))
        return build.op(node.op_type, x, None, keepdims=keepdims, noop_with_empty_axes=noop)
    choices = _choices(sizes, result, bool(keepdims), count)
    if not choices:
        raise NotApplicable("no axes give the declared shape")
    if len(choices) > MAX_CHOICES:
        raise NotApplicable(UNKNOWN)
    build.assume(axes, *(np.array(choice, np.int64) for choice in choices))
    results = [build.op(node.op_type, x, list(choice), keepdims=keepdims) for choice in choices]
    selected = results[-1]
    if len(results) > 1:
        # Of each axis: is it among those given? Negative ones count from the end. One of size 1 may be, or another of them.
        end, real = len(sizes), [axis for axis, size in enumerate(sizes) if size != 1]
        counted = build.op("Mod", build.op("Add", build.op("Cast", axes, to=ir.DataType.INT64), end), end)
        given = build.op("Equal", build.op("Unsqueeze", counted, [1]), np.array([real], np.int64))
        among = build.op("ReduceMax", build.op("Cast", given, to=ir.DataType.INT32), [0], keepdims=0)
        for choice, value in zip(choices[:-1], results[:-1], strict=True):
            wanted = np.array([axis in choice for axis in real], np.int32)
            differs = build.op("ReduceMax", build.op("Abs", build.op("Sub", among, wanted)), [0], keepdims=0)
            selected = build.op("Where", build.op("Equal", differs, np.int32(0)), value, selected)
    return selected


@repair(
    "reduce-bool",
    ops=("ReduceMax", "ReduceMin"),
    example="""
<ir_version: 10, opset_import: ["" : 20]>
any (bool[3, 2] x) => (bool[3] y) <int64[1] axes = {1}> { y = ReduceMax <keepdims = 0> (x, axes) }
""",
)
def reduce_bool(node: ir.Node, build: Builder) -> Replacement:
    """The maximum or minimum of truth values (any or all of them) is taken of the integers 0 and 1."""
    modern(build)
    if dtype(node.inputs[0]) != ir.DataType.BOOL:
        raise NotApplicable("it reduces numbers")
    numbers = build.op("Cast", node.inputs[0], to=ir.DataType.INT32)
    attributes = {name: found.value for name, found in node.attributes.items()}
    result = build.op(node.op_type, numbers, argument(node, 1), **attributes)
    return build.op("Cast", result, to=ir.DataType.BOOL)


def _choices(sizes: list[int], result: list[int], keepdims: bool, count: int | None) -> list[tuple[int, ...]]:
    """The sets of axes whose reduction turns `sizes` into `result`, one for each different result."""
    found: dict[tuple[int, ...], tuple[int, ...]] = {}
    everything = range(len(sizes))
    for number in everything[1:] if count is None else [count]:
        for chosen in combinations(everything, number):
            kept = [1 if i in chosen else size for i, size in enumerate(sizes) if keepdims or i not in chosen]
            if kept == result:
                # An axis of size 1 may be reduced or not: the elements are the same.
                found.setdefault(tuple(axis for axis in chosen if sizes[axis] != 1), chosen)
    return list(found.values())


@repair(
    "squeeze-runtime-axes",
    ops=("Squeeze", "Unsqueeze"),
    example="""
<ir_version: 10, opset_import: ["" : 18]>
wider (float[3, 4] x, int64[1] axes) => (float[3, 1, 4] y) { y = Unsqueeze (x, axes) }
""",
)
def squeeze_runtime_axes(node: ir.Node, build: Builder) -> Replacement:
    """Squeeze and Unsqueeze with axes that are an input become a Reshape to the declared shape."""
    x, axes = node.inputs[0], argument(node, 1)
    if axes is None or constant(axes) is not None:
        raise NotApplicable("its axes are constant")
    sizes, result = static_shape(x), static_shape(node.outputs[0])
    if sizes is None or result is None or prod(sizes) != prod(result):
        raise NotApplicable(UNKNOWN)
    wide, narrow = (sizes, result) if node.op_type == "Squeeze" else (result, sizes)
    for chosen in combinations(range(len(wide)), len(wide) - len(narrow)):
        ones = all(wide[axis] == 1 for axis in chosen)
        if ones and [size for axis, size in enumerate(wide) if axis not in chosen] == narrow:
            places = np.array(chosen, np.int64)
            build.assume(axes, places if shape(axes) else places.reshape(()))
            return build.op("Reshape", x, result, allowzero=1 if 0 in result else None)
    raise NotApplicable("no axes give the declared shape")
