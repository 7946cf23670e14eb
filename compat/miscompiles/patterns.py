"""The graphs that are miscompiled: each function says what it is about a node that makes it one of them, or None."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir

from enginesmith.compat.values import argument, attribute, constant, dtype, shape

DEPTH = 16
"""Nodes that are looked at between two of a pattern."""
HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
Pattern = tuple[str, Callable[[ir.Node], str | None]]
"""The operator that a pattern ends in, and what is looked for there."""


def half_attention(node: ir.Node) -> str | None:
    """MatMul, Softmax, MatMul in half precision, which the builder fuses."""
    weights = _maker(argument(node, 0), "Softmax")
    if weights is None or dtype(node.outputs[0]) not in HALVES:
        return None
    scores = _maker(argument(weights, 0), "MatMul")
    return "an attention in half precision" if scores is not None else None


def reduced_keys(node: ir.Node) -> str | None:
    """Attention for a batch whose keys come from a strided convolution that the queries don't go through (SegFormer, PVT)."""
    batch = (shape(node.outputs[0]) or [None])[0]
    if batch == 1 or len(node.inputs) != 2:
        return None
    left, right = (set(_ancestors(argument(node, index))) for index in (0, 1))
    reduced = [other for other in right - left if other.op_type == "Conv" and max(attribute(other, "strides", [1])) > 1]
    if not reduced or not any(_follows(node, "Softmax")):
        return None
    return f"an attention with spatially reduced keys, for a batch of {batch or 'any size'}"


def deformable_attention(node: ir.Node) -> str | None:
    """A GridSample whose result is weighted and summed, as in deformable attention, in float32."""
    if dtype(node.outputs[0]) != ir.DataType.FLOAT:
        return None
    weighted = any(_follows(node, "Mul", steps=6)) and any(_follows(node, "ReduceSum", steps=10))
    return "a deformable attention in float32" if weighted else None


def conditional_transposed_resize(node: ir.Node) -> str | None:
    """If, Transpose, Resize."""
    turned = _maker(argument(node, 0), "Transpose", through=())
    chosen = _maker(argument(turned, 0), "If", through=()) if turned is not None else None
    return "the result of an If is transposed and resized" if chosen is not None else None


def sums_of_other_axes(node: ir.Node) -> str | None:
    """CumSum beside another one that sums along another axis."""
    own = _axis(node)
    others = {_axis(other) for other in _siblings(node)} - {own, None}
    return (
        f"it sums along axis {own}, and another CumSum along {sorted(map(str, others))[0]}"
        if own is not None and others
        else None
    )


def sums_the_other_way(node: ir.Node) -> str | None:
    """CumSum beside another one of the other direction."""
    own = attribute(node, "reverse", 0)
    if all(attribute(other, "reverse", 0) == own for other in _siblings(node)):
        return None
    return f"reverse is {own} here, and {1 - own} in another CumSum"


PATTERNS: dict[str, Pattern] = {
    "half_attention": ("MatMul", half_attention),
    "reduced_keys": ("MatMul", reduced_keys),
    "deformable_attention": ("GridSample", deformable_attention),
    "conditional_transposed_resize": ("Resize", conditional_transposed_resize),
    "sums_of_other_axes": ("CumSum", sums_of_other_axes),
    "sums_the_other_way": ("CumSum", sums_the_other_way),
}
_PASSING = (
    *("Cast", "Mul", "Div", "Add", "Sub", "Where", "Clip"),
    *("Reshape", "Transpose", "Dropout", "Identity", "QuantizeLinear", "DequantizeLinear"),
)


def _maker(value: ir.Value | None, op: str, through: tuple[str, ...] = _PASSING) -> ir.Node | None:
    """The node of this operator that makes the value, behind some that only pass it on."""
    for _ in range(DEPTH):
        node = value.producer() if value is not None else None
        if node is None or node.op_type == op:
            return node
        if node.op_type not in through:
            return None
        value = argument(node, 0)
    return None


def _ancestors(value: ir.Value | None, steps: int = DEPTH) -> Iterator[ir.Node]:
    """The nodes behind a value, nearest first, each once."""
    level, seen = [value], set()
    for _ in range(steps):
        nodes = [made for one in level if one is not None and (made := one.producer()) is not None]
        new = [made for made in dict.fromkeys(nodes) if made not in seen]
        seen.update(new)
        yield from new
        level = [one for made in new for one in made.inputs]


def _follows(node: ir.Node, op: str, steps: int = 6) -> Iterator[bool]:
    """True for each node of the operator within some steps after this one."""
    level, seen = [node], {node}
    for _ in range(steps):
        level = [user for made in level for output in made.outputs for user, _ in output.uses() if user not in seen]
        seen.update(level)
        yield from (True for made in level if made.op_type == op)


def _siblings(node: ir.Node) -> list[ir.Node]:
    return (
        []
        if node.graph is None
        else [other for other in node.graph if other.op_type == node.op_type and other is not node]
    )


def _axis(node: ir.Node) -> int | None:
    known = constant(argument(node, 1))
    return int(known.reshape(-1)[0]) if known is not None and known.size else None
