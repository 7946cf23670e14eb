"""Attentions: the products and the Softmax that a builder makes one kernel of."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.miscompiles.patterns.around import (
    MOVING,
    PASSING,
    ancestors,
    following,
    is_half,
    is_one,
    maker,
    scores,
)
from enginesmith.compat.miscompiles.patterns.registry import pattern
from enginesmith.compat.values import argument, attribute, dtype, shape

LONG = 512
"""Keys from which a causal attention of halves is computed wrongly."""


@pattern("MatMul")
def half_attention(node: ir.Node) -> str | None:
    """MatMul, Softmax, MatMul in half precision, which the builder fuses unless the weights are an output too."""
    weights = maker(argument(node, 0), "Softmax")
    if weights is None or not is_half(node.outputs[0]) or weights.outputs[0].is_graph_output():
        return None
    return "an attention in half precision" if maker(argument(weights, 0), "MatMul") is not None else None


@pattern("MatMul")
def reduced_keys(node: ir.Node) -> str | None:
    """Attention for a batch whose keys come from a strided convolution that the queries don't go through (SegFormer, PVT)."""
    batch = (shape(node.outputs[0]) or [None])[0]
    if batch == 1 or len(node.inputs) != 2:
        return None
    left, right = (set(ancestors(argument(node, index))) for index in (0, 1))
    reduced = [other for other in right - left if other.op_type == "Conv" and max(attribute(other, "strides", [1])) > 1]
    if not reduced or not any(following(node, "Softmax")):
        return None
    return f"an attention with spatially reduced keys, for a batch of {batch or 'any size'}"


@pattern("GridSample")
def deformable_attention(node: ir.Node) -> str | None:
    """A GridSample whose result is weighted and summed, as in deformable attention, in float32."""
    if dtype(node.outputs[0]) != ir.DataType.FLOAT:
        return None
    summed = any(following(node, "Mul", steps=6)) and any(following(node, "ReduceSum", steps=10))
    return "a deformable attention in float32" if summed else None


@pattern("MatMul")
def scaled_twice(node: ir.Node) -> str | None:
    """An attention of which queries and keys are both scaled before their product, as `scaled_dot_product_attention` is
    exported."""
    scaled = [_scale(argument(node, index)) for index in (0, 1)]
    return "queries and keys are both scaled before their product" if all(scaled) and scores(node) else None


@pattern("MatMul")
def half_grouped_keys(node: ir.Node) -> str | None:
    """An attention in half precision whose keys are repeated for several heads each."""
    keys = maker(argument(node, 1), "Expand", "Tile")
    return "a grouped-query attention in half precision" if keys and is_half(node.outputs[0]) and scores(node) else None


@pattern("Attention")
def half_causal(node: ir.Node) -> str | None:
    """Attention with is_causal, in half precision, on many keys or an unknown number."""
    sizes = shape(argument(node, 1)) or [None, None]
    keys = sizes[-2]
    if not attribute(node, "is_causal", 0) or not is_half(argument(node, 0)) or (keys is not None and keys < LONG):
        return None
    return f"a causal attention in half precision on {keys or 'any number of'} keys"


@pattern("Einsum")
def einsum_of_one_projection(node: ir.Node) -> str | None:
    """An attention written with Einsum, whose queries, keys and values are parts of one product."""
    parts = [maker(argument(node, index), "Split", "Slice") for index in (0, 1)]
    one, other = (argument(part, 0) if part is not None else None for part in parts)
    if one is None or one is not other:
        return None
    weights = next(following(node, "Softmax", through=PASSING), None)
    after = next(following(weights, "Einsum", through=PASSING), None) if weights is not None else None
    values = maker(argument(after, 1), "Split", "Slice") if after is not None else None
    return "an attention by Einsum of three parts of one tensor" if values and argument(values, 0) is one else None


@pattern("Concat")
def rotated_behind_a_prefix(node: ir.Node) -> str | None:
    """Queries or keys of which all but the first tokens are rotated, and then put behind these (DINOv3)."""
    rotated = [index for index, value in enumerate(node.inputs) if _rotation(value)]
    if not rotated or 0 in rotated:
        return None
    first = maker(argument(node, 0), "Split", "Slice", through=MOVING)
    used = any(scores(product) for product in following(node, "MatMul", steps=3, through=(*MOVING, "Mul")))
    return "tokens are rotated and put behind those that aren't" if first is not None and used else None


def _scale(value: ir.Value | None) -> ir.Node | None:
    """The Mul by one number that makes the value."""
    scaled = maker(value, "Mul", through=MOVING)
    return scaled if scaled is not None and any(is_one(side) for side in scaled.inputs) else None


def _rotation(value: ir.Value | None) -> bool:
    """Is it x·cos + rotate_half(x)·sin?"""
    total = maker(value, "Add", through=MOVING)
    products = [maker(side, "Mul", through=MOVING) for side in total.inputs] if total is not None else []
    if len(products) != 2 or None in products:
        return False
    halves = [maker(side, "Concat", through=MOVING) for product in products if product for side in product.inputs]
    return any(half is not None and any(maker(side, "Neg", through=()) for side in half.inputs) for half in halves)
