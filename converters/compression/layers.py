"""What layers do to the labels of their operands: convolutions, products, attention, normalizations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enginesmith.converters.compression.flow import Flow, Product, fixed_like, shape_of
from enginesmith.converters.compression.labels import Dims, fixed
from enginesmith.converters.compression.rules import NONE, argument, broadcast, given, rule

if TYPE_CHECKING:
    from torch.fx import Node

GROUP_WIDTH = 16
"""Of grouped convolutions with groups no wider, whole groups are cut; of others the same channels of each group."""


@rule("conv1d", "conv2d", "conv3d", "convolution")
def _convolution(flow: Flow, node: Node) -> Dims:
    transposed = bool(argument(node, 6, "transposed", False)) if "convolution" in str(node.target) else False
    groups = (
        argument(node, 8, "groups", 1) if "aten.convolution" in str(node.target) else argument(node, 6, "groups", 1)
    )
    return _convolved(flow, node, int(groups), transposed)


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _transposed(flow: Flow, node: Node) -> Dims:
    return _convolved(flow, node, int(argument(node, 6, "groups", 1)), True)


def _convolved(flow: Flow, node: Node, groups: int, transposed: bool) -> Dims:
    x, weight, bias = (flow.of(argument(node, place, "")) for place in range(3))
    batch, inputs = (x[0], x[1]) if len(x) == len(weight) else (None, x[0])
    flow.freeze(weight[2:], "it is the kernel's extent")
    axis = 1 if transposed else 0
    count = len(weight[1]) * groups if transposed else len(weight[0])
    by_groups = NONE
    if groups == 1:
        outputs = weight[axis]
        flow.unite(inputs, weight[1 - axis], node)
    else:
        # the axis with all channels of one side, the other with those of one group
        whole, part = weight[0].reshape(groups, -1), weight[1]
        read = inputs.reshape(groups, -1)
        made = flow.labels.fresh(count).reshape(groups, -1)
        if (count if transposed else len(inputs)) // groups <= GROUP_WIDTH:
            flow.freeze([part], "it is a group's width")
            for side in (read, whole, made):
                flow.unite(read[:, :1], side, node)
            by_groups = read[:, 0]
        else:
            for side in (read, whole, made):
                flow.unite(side[:1], side, node)
            flow.unite(part, made[0] if transposed else read[0], node)
            flow.unite(whole[0], read[0] if transposed else made[0], node)
        outputs = made.ravel()
    if bias:
        flow.unite(bias[0], outputs, node)
    flow.products.append(Product(node, given(node, 1), outputs, axis, by_groups))
    places = tuple(map(fixed, shape_of(node)[-(len(weight) - 2) :]))
    return (outputs, *places) if batch is None else (batch, outputs, *places)


@rule("linear")
def _linear(flow: Flow, node: Node) -> Dims:
    x, weight, bias = (flow.of(argument(node, place, "")) for place in range(3))
    flow.unite(x[-1], weight[-1], node)
    if bias:
        flow.unite(bias[0], weight[0], node)
    flow.products.append(Product(node, given(node, 1), weight[0], 0, NONE))
    return (*x[:-1], weight[0])


@rule("matmul", "mm", "bmm", "mv", "dot")
def _matmul(flow: Flow, node: Node) -> Dims:
    return _product(flow, node, given(node, 0), given(node, 1))


@rule("addmm", "baddbmm")
def _addmm(flow: Flow, node: Node) -> Dims:
    made = _product(flow, node, given(node, 1), given(node, 2))
    return broadcast(flow, node, [made, flow.of(given(node, 0))], shape_of(node))


def _product(flow: Flow, node: Node, one: Any, other: Any) -> Dims:
    left, right = flow.of(one), flow.of(other)
    flow.unite(left[-1], right[-2] if len(right) > 1 else right[-1], node)
    rows, columns = left[-2:-1] if len(left) > 1 else (), right[-1:] if len(right) > 1 else ()
    if len(right) == 2:
        flow.products.append(Product(node, other, right[1], 1, NONE))
    batch = broadcast(flow, node, [left[:-2], right[:-2]], shape_of(node)[: len(shape_of(node)) - len(rows + columns)])
    return (*batch, *rows, *columns)


@rule("scaled_dot_product_attention")
def _attention(flow: Flow, node: Node) -> Dims:
    query, key, value = (flow.of(each) for each in node.args[0:3])
    flow.unite(query[-1], key[-1], node)
    if node.kwargs.get("scale") is None:
        flow.freeze([query[-1]], "attention's scale is made of its number")
    flow.unite(key[-2], value[-2], node)
    masks = [flow.of(argument(node, 3, "attn_mask"))]
    heads = broadcast(
        flow, node, [query[:-2], key[:-2], value[:-2], *(mask[:-2] for mask in masks)], shape_of(node)[:-2]
    )
    return (*heads, query[-2], value[-1])


def _with_statistics(node: Node, x: Dims) -> Dims | list[Dims]:
    """What a normalization gives beside its result is of no use in inference."""
    made = fixed_like(node)
    return [x, *made[1:]] if isinstance(made, list) else x


@rule("batch_norm", "_native_batch_norm_legit_no_training", "instance_norm")
def _per_channel(flow: Flow, node: Node) -> Dims | list[Dims]:
    x = flow.of(given(node, 0))
    for each in node.args[1:5]:
        for labels in flow.of(each):
            flow.unite(x[1], labels, node)
    return _with_statistics(node, x)


@rule("layer_norm", "rms_norm", "native_layer_norm")
def _layer_norm(flow: Flow, node: Node) -> Dims | list[Dims]:
    x = flow.of(given(node, 0))
    count = len(given(node, 1))
    for each in node.args[2:4]:
        for labels, own in zip(x[-count:], flow.of(each), strict=False):
            flow.unite(labels, own, node)
    flow.freeze(x[-count:], "a normalization takes its mean over them")
    return _with_statistics(node, x)


@rule("group_norm")
def _group_norm(flow: Flow, node: Node) -> Dims:
    x = flow.of(given(node, 0))
    table = x[1].reshape(given(node, 1), -1)
    flow.unite(table[:, :1], table, node)
    for each in node.args[2:4]:
        for labels in flow.of(each):
            flow.unite(x[1], labels, node)
    return x
