"""Resize along one axis, as a matrix or as indices.

Linear and cubic interpolation are linear maps along each axis, [out, in]; nearest neighbour is a choice of rows. The
coordinates follow ONNX's definition of Resize and, where that is silent, ONNX Runtime: float32 arithmetic in its order,
an axis whose scale is exactly 1 is copied, one output element of `pytorch_half_pixel` lies at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.repairs.arithmetic import Arithmetic, Operand

TIE = 1e-6
"""Positions that are nearer than this to the middle of two elements lie in the middle, as in ONNX Runtime 1.31."""


@dataclass(frozen=True)
class Axis:
    """One axis to resize. `scale`, `start` and `end` (the region of tf_crop_and_resize) are float32[1]. A size that only the
    run knows is a value, an int64 scalar.
    """

    index: int
    old: int | ir.Value
    new: int | ir.Value
    scale: Operand
    start: Operand
    end: Operand


@dataclass(frozen=True)
class Method:
    """The attributes of Resize that say how to interpolate."""

    mode: str
    coordinates: str
    nearest: str
    antialias: bool
    exclude_outside: bool
    cubic_a: float


def number(calc: Arithmetic, size: int | ir.Value) -> Operand:
    """A size as a float32 scalar."""
    return calc.op("Cast", size, to=1) if isinstance(size, ir.Value) else np.array(size, np.float32)


def steps(calc: Arithmetic, size: int | ir.Value) -> Operand:
    """0, 1, 2, … below a size, float32[size]."""
    if isinstance(size, int):
        return np.arange(size, dtype=np.float32)
    return calc.op("Cast", calc.op("Range", np.array(0), size, np.array(1)), to=1)


def positions(calc: Arithmetic, axis: Axis, coordinates: str) -> Operand:
    """Where each output element lies among the input's, float32[new]."""
    x, old, new = steps(calc, axis.new), number(calc, axis.old), number(calc, axis.new)
    op, scale = calc.op, axis.scale
    match coordinates:
        case "asymmetric":
            return op("Div", x, scale)
        case "half_pixel":
            return op("Sub", op("Div", op("Add", x, 0.5), scale), 0.5)
        case "pytorch_half_pixel":
            middles = op("Sub", op("Div", op("Add", x, 0.5), scale), 0.5)
            return op("Where", op("Greater", new, 1.0), middles, 0.0)
        case "tf_half_pixel_for_nn":
            return op("Div", op("Add", x, 0.5), scale)
        case "align_corners":
            return op("Div", op("Mul", x, op("Sub", old, 1.0)), op("Max", op("Sub", new, 1.0), 1.0))
        case "half_pixel_symmetric":
            adjustment = op("Div", new, op("Mul", scale, old))
            offset = op("Mul", op("Div", old, 2.0), op("Sub", 1.0, adjustment))
            known = calc.known(scale)
            if known is None or isinstance(axis.old, ir.Value) or isinstance(axis.new, ir.Value):
                return op("Sub", op("Add", offset, op("Div", op("Add", x, 0.5), scale)), 0.5)
            # ONNX Runtime does these steps in double precision.
            places = np.arange(axis.new, dtype=np.float32)
            exact = np.asarray(calc.known(offset), np.float64) + (places + 0.5) / known.astype(np.float64) - 0.5
            return exact.astype(np.float32)
        case "tf_crop_and_resize":
            last = op("Sub", old, 1.0)
            middle = op("Mul", op("Mul", op("Add", axis.start, axis.end), 0.5), last)
            extent = op("Mul", op("Mul", op("Sub", axis.end, axis.start), x), last)
            spread = op("Add", op("Mul", axis.start, last), op("Div", extent, op("Max", op("Sub", new, 1.0), 1.0)))
            return op("Where", op("Greater", new, 1.0), spread, middle)
    raise NotApplicable(f"coordinate_transformation_mode {coordinates} is unknown")


def last(calc: Arithmetic, axis: Axis) -> Operand:
    """The place of the input's last element, a float32 scalar."""
    return calc.op("Sub", number(calc, axis.old), 1.0)


