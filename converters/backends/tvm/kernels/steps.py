"""Which elementwise operators of Relax are which steps of an expression."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from enginesmith.converters.backends.tvm.kernels.graph import Graph, Node, number, shape_of, sizes_of
from enginesmith.converters.backends.tvm.kernels.integers import RANGES

INFINITY = math.inf


@dataclass(frozen=True)
class Elementwise:
    """A step before its arguments have numbers: the tensors that it takes, and its constants."""

    op: str
    tensors: tuple[Any, ...]
    constants: tuple[float, ...] = ()


def step_of(graph: Graph, node: Node) -> Elementwise | None:
    """The step that a node is, None where it isn't elementwise or has no step."""
    name = node.short_op
    if not node.op.startswith("relax."):
        return None
    if name in UNARY:
        return Elementwise(UNARY[name], (node.inputs[0],))
    if name in CLAMPS:
        return Elementwise("clamp", (node.inputs[0],), CLAMPS[name])
    if name == "clip":
        low, high = (float(bound.value) for bound in node.value.args[1:3])
        return Elementwise("clamp", (node.inputs[0],), (low, high))
    if name == "quantize":
        return _quantize(graph, node)
    if name == "leakyrelu":
        return Elementwise("leaky_relu", (node.inputs[0],), (float(node.attrs.alpha),))
    if name == "astype":
        return _mask(graph, node)
    if name == "prelu":
        return _prelu(graph, node)
    if name == "where":
        return Elementwise("where", tuple(node.inputs)) if graph.computes(node.inputs[0], COMPARISONS) else None
    if name not in BINARY:
        return None
    left, right = node.inputs
    plain, with_right, with_left = BINARY[name]
    if (value := number(graph.constant(right))) is not None:
        step = with_right(value)
        return Elementwise(step[0], (left,), step[1]) if step else None
    if (value := number(graph.constant(left))) is not None:
        step = with_left(value)
        return Elementwise(step[0], (right,), step[1]) if step else None
    return Elementwise(plain, (left, right)) if plain else None


def _mask(graph: Graph, node: Node) -> Elementwise | None:
    """A comparison whose outcome is made 1 or 0 at once: nobody sees it as a truth value."""
    compare = graph.producer_of(node.inputs[0], "greater")
    if compare is None or str(node.var.ty.dtype) != "float32" or None in map(shape_of, compare.inputs):
        return None
    left, right = compare.inputs
    value = number(graph.constant(right))
    return Elementwise("greater", (left, right)) if value is None else Elementwise("greater_number", (left,), (value,))


def _prelu(graph: Graph, node: Node) -> Elementwise | None:
    """The slopes get the axes that follow theirs, as broadcasting wants them."""
    x, shape, slopes = node.inputs[0], shape_of(node.var), graph.constant(node.inputs[1])
    if shape is None or slopes is None:
        return None
    below = len(shape) - 1 - int(node.attrs.axis) % len(shape)
    return Elementwise("prelu", (x, relax.const(slopes.reshape(-1, *(1 for _ in range(below))).astype("float32"))))


def _quantize(graph: Graph, node: Node) -> Elementwise | None:
    """Numbers in units of the scale: what is left is to round them, where the result is stored."""
    source, scale, zero = node.inputs
    size = number(graph.constant(scale))
    known = shape_of(source) is not None and sizes_of(node.var) is not None and str(node.var.ty.dtype) in RANGES
    if not known or not size or number(graph.constant(zero)) is None:
        return None
    return Elementwise("multiply", (source, relax.const(np.array([1 / size], np.float32))))


COMPARISONS = ("greater", "less")
"""Their results are masks of 1 and 0 within an expression, and nothing outside of it."""
UNARY = {
    name: name
    for name in ("sigmoid", "tanh", "erf", "exp", "log", "negative", "abs", "square", "sqrt", "floor", "ceil", "silu",
                 "gelu", "gelu_tanh")
} | {"rsqrt": "reciprocal_sqrt"}  # fmt: skip
CLAMPS = {"relu": (0.0, INFINITY), "relu6": (0.0, 6.0)}
Constants = tuple[str, tuple[float, ...]] | None
POWERS: dict[float, Constants] = {
    2.0: ("square", ()),
    3.0: ("cube", ()),
    0.5: ("sqrt", ()),
    -1.0: ("divide_number", (1.0,)),
}


def _divided(number: float) -> Constants:
    """By a power of two a product is the same; by another number it isn't in its last digit, which decides on a rounding."""
    exact = number and math.frexp(number)[0] in (0.5, -0.5) and math.isfinite(1 / number)
    return ("multiply_number", (1 / number,)) if exact else ("divide_by_number", (number,))


BINARY: dict[str, tuple[str, Callable[[float], Constants], Callable[[float], Constants]]] = {
    "add": ("add", lambda c: ("add_number", (c,)), lambda c: ("add_number", (c,))),
    "subtract": ("subtract", lambda c: ("add_number", (-c,)), lambda c: ("subtract_from_number", (c,))),
    "multiply": ("multiply", lambda c: ("multiply_number", (c,)), lambda c: ("multiply_number", (c,))),
    "divide": ("divide", _divided, lambda c: ("divide_number", (c,))),
    "maximum": ("maximum", lambda c: ("clamp", (c, INFINITY)), lambda c: ("clamp", (c, INFINITY))),
    "minimum": ("minimum", lambda c: ("clamp", (-INFINITY, c)), lambda c: ("clamp", (-INFINITY, c))),
    "power": ("", POWERS.get, lambda c: None),
    "greater": ("greater", lambda c: ("greater_number", (c,)), lambda c: ("less_number", (c,))),
    "less": ("less", lambda c: ("less_number", (c,)), lambda c: ("greater_number", (c,))),
}
"""Operator to its step on two tensors, and to the step that it is when the right or the left one is a number."""
