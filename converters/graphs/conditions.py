"""What samples must show at an operator, so that another one in its place would give other outputs.

A condition is met by a sample or not; how far it is from being met is a number, which a search can make smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from enginesmith.compat.values import argument, attribute, constant, dtype, shape

Array: TypeAlias = "NDArray[Any]"
Bounds: TypeAlias = tuple[float, float]
"""Of a tensor's elements, infinite where nothing is known."""
FAR = 1e30
"""A distance that no search gets smaller by small steps."""


@dataclass(frozen=True)
class Condition:
    words: str
    """What is to be seen: `a negative input`."""
    values: tuple[ir.Value, ...]
    """The tensors that show it."""
    distance: Callable[..., float]
    """Of the tensors: 0 where it is seen, and more the farther from it."""
    possible: Callable[..., bool] = lambda *bounds: True
    """Whether any sample can show it, from the tensors' bounds."""


def conditions(node: ir.Node) -> Iterator[Condition]:
    """None for operators that the table doesn't know: they are the same for all numbers."""
    yield from TABLE.get(node.op_type, _nothing)(node)


def _nothing(node: ir.Node) -> Iterator[Condition]:
    yield from ()


def _below(value: ir.Value, bound: float, words: str) -> Condition:
    def distance(array: Array) -> float:
        least = _least(array)
        return 0.0 if least < bound else _away(least - bound)

    return Condition(words, (value,), distance, lambda bounds: bounds[0] < bound)


def _above(value: ir.Value, bound: float, words: str) -> Condition:
    def distance(array: Array) -> float:
        most = _most(array)
        return 0.0 if most > bound else _away(bound - most)

    return Condition(words, (value,), distance, lambda bounds: bounds[1] > bound)


def _any(values: Sequence[ir.Value], words: str, found: Callable[..., Any]) -> Condition:
    """A condition without a way towards it."""
    return Condition(words, tuple(values), lambda *arrays: 0.0 if np.any(found(*arrays)) else FAR)


def _away(distance: float) -> float:
    """Never 0, since the bound itself is not beyond it."""
    return max(min(distance, FAR), 1e-30) if not math.isnan(distance) else FAR


def _numbers(array: Array) -> Array:
    return array.astype(np.float64)


def _least(array: Array) -> float:
    return float(np.fmin.reduce(array, axis=None)) if array.size else math.inf


def _most(array: Array) -> float:
    return float(np.fmax.reduce(array, axis=None)) if array.size else -math.inf


def _signs(node: ir.Node) -> Iterator[Condition]:
    x = node.inputs[0]
    if x is not None:
        yield _below(x, 0, "a negative input")
        yield _above(x, 0, "a positive input")


def _negative(node: ir.Node) -> Iterator[Condition]:
    x = node.inputs[0]
    if x is not None:
        yield _below(x, 0, "a negative input")


def _steps(*bounds: float) -> Callable[[ir.Node], Iterator[Condition]]:
    """An operator that changes its mind at these inputs."""

    def of(node: ir.Node) -> Iterator[Condition]:
        if (x := node.inputs[0]) is not None:
            yield _below(x, bounds[0], f"an input below {bounds[0]:g}")
            yield _above(x, bounds[-1], f"an input above {bounds[-1]:g}")

    return of


def _hard_sigmoid(node: ir.Node) -> Iterator[Condition]:
    alpha, beta = attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5)
    if alpha > 0:
        yield from _steps(-beta / alpha, (1 - beta) / alpha)(node)


def _thresholded(node: ir.Node) -> Iterator[Condition]:
    yield from _steps(attribute(node, "alpha", 1.0))(node)


def _shrink(node: ir.Node) -> Iterator[Condition]:
    bound = attribute(node, "lambd", 0.5)
    yield from _steps(-bound, bound)(node)


