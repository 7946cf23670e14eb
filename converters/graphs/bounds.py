"""Bounds of a graph's tensors that follow from its operators alone: no sample has a negative after a Sigmoid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from enginesmith.compat.values import DEFAULT_DOMAINS, argument, attribute, constant, dtype

Bounds: TypeAlias = tuple[float, float]
"""Lowest and highest element, infinite where nothing is known."""
SMALL = 1 << 16
"""Bytes above which constants are weights, and not looked at."""
UNKNOWN: Bounds = (-math.inf, math.inf)
POSITIVE: Bounds = (0.0, math.inf)
UNIT: Bounds = (0.0, 1.0)


def bounds(graph: ir.Graph) -> dict[ir.Value, Bounds]:
    """Of every tensor of the graph, its subgraphs left out. NaN lies within all bounds."""
    found: dict[ir.Value, Bounds] = {}

    def of(value: ir.Value | None) -> Bounds:
        if value is None:
            return UNKNOWN
        if value not in found:
            found[value] = _stored(value)
        return found[value]

    for node in graph:
        given = [of(value) for value in node.inputs]
        made = _made(node, given) if node.domain in DEFAULT_DOMAINS and given else UNKNOWN
        for index, value in enumerate(node.outputs):
            low, high = _stored(value)
            if index == 0 or node.op_type == "Split":  # others are indices, or masks
                low, high = max(low, made[0]), min(high, made[1])
            found[value] = (low, high)
    return found


def _stored(value: ir.Value) -> Bounds:
    """Of a constant, else of the dtype."""
    array = constant(value, limit=SMALL)
    if array is not None and array.size and array.dtype.kind in "fiub":
        numbers = array.astype(np.float64)
        return (float(numbers.min()), float(numbers.max())) if not np.isnan(numbers).any() else UNKNOWN
    kind = dtype(value)
    if kind == ir.DataType.BOOL:
        return UNIT
    if kind is not None and kind.is_integer():
        info = np.iinfo(kind.numpy()) if kind.numpy().kind in "iu" else None
        return (float(info.min), float(info.max)) if info else UNKNOWN
    return UNKNOWN


def _made(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    if node.op_type in SAME:
        return given[0]
    if node.op_type in FIXED:
        return FIXED[node.op_type]
    if node.op_type in RULES:
        made = RULES[node.op_type](node, given)
        return UNKNOWN if any(map(math.isnan, made)) else made
    return UNKNOWN


def _union(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    return min(low for low, _ in given), max(high for _, high in given)


def _average(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    """Of elements and, it may be, of the zeros around them."""
    return min(given[0][0], 0.0), max(given[0][1], 0.0)


def _where(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    return _union(node, given[1:])


def _add(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    return sum(low for low, _ in given), sum(high for _, high in given)


def _sub(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    (a, b), (c, d) = given
    return a - d, b - c


def _mul(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    if node.inputs[0] is node.inputs[1]:
        return POSITIVE
    corners = [0.0 if 0 in (a, b) else a * b for a in given[0] for b in given[1]]
    return min(corners), max(corners)


def _div(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    low, high = given[1]
    if low <= 0 <= high:
        return POSITIVE if given[0][0] >= 0 and low >= 0 else UNKNOWN
    corners = [a / b for a in given[0] for b in given[1]]
    return min(corners), max(corners)


def _neg(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    return -given[0][1], -given[0][0]


def _abs(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    low, high = given[0]
    return (low if low > 0 else -high if high < 0 else 0.0), max(abs(low), abs(high))


def _relu(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    return max(given[0][0], 0.0), max(given[0][1], 0.0)


def _max(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    return max(low for low, _ in given), max(high for _, high in given)


def _min(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    return min(low for low, _ in given), min(high for _, high in given)


def _clip(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    low, high = given[0]
    least = given[1] if argument(node, 1) is not None else (attribute(node, "min", -math.inf),) * 2
    most = given[2] if argument(node, 2) is not None else (attribute(node, "max", math.inf),) * 2
    return min(max(low, least[0]), most[1]), min(max(high, least[1]), most[1])


def _pow(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
    exponent = constant(argument(node, 1))
    even = exponent is not None and exponent.size == 1 and float(exponent.ravel()[0]) % 2 == 0
    return POSITIVE if even or given[0][0] >= 0 else UNKNOWN


def _monotonic(function: Callable[[float], float]) -> Callable[[ir.Node, Sequence[Bounds]], Bounds]:
    def of(node: ir.Node, given: Sequence[Bounds]) -> Bounds:
        return function(given[0][0]), function(given[0][1])

    return of


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf


def _sqrt(x: float) -> float:
    return math.sqrt(max(x, 0.0))


SAME = frozenset(
    (
        *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Expand", "Tile"),
        *("Gather", "GatherND", "GatherElements", "Compress", "ReverseSequence", "DepthToSpace", "SpaceToDepth"),
        *("MaxPool", "GlobalMaxPool", "GlobalAveragePool", "ReduceMax", "ReduceMin", "ReduceMean", "TopK", "Dropout"),
    )
)
"""The elements come from the first input, or lie between its elements."""
FIXED: Mapping[str, Bounds] = {
    **dict.fromkeys(("Sigmoid", "Softmax", "HardSigmoid", "Hardmax"), UNIT),
    **dict.fromkeys(("Tanh", "Erf", "Sign", "Softsign", "Sin", "Cos"), (-1.0, 1.0)),
    **dict.fromkeys(("Shape", "Size", "ReduceL1", "ReduceL2", "ReduceSumSquare", "NonZero", "Softplus"), POSITIVE),
    **dict.fromkeys(("ArgMax", "ArgMin", "NonMaxSuppression", "GlobalLpPool", "LpPool"), POSITIVE),
    "LogSoftmax": (-math.inf, 0.0),
}
RULES: Mapping[str, Callable[[ir.Node, Sequence[Bounds]], Bounds]] = {
    "Concat": _union,
    "AveragePool": _average,
    "Where": _where,
    "Add": _add,
    "Sum": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Neg": _neg,
    "Abs": _abs,
    "Relu": _relu,
    "Max": _max,
    "Min": _min,
    "Clip": _clip,
    "Pow": _pow,
    "Exp": _monotonic(_exp),
    "Sqrt": _monotonic(_sqrt),
    "Floor": _monotonic(lambda x: math.floor(x) if math.isfinite(x) else x),
    "Ceil": _monotonic(lambda x: math.ceil(x) if math.isfinite(x) else x),
}