def outside(calc: Arithmetic, axis: Axis, x: Operand) -> Operand:
    """Which positions lie beyond the input, bool[new]: tf_crop_and_resize puts its extrapolation value there."""
    return calc.op("Or", calc.op("Less", x, 0.0), calc.op("Greater", x, last(calc, axis)))


def indices(calc: Arithmetic, axis: Axis, x: Operand, nearest: str) -> Operand:
    """The input element nearest to each position, int64[new]."""
    op = calc.op
    match nearest:
        case "round_prefer_floor" | "round_prefer_ceil":
            below = op("Floor", x)
            tie = 0.5 + TIE if nearest == "round_prefer_floor" else 0.5 - TIE
            x = op("Add", below, op("Cast", op("Greater", op("Sub", x, below), tie), to=1))
        case "floor":
            x = op("Floor", x)
        case "ceil":
            x = op("Ceil", x)
        case _:
            raise NotApplicable(f"nearest_mode {nearest} is unknown")
    return op("Cast", op("Min", op("Max", x, 0.0), last(calc, axis)), to=7)


def weights(calc: Arithmetic, axis: Axis, x: Operand, method: Method) -> Operand:
    """The share that each input element has in each output element, float32[new, old]."""
    op = calc.op
    if method.mode == "linear" and not method.antialias:
        x = op("Min", op("Max", x, 0.0), last(calc, axis))
    # Beyond its border the input is taken to go on with its border elements: their shares are added to the border's.
    margin: Operand = np.zeros((), np.float32) if method.exclude_outside else _reach(calc, axis, method)
    beyond = calc.known(margin) is None or bool(np.any(calc.known(margin)))
    width = op("Add", number(calc, axis.old), op("Mul", margin, 2.0))
    columns = op("Sub", op("Range", np.zeros((), np.float32), width, np.ones((), np.float32)), margin)
    distance = op("Sub", op("Reshape", columns, [1, -1]), op("Reshape", x, [-1, 1]))
    if method.antialias:
        distance = op("Mul", distance, op("Min", axis.scale, 1.0))
    distance = op("Abs", distance)
    share = _hat(calc, distance) if method.mode == "linear" else cubic(calc, distance, method.cubic_a)
    if method.antialias or method.exclude_outside:
        share = op("Div", share, op("ReduceSum", share, [1], keepdims=1))
    if beyond:
        nearest = op("Reshape", op("Min", op("Max", columns, 0.0), last(calc, axis)), [-1, 1])
        borders = op("Cast", op("Equal", nearest, op("Reshape", steps(calc, axis.old), [1, -1])), to=1)
        share = op("MatMul", share, borders)
    return share


def _reach(calc: Arithmetic, axis: Axis, method: Method) -> Operand:
    """How far beyond the input's border a position's neighbours may lie, a whole float32 scalar."""
    if method.mode == "linear" and not method.antialias:
        return np.zeros((), np.float32)
    support = 1.0 if method.mode == "linear" else 2.0
    stretch: Operand = np.ones((), np.float32)
    if method.antialias:
        stretch = calc.op("Max", calc.op("Div", number(calc, axis.old), number(calc, axis.new)), 1.0)
    return calc.op("Add", calc.op("Ceil", calc.op("Mul", stretch, support)), 2.0)


def _hat(calc: Arithmetic, distance: Operand) -> Operand:
    return calc.op("Max", calc.op("Sub", 1.0, distance), 0.0)


def cubic(calc: Arithmetic, t: Operand, a: float) -> Operand:
    """Keys' kernel (IEEE Transactions on Acoustics, Speech, and Signal Processing 29, 1981) at distances t."""
    op = calc.op
    near = op("Add", op("Mul", op("Mul", op("Sub", op("Mul", t, a + 2), a + 3), t), t), 1.0)
    far = op("Mul", op("Sub", op("Mul", op("Add", op("Mul", op("Sub", t, 5.0), t), 8.0), t), 4.0), a)
    return op("Where", op("Less", t, 1.0), near, op("Where", op("Less", t, 2.0), far, 0.0))