def _clip(node: ir.Node) -> Iterator[Condition]:
    x = node.inputs[0]
    if x is None:
        return
    for index, name in ((1, "min"), (2, "max")):
        limit = argument(node, index)
        known = constant(limit) if limit is not None else attribute(node, name)
        put, words = (_below, "an input below the minimum") if name == "min" else (_above, "an input above the maximum")
        if known is not None and abs(float(np.asarray(known).ravel()[0])) < np.finfo(np.float32).max:
            yield put(x, float(np.asarray(known).ravel()[0]), words)
        elif limit is not None and known is None:
            yield _any((x, limit), words, np.less if name == "min" else np.greater)


def _extremes(node: ir.Node) -> Iterator[Condition]:
    """Each input of Max or Min is the one that counts."""
    given = [value for value in node.inputs if value is not None]
    if len(given) < 2:
        return
    sign = 1 if node.op_type == "Max" else -1
    for index, value in enumerate(given):
        others = [other for other in given if other is not value]
        if not others:
            continue
        words = f"input {index} as the {'largest' if sign > 0 else 'smallest'}"
        if len(others) == 1 and (known := constant(others[0])) is not None and known.size == 1:
            yield (_above if sign > 0 else _below)(value, float(known.ravel()[0]), words)
            continue

        def distance(array: Array, *rest: Array) -> float:
            best = sign * _numbers(rest[0])
            for other in rest[1:]:
                best = np.fmax(best, sign * _numbers(other))
            ahead = sign * _numbers(array) - best
            most = _most(ahead)
            return 0.0 if most > 0 else _away(-most)

        def possible(bounds: Bounds, *rest: Bounds) -> bool:
            if sign > 0:
                return bounds[1] > max(low for low, _ in rest)
            return bounds[0] < min(high for _, high in rest)

        yield Condition(words, (value, *others), distance, possible)


def _truth(value: ir.Value | None, yes: str, no: str) -> Iterator[Condition]:
    if value is not None:
        yield _above(value, 0.5, yes)
        yield _below(value, 0.5, no)


def _sides(node: ir.Node) -> Iterator[Condition]:
    yield from _truth(node.inputs[0], "the side of true", "the side of false")


def _branches(node: ir.Node) -> Iterator[Condition]:
    yield from _truth(node.inputs[0], "the then branch", "the else branch")


def _answers(node: ir.Node) -> Iterator[Condition]:
    yield from _truth(node.outputs[0], "an answer of true", "an answer of false")


def _loop(node: ir.Node) -> Iterator[Condition]:
    count = node.inputs[0]
    if count is not None:
        yield _above(count, 1, "a second run of its body")


def _ordered(node: ir.Node) -> Iterator[Condition]:
    """Equal elements, which have an order by their place alone."""
    x = node.inputs[0]
    sizes = shape(x)
    if x is None or sizes is None:
        return
    axis = attribute(node, "axis", -1 if node.op_type == "TopK" else 0)
    largest = bool(attribute(node, "largest", 1)) if node.op_type == "TopK" else node.op_type == "ArgMax"
    best = node.op_type != "TopK"

    def tied(array: Array) -> Any:
        if not array.ndim or array.shape[axis] < 2:
            return False
        ordered = np.sort(array, axis=axis)
        ordered = np.moveaxis(ordered, axis, -1)
        if best:
            ordered = ordered[..., -2:] if largest else ordered[..., :2]
        return ordered[..., 1:] == ordered[..., :-1]

    yield _any((x,), "a tie of the best elements" if best else "a tie of two elements", tied)


def _rows(node: ir.Node) -> Iterator[Condition]:
    """Of a table more than its first rows, or its last ones."""
    table, index = node.inputs[0], argument(node, 1)
    sizes = shape(table)
    axis = attribute(node, "axis", 0)
    if index is None or constant(index) is not None or not sizes or not -len(sizes) <= axis < len(sizes):
        return
    count = sizes[axis]
    if count is None or count < 2:
        return
    half = count / 2
    yield _any((index,), "an index in the first half of the table", lambda array: array % count < half)
    yield _any((index,), "an index in the second half of the table", lambda array: array % count >= half)


