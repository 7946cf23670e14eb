"""Sums of many numbers, and what rests on them, in parts: one number added after the other drifts.

Of 11,000 pixels a sum in float32 is 1e-5 off, of as many equal ones 2e-5; by rows, and their sums by columns, 1e-6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx, topi

FEW = 256
"""Numbers that are added up in one go, and the longest row of such as are not."""
FLOATS = ("float32", "float64")


def legalizations() -> dict[str, Any]:
    """By operator."""
    return {
        "relax.mean": _in_parts(_mean),
        "relax.nn.layer_norm": _layer_norm,
        "relax.sum": _in_parts(_sum),
        "relax.variance": _in_parts(_variance),
    }


def _in_parts(compute: Callable[[Any, list[int], bool], Any]) -> Any:
    """TVM's own where there are few numbers, or it isn't known how many."""

    def legalize(builder: Any, call: Any) -> Any:
        data, axis = call.args[0], call.attrs.axis
        rank = data.ty.ndim
        axes = list(range(rank)) if axis is None else sorted({int(a) % rank for a in axis})
        sizes = _sizes(getattr(data.ty.shape, "values", ()), axes)
        if str(data.ty.dtype) not in FLOATS or not sizes or math.prod(sizes) <= FEW:
            return call.op.get_attr("FLegalize")(builder, call)
        return builder.call_te(
            compute, data, axes, bool(call.attrs.keepdims), primfunc_name_hint=str(call.op.name.split(".")[-1])
        )

    return legalize


def _sizes(shape: Sequence[Any], axes: Sequence[int]) -> list[int]:
    """Of these axes; none where one isn't known."""
    sizes = [shape[axis] for axis in axes if axis < len(shape)]
    return [int(size) for size in sizes] if all(isinstance(size, tirx.IntImm) for size in sizes) else []


def _sum(data: Any, axes: Sequence[int], keepdims: bool) -> Any:
    """One axis after the other, the last one first; a long one in rows of about as many numbers as there are rows."""
    for axis in sorted(axes, reverse=True):
        (size,) = _sizes(data.shape, [axis])
        if size > FEW:
            data = _rows(data, axis, size)
        data = topi.sum(data, axis, keepdims)
    return data


def _rows(data: Any, axis: int, size: int) -> Any:
    """Sums of neighbours along one axis, in its place."""
    row = math.isqrt(size - 1) + 1
    step = te.reduce_axis((0, row), name="k")
    shape = [*data.shape[:axis], -(-size // row), *data.shape[axis + 1 :]]
    zero = tirx.const(0, data.dtype)

    def element(*place: Any) -> Any:
        at = place[axis] * row + step
        number = data(*place[:axis], at, *place[axis + 1 :])
        return te.sum(number if size % row == 0 else tirx.if_then_else(at < size, number, zero), axis=step)

    return te.compute(shape, element, name="rows")


def _mean(data: Any, axes: Sequence[int], keepdims: bool) -> Any:
    count = math.prod(_sizes(data.shape, axes))
    return topi.divide(_sum(data, axes, keepdims), tirx.const(count, data.dtype))


def _variance(data: Any, axes: Sequence[int], keepdims: bool) -> Any:
    """In a second pass, over the differences from the mean."""
    return _mean_square(_centred(data, axes), axes, keepdims)


def _centred(data: Any, axes: Sequence[int]) -> Any:
    return topi.subtract(data, _mean(data, axes, True))


def _mean_square(data: Any, axes: Sequence[int], keepdims: bool) -> Any:
    return _mean(topi.multiply(data, data), axes, keepdims)


def _layer_norm(builder: Any, call: Any) -> Any:
    """Of trailing axes by the variance above: TVM's own is the mean of squares less the mean's square, of which pixels leave few
    digits."""
    data, scale, shift = call.args
    rank = data.ty.ndim
    axes = sorted(int(axis) % rank for axis in call.attrs.axes)
    known = _sizes(getattr(data.ty.shape, "values", ()), axes)
    if str(data.ty.dtype) not in FLOATS or not known or axes != list(range(axes[0], rank)):
        return call.op.get_attr("FLegalize")(builder, call)
    epsilon = float(call.attrs.epsilon)

    def compute(data: Any, scale: Any, shift: Any) -> Any:
        difference = _centred(data, axes)
        factor = topi.rsqrt(topi.add(_mean_square(difference, axes, True), tirx.const(epsilon, data.dtype)))
        return topi.add(topi.multiply(topi.multiply(difference, factor), scale), shift)

    return builder.call_te(compute, data, scale, shift, primfunc_name_hint="layer_norm")
