"""Resize and Upsample in the forms that backends refuse or compute in another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.arithmetic import Arithmetic, Operand
from enginesmith.compat.repairs.interpolation import Axis, Method, indices, number, outside, positions, weights
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.values import FLOATS, argument, attribute, constant, dtype, shape, static_shape


class Request:
    """What a Resize or Upsample node asks for, of whatever opset. Raises NotApplicable when too little is known."""

    def __init__(self, node: ir.Node, build: Builder) -> None:
        self.node = node
        self.calc = Arithmetic(build)
        modern = node.op_type == "Resize" and build.opset >= 11
        self.x = node.inputs[0]
        given = attribute(node, "scales")
        self.roi = _given(argument(node, 1)) if modern else None
        self.scales: Operand | None = _given(argument(node, 2 if modern else 1))
        if given is not None:
            self.scales = np.asarray(given, np.float32)
        self.sizes = _given(argument(node, 3)) if modern else None
        old, new = shape(self.x), shape(node.outputs[0])
        if old is None or self.x is None:
            raise NotApplicable("the input's number of axes is not known")
        new = new if new is not None and len(new) == len(old) else [None] * len(old)
        self.old: list[int | None] = old
        self.new: list[int | None] = new
        axes = attribute(node, "axes") or list(range(len(old)))
        self.axes = [axis % len(old) for axis in axes]
        self.policy = attribute(node, "keep_aspect_ratio_policy", "stretch")
        mode = attribute(node, "mode", "nearest").replace("bilinear", "linear")
        self.method = Method(
            mode,
            attribute(node, "coordinate_transformation_mode", "half_pixel") if modern else "asymmetric",
            attribute(node, "nearest_mode", "round_prefer_floor") if modern else "simple",
            bool(attribute(node, "antialias", 0)),
            bool(attribute(node, "exclude_outside", 0)),
            float(attribute(node, "cubic_coeff_a", -0.75)),
        )

    def resized(self) -> list[Axis]:
        """The axes that the node changes, the last one first. Raises NotApplicable where a size is not known."""
        scales = self.factors()
        crops = self.method.coordinates == "tf_crop_and_resize"
        found = []
        for place, index in enumerate(self.axes):
            scale = self.calc.op("Gather", scales, [place])
            known = self.calc.known(scale)
            old, new = self.old[index], self.new[index]
            if known is not None and known[0] == 1:
                continue
            if known is None and old == new and index < 2 and len(self.old) > 2:
                # Batch and channels are not resized, whatever a run-time scale might say.
                continue
            if old == 0 or new == 0:
                raise NotApplicable(f"axis {index} has no elements")
            if self.method.antialias and old is not None and old == new:
                continue
            start: Operand = np.zeros(1, np.float32)
            end: Operand = np.ones(1, np.float32)
            if crops and self.roi is not None:
                start = self.calc.op("Gather", self.roi, [place])
                end = self.calc.op("Gather", self.roi, [place + len(self.axes)])
            found.append(Axis(index, self.before(index), self.after(place), scale, start, end))
        return sorted(found, key=lambda axis: -axis.index)

    def before(self, index: int) -> int | ir.Value:
        """The input's size along an axis."""
        known: int | None = self.old[index]
        if known is not None:
            return known
        return self.calc.value(self.calc.op("Gather", self.calc.op("Shape", self.x), np.array(index)))

    def after(self, place: int) -> int | ir.Value:
        """The output's size along one of `axes`, by its place there. Raises NotApplicable where a policy decides on it."""
        op, index = self.calc.op, self.axes[place]
        known: int | None = self.new[index]
        if known is not None:
            return known
        if self.policy != "stretch":
            raise NotApplicable(f"the size of axis {index} is not known")
        if self.sizes is not None:
            return self.calc.value(op("Gather", self.sizes, np.array(place)))
        scale = op("Gather", self.factors(), np.array(place))
        return self.calc.value(op("Cast", op("Floor", op("Mul", number(self.calc, self.before(index)), scale)), to=7))

    def factors(self) -> Operand:
        """The scale of every axis in `axes`, float32."""
        op = self.calc.op
        if self.sizes is None:
            if self.scales is None:
                raise NotApplicable("it has neither scales nor sizes")
            return self.scales
        before = op("Concat", *(op("Reshape", number(self.calc, self.before(axis)), [1]) for axis in self.axes), axis=0)
        new = [self.new[axis] for axis in self.axes]
        if self.policy == "stretch":
            return op("Div", op("Cast", self.sizes, to=1) if None in new else np.asarray(new, np.float32), before)
        ratios = op("Div", op("Cast", self.sizes, to=1), before)
        reduced = op("ReduceMin" if self.policy == "not_larger" else "ReduceMax", ratios, keepdims=1)
        return op("Add", reduced, np.zeros(len(self.axes), np.float32))


def _given(value: ir.Value | None) -> ir.Value | None:
    """An input, None where it is left out or empty: `roi` and `scales` of opset 11 could be a tensor of no elements."""
    if value is None or static_shape(value) == [0]:
        return None
    return value


