"""Resize along one axis, as a matrix or as indices.

Linear and cubic interpolation are linear maps along each axis, [out, in]; nearest neighbour is a choice of rows. The
coordinates follow ONNX's definition of Resize and, where that is silent, ONNX Runtime: float32 arithmetic in its order,
an axis whose scale is exactly 1 is copied, one output element of `pytorch_half_pixel` lies at 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from enginesmith.compat.repairs.arithmetic import Arithmetic, Operand
from enginesmith.compat.repairs.repair import NotApplicable

TIE = 1e-6
"""Positions that are nearer than this to the middle of two elements lie in the middle, as in ONNX Runtime 1.31."""


@dataclass(frozen=True)
class Axis:
    """One axis to resize. `scale`, `start` and `end` (the region of tf_crop_and_resize) are float32[1]."""

    index: int
    old: int
    new: int
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


def positions(calc: Arithmetic, axis: Axis, coordinates: str) -> Operand:
    """Where each output element lies among the input's, float32[new]."""
    x = np.arange(axis.new, dtype=np.float32)
    op, old, new, scale = calc.op, float(axis.old), float(axis.new), axis.scale
    match coordinates:
        case "asymmetric":
            return op("Div", x, scale)
        case "half_pixel":
            return op("Sub", op("Div", x + np.float32(0.5), scale), 0.5)
        case "pytorch_half_pixel":
            if axis.new == 1:
                return np.zeros(1, np.float32)
            return op("Sub", op("Div", x + np.float32(0.5), scale), 0.5)
        case "tf_half_pixel_for_nn":
            return op("Div", x + np.float32(0.5), scale)
        case "align_corners":
            return x * np.float32(old - 1) / np.float32(max(new - 1, 1))
        case "half_pixel_symmetric":
            adjustment = op("Div", new, op("Mul", scale, old))
            offset = op("Mul", old / 2, op("Sub", 1.0, adjustment))
            known = calc.known(scale)
            if known is None:
                return op("Sub", op("Add", offset, op("Div", x + np.float32(0.5), scale)), 0.5)
            # ONNX Runtime does these steps in double precision.
            exact = np.asarray(calc.known(offset), np.float64) + (x + 0.5) / known.astype(np.float64) - 0.5
            return exact.astype(np.float32)
        case "tf_crop_and_resize":
            if axis.new == 1:
                return op("Mul", op("Mul", op("Add", axis.start, axis.end), 0.5), old - 1)
            extent = op("Mul", op("Mul", op("Sub", axis.end, axis.start), x), old - 1)
            return op("Add", op("Mul", axis.start, old - 1), op("Div", extent, new - 1))
    raise NotApplicable(f"coordinate_transformation_mode {coordinates} is unknown")


def outside(calc: Arithmetic, axis: Axis, x: Operand) -> Operand:
    """Which positions lie beyond the input, bool[new]: tf_crop_and_resize puts its extrapolation value there."""
    return calc.op("Or", calc.op("Less", x, 0.0), calc.op("Greater", x, float(axis.old - 1)))


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
    return op("Cast", op("Min", op("Max", x, 0.0), float(axis.old - 1)), to=7)


def weights(calc: Arithmetic, axis: Axis, x: Operand, method: Method) -> Operand:
    """The share that each input element has in each output element, float32[new, old]."""
    op = calc.op
    if method.mode == "linear" and not method.antialias:
        x = op("Min", op("Max", x, 0.0), float(axis.old - 1))
    # Beyond its border the input is taken to go on with its border elements: their shares are added to the border's.
    margin = 0 if method.exclude_outside else _reach(axis, method)
    columns = np.arange(-margin, axis.old + margin, dtype=np.float32)
    distance = op("Sub", columns[None, :], op("Reshape", x, [-1, 1]))
    if method.antialias:
        distance = op("Mul", distance, op("Min", axis.scale, 1.0))
    distance = op("Abs", distance)
    share = _hat(calc, distance) if method.mode == "linear" else cubic(calc, distance, method.cubic_a)
    if method.antialias or method.exclude_outside:
        share = op("Div", share, op("MatMul", share, np.ones((len(columns), 1), np.float32)))
    if margin:
        borders = np.zeros((len(columns), axis.old), np.float32)
        borders[np.arange(len(columns)), np.clip(columns, 0, axis.old - 1).astype(np.int64)] = 1
        share = op("MatMul", share, borders)
    return share


def _reach(axis: Axis, method: Method) -> int:
    """How far beyond the input's border a position's neighbours may lie."""
    if method.mode == "linear" and not method.antialias:
        return 0
    support = 1 if method.mode == "linear" else 2
    stretch = max(axis.old / axis.new, 1.0) if method.antialias else 1.0
    return math.ceil(support * stretch) + 2


def _hat(calc: Arithmetic, distance: Operand) -> Operand:
    return calc.op("Max", calc.op("Sub", 1.0, distance), 0.0)


def cubic(calc: Arithmetic, t: Operand, a: float) -> Operand:
    """Keys' kernel (IEEE Transactions on Acoustics, Speech, and Signal Processing 29, 1981) at distances t."""
    op = calc.op
    near = op("Add", op("Mul", op("Mul", op("Sub", op("Mul", t, a + 2), a + 3), t), t), 1.0)
    far = op("Mul", op("Sub", op("Mul", op("Add", op("Mul", op("Sub", t, 5.0), t), 8.0), t), 4.0), a)
    return op("Where", op("Less", t, 1.0), near, op("Where", op("Less", t, 2.0), far, 0.0))
