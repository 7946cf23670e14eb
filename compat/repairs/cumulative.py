"""Running sums and products."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.target import TVM
from enginesmith.compat.values import attribute, constant, dtype, rank, required, shape, static_shape

MAX_STEPS = 64
"""Elements along the axis up to which a product is written out, one multiplication after the other."""


@repair(
    "cumsum-axis-chosen",
    ops="CumSum",
    backends=TVM,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
sums (float[2, 3] x, int32 axis) => (float[2, 3] y) { y = CumSum (x, axis) }
""",
)
def cumsum(node: ir.Node, build: Builder) -> Replacement:
    """An axis given at run time: the sums along every axis are computed, and those that are asked for selected."""
    x, axis = required(node, 2)
    if constant(axis) is not None:
        raise NotApplicable("its axis is a constant")
    given = {name: value.value for name, value in node.attributes.items()}
    return _chosen(build, x, axis, lambda place: build.op("CumSum", x, np.int64(place), **given))


@repair(
    "cumprod-by-steps",
    ops="CumProd",
    example="""
<ir_version: 12, opset_import: ["" : 26]>
products (float[2, 5] x) => (float[2, 5] y) <int32 axis = {1}> {
  y = CumProd <exclusive = 1, reverse = 1> (x, axis)
}
""",
)
def cumprod(node: ir.Node, build: Builder) -> Replacement:
    """The elements along the axis are multiplied one after the other, in the operator's own order."""
    x, axis = required(node, 2)
    place = constant(axis)
    if place is not None:
        return _products(node, build, x, int(place.reshape(())))
    return _chosen(build, x, axis, lambda along: _products(node, build, x, along))


def _chosen(build: Builder, x: ir.Value, axis: ir.Value, along: Callable[[int], ir.Value]) -> ir.Value:
    """What `along` makes of the axis that a run chooses."""
    axes, kind, sizes = rank(x), dtype(axis), static_shape(axis)
    if not axes or kind is None or sizes is None:
        raise NotApplicable("the rank of its input is unknown or zero")
    build.assume(axis, *(np.full(sizes, index, kind.numpy()) for index in range(-axes, axes)))
    one = kind.numpy().type
    asked = build.op("Mod", build.op("Reshape", axis, np.array([], np.int64)), one(axes))
    result = along(0)
    for index in range(1, axes):
        result = build.op("Where", build.op("Equal", asked, one(index)), along(index), result)
    return result


def _products(node: ir.Node, build: Builder, x: ir.Value, axis: int) -> ir.Value:
    sizes, kind = shape(x), dtype(x)
    if sizes is None or kind is None:
        raise NotApplicable("the shape of its input is unknown")
    count = sizes[axis]
    if not count or count > MAX_STEPS:
        raise NotApplicable(f"it has {count or 'an unknown number of'} elements along its axis")
    parts = [x] if count == 1 else list(build.ops("Split", x, outputs=count, axis=axis, num_outputs=count))
    reverse = attribute(node, "reverse", 0)
    order = parts[::-1] if reverse else parts
    products = [order[0]]
    for part in order[1:]:
        products.append(build.op("Mul", products[-1], part))
    if attribute(node, "exclusive", 0):
        nothing = build.op("Expand", kind.numpy().type(1), build.op("Shape", order[0]))
        products = [nothing, *products[:-1]]
    return build.op("Concat", *(products[::-1] if reverse else products), axis=axis)