def _rounding(node: ir.Node) -> Iterator[Condition]:
    x = node.inputs[0]
    if x is None:
        return
    yield _below(x, 0, "a negative input")
    if node.op_type == "Round":
        yield _any((x,), "a half, which rounds to even", lambda a: np.abs(a - np.floor(a)) == 0.5)
    else:
        yield _any((x,), "a fraction", lambda a: np.isfinite(a) & (a != np.floor(a)))


def _cast(node: ir.Node) -> Iterator[Condition]:
    kind = dtype(node.inputs[0])
    to = ir.DataType(attribute(node, "to", 1))
    if to == ir.DataType.BOOL and kind != to:
        yield from _answers(node)
    elif to.is_integer() and kind is not None and kind.is_floating_point():
        yield from (each for each in _rounding(node) if to.is_signed() or each.words != "a negative input")


def _integers(node: ir.Node) -> Iterator[Condition]:
    """Quotient and remainder of whole numbers: which way they round shows at a negative one."""
    kind = dtype(node.inputs[0])
    if kind is not None and kind.is_integer() and kind.is_signed():
        yield from _negative(node)


def _mod(node: ir.Node) -> Iterator[Condition]:
    kind = dtype(node.inputs[0])
    if kind is not None and kind.is_signed():
        yield from _negative(node)


def _pool(node: ir.Node) -> Iterator[Condition]:
    """The border of a maximum is no zero."""
    if any(attribute(node, "pads", [])) or attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        yield _below(node.outputs[0], 0, "a window of negative elements alone")


def _sign(node: ir.Node) -> Iterator[Condition]:
    yield from _signs(node)
    if (x := node.inputs[0]) is not None:
        yield _any((x,), "a zero", lambda array: array == 0)


def _nonzero(node: ir.Node) -> Iterator[Condition]:
    if (x := node.inputs[0]) is not None:
        yield _any((x,), "a zero", lambda array: array == 0)
        yield _any((x,), "another number than zero", lambda array: array != 0)


def _grid(node: ir.Node) -> Iterator[Condition]:
    if (grid := argument(node, 1)) is not None:
        yield _below(grid, -1, "a place beyond the left or upper edge")
        yield _above(grid, 1, "a place beyond the right or lower edge")


def _saturation(node: ir.Node) -> Iterator[Condition]:
    """An 8-bit result at both of its ends."""
    y = node.outputs[0]
    zero = argument(node, 2)
    kind = dtype(zero) if zero is not None else ir.DataType.UINT8
    if kind in (ir.DataType.UINT8, ir.DataType.INT8):
        low, high = (0, 255) if kind == ir.DataType.UINT8 else (-128, 127)
        yield _below(y, low + 1, "an input at or below the smallest integer")
        yield _above(y, high - 1, "an input at or above the largest integer")


TABLE: Mapping[str, Callable[[ir.Node], Iterator[Condition]]] = {
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Abs", "Gelu", "Mish", "Softplus"), _signs),
    "HardSwish": _steps(-3, 3),
    "HardSigmoid": _hard_sigmoid,
    "ThresholdedRelu": _thresholded,
    "Shrink": _shrink,
    "Clip": _clip,
    "Max": _extremes,
    "Min": _extremes,
    "Where": _sides,
    "If": _branches,
    "Loop": _loop,
    **dict.fromkeys(("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"), _answers),
    **dict.fromkeys(("And", "Or", "Xor", "Not", "IsNaN", "IsInf"), _answers),
    **dict.fromkeys(("TopK", "ArgMax", "ArgMin"), _ordered),
    **dict.fromkeys(("Gather", "GatherElements"), _rows),
    **dict.fromkeys(("Floor", "Ceil", "Round"), _rounding),
    "Cast": _cast,
    "Div": _integers,
    "Mod": _mod,
    "Pow": _negative,
    "Sign": _sign,
    "MaxPool": _pool,
    "NonZero": _nonzero,
    "GridSample": _grid,
    "QuantizeLinear": _saturation,
}
"""Operator to what it must be shown."""
