"""Shapes and counts that a run gives, but of which the declared shapes leave one possibility only."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import argument, attribute, constant, dtype, rank, required, static_shape

UNKNOWN = "the shape of its output is not declared"


def stated(build: Builder, value: ir.Value | None, content: np.ndarray) -> ir.Value:
    """`content`, a vector of int64, in place of a value that only a run knows and that must be equal to it.

    Raises NotApplicable where the value is a constant already.
    """
    if value is None or constant(value) is not None:
        raise NotApplicable("it is a constant already")
    found = content.astype((dtype(value) or ir.DataType.INT64).numpy())
    build.assume(value, found)
    return build.constant(found)


def _output(node: ir.Node, index: int = 0) -> list[int]:
    sizes = static_shape(node.outputs[index])
    if sizes is None:
        raise NotApplicable(UNKNOWN)
    return sizes


@repair(
    "declared-shape",
    ops=("Reshape", "Expand", "ConstantOfShape"),
    example="""
<ir_version: 10, opset_import: ["" : 18]>
reshaped (float[2, 6] x, int64[3] shape) => (float[3, 2, 2] y) { y = Reshape (x, shape) }
""",
)
def declared_shape(node: ir.Node, build: Builder) -> Replacement:
    """A shape given at run time becomes the one that the output is declared to have."""
    place = 0 if node.op_type == "ConstantOfShape" else 1
    sizes = _output(node)
    shape = stated(build, node.inputs[place], np.array(sizes, np.int64))
    given = {name: value.value for name, value in node.attributes.items()}
    if node.op_type == "Reshape" and 0 in sizes:
        given["allowzero"] = 1
    return build.op(node.op_type, *node.inputs[:place], shape, **given)


@repair(
    "declared-repeats",
    ops="Tile",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
tiled (float[2, 3] x, int64[2] repeats) => (float[4, 3] y) { y = Tile (x, repeats) }
""",
)
def declared_repeats(node: ir.Node, build: Builder) -> Replacement:
    """Repeats given at run time become what the declared shapes leave: the output's sizes over the input's."""
    x, repeats = required(node, 2)
    sizes, wanted = static_shape(x), _output(node)
    if sizes is None or 0 in sizes:
        raise NotApplicable("the shape of its input is not known, or has a size of zero")
    times = stated(build, repeats, np.array(wanted, np.int64) // np.array(sizes, np.int64))
    return build.op("Tile", x, times)


@repair(
    "declared-split",
    ops="Split",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
parts (float[6] x, int64[2] sizes) => (float[2] a, float[4] b) { a, b = Split (x, sizes) }
""",
)
def declared_split(node: ir.Node, build: Builder) -> Replacement:
    """The sizes of a Split, given at run time, become those that the outputs are declared to have."""
    axis = attribute(node, "axis", 0)
    sizes = [_output(node, index)[axis] for index in range(len(node.outputs))]
    parts = stated(build, argument(node, 1), np.array(sizes, np.int64))
    return list(build.ops("Split", node.inputs[0], parts, outputs=len(sizes), axis=axis))


@repair(
    "declared-k",
    ops="TopK",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
best (float[2, 6] x, int64[1] k) => (float[2, 3] y, int64[2, 3] where) { y, where = TopK (x, k) }
""",
)
def declared_k(node: ir.Node, build: Builder) -> Replacement:
    """A K given at run time becomes the number of results that is declared."""
    wanted = next((sizes for value in node.outputs if (sizes := static_shape(value)) is not None), None)
    if wanted is None:
        raise NotApplicable(UNKNOWN)
    count = stated(build, node.inputs[1], np.array([wanted[attribute(node, "axis", -1)]], np.int64))
    given = {name: value.value for name, value in node.attributes.items()}
    return list(build.ops("TopK", node.inputs[0], count, outputs=2, **given))


@repair(
    "declared-depth",
    ops="OneHot",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
coded (int64[3] x, int64 depth) => (int64[3, 5] y) <int64[2] off_on = {0, 1}> { y = OneHot (x, depth, off_on) }
""",
)
def declared_depth(node: ir.Node, build: Builder) -> Replacement:
    """The depth of a OneHot, given at run time, becomes the output's declared size along the new axis."""
    indices, depth, values = required(node, 3)
    axis = attribute(node, "axis", -1)
    size = stated(build, depth, np.full([1] * (rank(depth) or 0), _output(node)[axis]))
    return build.op("OneHot", indices, size, values, axis=axis)


@repair(
    "declared-range",
    ops="Range",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
counted (int64 limit) => (int64[5] y) <int64 start = {0}, int64 step = {1}> { y = Range (start, limit, step) }
""",
)
def declared_range(node: ir.Node, build: Builder) -> Replacement:
    """A range whose start and step are constants has as many elements as its output is declared to have."""
    start, step, limit = constant(node.inputs[0]), constant(node.inputs[2]), node.inputs[1]
    (count,) = _output(node)
    if start is None or step is None or limit is None or constant(limit) is not None or not count or not step.all():
        raise NotApplicable("its start or its step is known at run time only")
    start, step = start.reshape(()), step.reshape(())
    build.assume(limit, np.asarray(start + count * step, start.dtype).reshape(static_shape(limit) or []))
    return build.constant((start + np.arange(count) * step).astype(start.dtype))
