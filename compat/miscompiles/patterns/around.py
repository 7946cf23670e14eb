"""What lies around a node: what made its inputs, what follows it, what stands beside it."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from enginesmith.compat.values import DEFAULT_DOMAINS, argument, constant, constant_tensor, dtype, shape

DEPTH = 16
"""Nodes that are looked at between two of a pattern."""
HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
PASSING = (
    *("Cast", "Mul", "Div", "Add", "Sub", "Where", "Clip"),
    *("Reshape", "Transpose", "Dropout", "Identity", "QuantizeLinear", "DequantizeLinear"),
)
"""Operators that only pass a tensor on, scaled, masked, or in another form."""
MOVING = ("Reshape", "Transpose", "Identity", "Cast", "Squeeze", "Unsqueeze")
"""Operators that keep every element."""


def maker(value: ir.Value | None, *ops: str, through: tuple[str, ...] = PASSING) -> ir.Node | None:
    """The node of one of these operators that makes the value, behind some that only pass it on."""
    for _ in range(DEPTH):
        node = value.producer() if value is not None else None
        if node is None or node.domain not in DEFAULT_DOMAINS:
            return None
        if node.op_type in ops:
            return node
        if node.op_type not in through:
            return None
        value = argument(node, 0)
    return None


def ancestors(value: ir.Value | None, steps: int = DEPTH, through: tuple[str, ...] | None = None) -> Iterator[ir.Node]:
    """The nodes behind a value, nearest first, each once; `through` says behind which others alone."""
    level, seen = [value], set()
    for _ in range(steps):
        nodes = [made for one in level if one is not None and (made := one.producer()) is not None]
        new = [made for made in dict.fromkeys(nodes) if made not in seen]
        seen.update(new)
        yield from new
        level = [one for made in new if through is None or made.op_type in through for one in made.inputs]


def following(node: ir.Node, *ops: str, steps: int = 6, through: tuple[str, ...] | None = None) -> Iterator[ir.Node]:
    """Each node of these operators within some steps after this one; `through` says behind which others alone."""
    level, seen = [node], {node}
    for _ in range(steps):
        users = [user for made in level for output in made.outputs for user, _ in output.uses() if user not in seen]
        level = list(dict.fromkeys(users))
        seen.update(level)
        yield from (made for made in level if made.op_type in ops)
        if through is not None:
            level = [made for made in level if made.op_type in through]


def siblings(node: ir.Node) -> list[ir.Node]:
    """The others of its operator in its graph."""
    if node.graph is None:
        return []
    return [other for other in node.graph if other.op_type == node.op_type and other is not node]


def is_half(value: ir.Value | None) -> bool:
    return dtype(value) in HALVES


def is_one(value: ir.Value | None) -> bool:
    """Has it a single element?"""
    sizes = shape(value)
    return sizes is not None and all(size == 1 for size in sizes)


def number(value: ir.Value | None) -> float | None:
    """The content of a constant of one element."""
    known = constant(value)
    return float(known.reshape(-1)[0]) if known is not None and known.size == 1 else None


def weighted(node: ir.Node) -> bool:
    """Is it a product with a constant matrix?"""
    return node.op_type in ("MatMul", "Gemm") and constant_tensor(argument(node, 1)) is not None


def scores(node: ir.Node) -> bool:
    """Is it the first product of an attention: a Softmax follows, and another product after that?"""
    weights = following(node, "Softmax", through=PASSING)
    return any(any(following(each, "MatMul", "Einsum", through=PASSING)) for each in weights)