@repair(
    "resize-plain",
    ops="Resize",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
resize (float[1, 3, 8, 8] x) => (float[1, 3, 16, 12] y) <int64[2] sizes = {12, 16}> {
  y = Resize <axes = [3, 2], mode = "linear"> (x, "", "", sizes)
}
""",
)
def resize_plain(node: ir.Node, build: Builder) -> Replacement:
    """A Resize of some axes, by a policy, or to run-time sizes becomes one of all axes by constant sizes or scales."""
    if build.opset < 11:
        raise NotApplicable(f"the graph's opset is {build.opset}")
    request = Request(node, build)
    if request.method.coordinates == "tf_crop_and_resize":
        raise NotApplicable("it crops")
    special = "axes" in node.attributes or request.policy != "stretch"
    run_time = request.sizes is not None and constant(request.sizes) is None
    if not special and not run_time:
        raise NotApplicable("it has that form already")
    old, new = request.old, static_shape(node.outputs[0])
    if new is None or None in old:
        raise NotApplicable("the sizes of input and output are not known")
    scales, sizes = None, None
    if request.sizes is not None and request.policy == "stretch":
        sizes = np.asarray(new, np.int64)
        if run_time:
            _assumed(build, request)
    else:
        known = request.calc.known(request.factors())
        if known is None:
            raise NotApplicable("its scales are known at run time only")
        scales = np.ones(len(old), np.float32)
        scales[request.axes] = known
        if (scales * np.asarray(old, np.float32)).astype(np.int64).tolist() != new:
            raise NotApplicable("no scale gives its output size")
    return build.again(node, request.x, None, scales, sizes, axes=None, keep_aspect_ratio_policy=None)


def _assumed(build: Builder, request: Request) -> None:
    """The sizes at run time are those of the output, where these are declared."""
    new = [request.new[axis] for axis in request.axes]
    if request.sizes is not None and None not in new:
        build.assume(request.sizes, np.asarray(new))


@repair(
    "resize-by-matrix",
    ops=("Resize", "Upsample"),
    tolerance=2e-5,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
resize (float[1, 3, 8, 8] x) => (float[1, 3, 4, 5] y) <int64[4] sizes = {1, 3, 4, 5}> {
  y = Resize <antialias = 1, mode = "cubic"> (x, "", "", sizes)
}
""",
)
def resize_by_matrix(node: ir.Node, build: Builder) -> Replacement:
    """Linear and cubic interpolation, antialiased too, is one matrix product per axis; nearest neighbour is a Gather."""
    request = Request(node, build)
    calc, method = request.calc, request.method
    axes = request.resized()
    if method.mode != "nearest" and dtype(request.x) not in FLOATS:
        raise NotApplicable(f"{method.mode} interpolation of integers rounds in a way of its own")
    if request.sizes is not None and constant(request.sizes) is None and request.policy == "stretch":
        _assumed(build, request)
    y, count = request.x, len(request.old)
    assert y is not None
    narrow = method.mode != "nearest" and dtype(y) != ir.DataType.FLOAT
    if narrow:
        y = build.op("Cast", y, to=int(ir.DataType.FLOAT))
    beyond: list[Operand] = []
    for axis in axes:
        x = positions(calc, axis, method.coordinates)
        if method.coordinates == "tf_crop_and_resize":
            sizes = [1] * count
            sizes[axis.index] = -1
            beyond.append(calc.op("Reshape", outside(calc, axis, x), sizes))
        if method.mode == "nearest":
            y = build.op("Gather", y, indices(calc, axis, x, _nearest(request, axis)), axis=axis.index)
        else:
            y = _along(build, calc, y, weights(calc, axis, x, method), axis.index, count)
    mask = None
    for part in beyond:
        mask = part if mask is None else calc.op("Or", mask, part)
    if narrow:
        y = build.op("CastLike", y, request.x)
    if mask is not None and (np.any(calc.known(mask)) if calc.known(mask) is not None else True):
        value = build.constant(np.asarray(attribute(node, "extrapolation_value", 0.0), np.float32))
        if dtype(request.x) != ir.DataType.FLOAT:
            value = build.op("CastLike", value, request.x)
        y = build.op("Where", calc.value(mask), value, y)
    return y


def _nearest(request: Request, axis: Axis) -> str:
    if request.method.nearest != "simple":
        return request.method.nearest
    # Before opset 11 the mode was not said: ONNX Runtime takes the next element where it makes the axis smaller.
    if isinstance(axis.new, ir.Value) or isinstance(axis.old, ir.Value):
        raise NotApplicable(f"the size of axis {axis.index} is not known")
    return "ceil" if axis.new < axis.old else "floor"


def _along(build: Builder, calc: Arithmetic, y: ir.Value, matrix: Operand, axis: int, count: int) -> ir.Value:
    """`matrix` [new, old] applied to every line of `y` along `axis`."""
    if axis == count - 2:
        return build.op("MatMul", matrix, y)
    if axis == count - 1:
        return build.op("MatMul", y, calc.op("Transpose", matrix, perm=[1, 0]))
    order: list[Any] = [*range(axis), *range(axis + 1, count), axis]
    turned = build.op("Transpose", y, perm=order)
    turned = build.op("MatMul", turned, calc.op("Transpose", matrix, perm=[1, 0]))
    return build.op("Transpose", turned, perm=[order.index(place) for place in range(count)])
