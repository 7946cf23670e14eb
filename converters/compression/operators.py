"""What each ATen operator does to the labels of its operands. What isn't here and isn't pointwise cuts nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from enginesmith.converters.compression.flow import Flow, Product, Rule, fixed_like, shape_of
from enginesmith.converters.compression.labels import Dims, Indices, fixed
from enginesmith.converters.compression.reshaping import Splits, reshape, split

if TYPE_CHECKING:
    from torch.fx import Node

RULES: dict[str, Rule] = {}
NONE = np.zeros(0, dtype=np.int64)

GROUP_WIDTH = 16
"""Of grouped convolutions with groups no wider, whole groups are cut; of others the same channels of each group."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Registers it for operators, named without `aten.` and overload."""

    def register(function: Rule) -> Rule:
        RULES.update({name if name in ("getitem", "pointwise") else f"aten.{name}": function for name in names})
        return function

    return register


def argument(node: Node, place: int, name: str, default: Any = None) -> Any:
    if len(node.args) > place:
        return node.args[place]
    return node.kwargs.get(name, default)


def given(node: Node, place: int) -> Any:
    """An argument that is always there."""
    return node.args[place]


def _broadcast(flow: Flow, node: Node, operands: Sequence[Dims], shape: Sequence[int]) -> Dims:
    made = []
    for back in range(len(shape), 0, -1):
        met = [dims[-back] for dims in operands if len(dims) >= back and len(dims[-back]) > 1]
        met.sort(key=lambda labels: not labels.any())
        for other in met[1:]:
            flow.unite(met[0], other, node)
        made.append(met[0] if met else fixed(shape[-back]))
    return tuple(made)


@rule(
    "pointwise", "masked_fill", "where", "hardswish", "hardsigmoid", "hardtanh", "relu6", "selu", "celu", "elu", "mish"
)
def _pointwise(flow: Flow, node: Node) -> Dims:
    return _broadcast(flow, node, [flow.of(each) for each in node.all_input_nodes], shape_of(node))


@rule(
    *(
        "clone",
        "contiguous",
        "alias",
        "detach",
        "detach_",
        "to",
        "_to_copy",
        "lift_fresh_copy",
        "dropout",
        "feature_dropout",
    ),
    *("fill", "zeros_like", "ones_like", "full_like", "_assert_tensor_metadata"),
)
def _same(flow: Flow, node: Node) -> Dims:
    return flow.of(given(node, 0))


@rule("getitem")
def _item(flow: Flow, node: Node) -> Dims:
    found = flow.values[given(node, 0)]
    return found[given(node, 1)] if isinstance(found, list) else found


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
    return _broadcast(flow, node, [made, flow.of(given(node, 0))], shape_of(node))


def _product(flow: Flow, node: Node, one: Any, other: Any) -> Dims:
    left, right = flow.of(one), flow.of(other)
    flow.unite(left[-1], right[-2] if len(right) > 1 else right[-1], node)
    rows, columns = left[-2:-1] if len(left) > 1 else (), right[-1:] if len(right) > 1 else ()
    if len(right) == 2:
        flow.products.append(Product(node, other, right[1], 1, NONE))
    batch = _broadcast(flow, node, [left[:-2], right[:-2]], shape_of(node)[: len(shape_of(node)) - len(rows + columns)])
    return (*batch, *rows, *columns)


@rule("scaled_dot_product_attention")
def _attention(flow: Flow, node: Node) -> Dims:
    query, key, value = (flow.of(each) for each in node.args[0:3])
    flow.unite(query[-1], key[-1], node)
    if node.kwargs.get("scale") is None:
        flow.freeze([query[-1]], "attention's scale is made of its number")
    flow.unite(key[-2], value[-2], node)
    masks = [flow.of(argument(node, 3, "attn_mask"))]
    heads = _broadcast(
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


@rule(
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *(
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "adaptive_max_pool2d",
        "max_pool2d_with_indices",
    ),
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_bilinear2d", "upsample_bicubic2d"),
    *("_upsample_nearest_exact2d", "upsample_linear1d", "upsample_trilinear3d", "grid_sampler"),
)
def _places(flow: Flow, node: Node) -> Dims | list[Dims]:
    x = flow.of(given(node, 0))
    made = fixed_like(node)
    if isinstance(made, list):
        return [(*x[:2], *each[2:]) for each in made]
    # a picture may come without a batch
    return (*x[: len(made) - 2], *made[-2:]) if len(made) == 3 and len(x) == 3 else (*x[:2], *made[2:])


@rule("pad", "constant_pad_nd", "reflection_pad2d", "replication_pad2d")
def _padded(flow: Flow, node: Node) -> Dims:
    x, shape = flow.of(given(node, 0)), shape_of(node)
    pads = given(node, 1)
    assert isinstance(pads, list | tuple)
    changed = {len(x) - 1 - place // 2 for place, pad in enumerate(pads) if pad}
    flow.freeze([x[axis] for axis in changed], "it is padded")
    return tuple(fixed(size) if axis in changed else x[axis] for axis, size in enumerate(shape))


@rule("mean", "sum", "amax", "amin", "var", "std", "norm", "linalg_vector_norm", "argmax", "any", "all", "prod")
def _reduced(flow: Flow, node: Node) -> Dims:
    x, shape = flow.of(given(node, 0)), shape_of(node)
    place = 2 if "norm" in str(node.target) else 1
    axes = argument(node, place, "dim")
    axes = [axes] if isinstance(axes, int) else axes if isinstance(axes, list | tuple) and axes else range(len(x))
    gone = {axis % len(x) for axis in axes}
    flow.freeze([x[axis] for axis in gone], "a value is made of all of them")
    if len(shape) == len(x):
        return tuple(fixed(1) if axis in gone else labels for axis, labels in enumerate(x))
    return tuple(labels for axis, labels in enumerate(x) if axis not in gone)


@rule("softmax", "_softmax", "log_softmax", "cumsum", "flip", "roll", "sort", "topk")
def _along(flow: Flow, node: Node) -> Dims | list[Dims]:
    x = flow.of(given(node, 0))
    axes = argument(
        node, 2 if "roll" in str(node.target) else 1, "dim" if "flip" not in str(node.target) else "dims", -1
    )
    for axis in [axes] if isinstance(axes, int) else axes:
        flow.freeze([x[axis]], "each of them depends on the others")
    made = fixed_like(node)
    if isinstance(made, list):
        return [tuple(one if len(one) == len(two) else two for one, two in zip(x, each, strict=True)) for each in made]
    return x


@rule("cat")
def _concatenated(flow: Flow, node: Node) -> Dims:
    parts = [flow.of(each) for each in given(node, 0) if math.prod(shape_of(each))]
    rank = len(parts[0])
    axis = argument(node, 1, "dim", 0) % rank
    made = list(parts[0])
    made[axis] = np.concatenate([part[axis] for part in parts])
    for other in range(rank):
        for part in parts[1:] if other != axis else ():
            flow.unite(made[other], part[other], node)
    return tuple(made)


@rule("stack")
def _stacked(flow: Flow, node: Node) -> Dims:
    parts = [flow.of(each) for each in given(node, 0)]
    axis = argument(node, 1, "dim", 0) % (len(parts[0]) + 1)
    made = _broadcast(flow, node, parts, [len(each) for each in parts[0]])
    return (*made[:axis], fixed(len(parts)), *made[axis:])


@rule("split", "chunk", "split_with_sizes", "tensor_split", "unbind")
def _parts(flow: Flow, node: Node) -> list[Dims]:
    """Equal parts stay equal: whoever wrote `chunk(2)` gets halves of what is left."""
    x = flow.of(given(node, 0))
    unbound = "unbind" in str(node.target)
    axis = argument(node, 1 if unbound else 2, "dim", 0) % len(x)
    shapes = [tuple(each.shape) for each in node.meta["val"]]
    if unbound:
        flow.freeze([x[axis]], "its entries are taken apart")
        return [x[:axis] + x[axis + 1 :] for _ in shapes]
    sizes = [shape[axis] for shape in shapes]
    pieces = np.split(x[axis], np.cumsum(sizes)[:-1])
    if len(set(sizes)) == 1:
        for piece in pieces[1:]:
            flow.unite(pieces[0], piece, node)
    return [(*x[:axis], piece, *x[axis + 1 :]) for piece in pieces]


@rule("glu")
def _gated(flow: Flow, node: Node) -> Dims:
    x = flow.of(given(node, 0))
    axis = argument(node, 1, "dim", -1) % len(x)
    one, other = np.split(x[axis], 2)
    flow.unite(one, other, node)
    return (*x[:axis], one, *x[axis + 1 :])


@rule("slice", "narrow")
def _slice(flow: Flow, node: Node) -> Dims:
    x = flow.of(given(node, 0))
    axis, size = argument(node, 1, "dim", 0) % len(x), len(x[argument(node, 1, "dim", 0)])
    start, end, step = (argument(node, place, name) for place, name in ((2, "start"), (3, "end"), (4, "step")))
    if "narrow" in str(node.target):
        end = start + end
    return (*x[:axis], x[axis][slice(start, None if end is None else min(end, size), step)], *x[axis + 1 :])


@rule("select")
def _select(flow: Flow, node: Node) -> Dims:
    x = flow.of(given(node, 0))
    axis = given(node, 1) % len(x)
    flow.freeze([x[axis]], "one of them is taken out")
    return x[:axis] + x[axis + 1 :]


@rule("slice_scatter", "copy", "copy_")
def _written(flow: Flow, node: Node) -> Dims:
    flow.freeze([*flow.of(given(node, 0)), *flow.of(given(node, 1))], "a part of it is written over")
    return flow.of(given(node, 0))


@rule("index", "index_select", "embedding", "gather")
def _indexed(flow: Flow, node: Node) -> Dims:
    """Rows of a table by their numbers; the rest of the table's dimensions stay."""
    x, shape = flow.of(given(node, 0)), shape_of(node)
    name = str(node.target)
    indexed = [0]
    if "index_select" in name:
        indexed = [given(node, 1) % len(x)]
    elif "aten.index." in name:
        indexed = [axis for axis, each in enumerate(given(node, 1)) if each is not None]
    rest = [labels for axis, labels in enumerate(x) if axis not in indexed]
    if "gather" in name or indexed != [0] or len(rest) > len(shape):
        flow.freeze(x, "some of them are taken out by number")
        return tuple(map(fixed, shape))
    flow.freeze([x[0]], "some of them are taken out by number")
    return (*map(fixed, shape[: len(shape) - len(rest)]), *rest)


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "view_copy", "_reshape_copy")
def _reshaped(flow: Flow, node: Node) -> Dims:
    return reshape(flow.labels, flow.of(given(node, 0)), shape_of(node), flow.splits)


@rule("squeeze", "unsqueeze")
def _ones(flow: Flow, node: Node) -> Dims:
    """Dimensions of size 1 come or go; nothing else is said by the shapes."""
    waiting = [labels for labels in flow.of(given(node, 0)) if len(labels) != 1]
    return tuple(fixed(1) if size == 1 else waiting.pop(0) for size in shape_of(node))


@rule("expand", "expand_as", "repeat")
def _expanded(flow: Flow, node: Node) -> Dims:
    x, shape = flow.of(given(node, 0)), shape_of(node)
    x = (*(fixed(1) for _ in range(len(shape) - len(x))), *x)
    for labels, size in zip(x, shape, strict=True):
        if len(labels) not in (1, size):
            flow.freeze([labels], "it is repeated")
    return tuple(labels if len(labels) == size else fixed(size) for labels, size in zip(x, shape, strict=True))


@rule("permute", "transpose", "t", "numpy_T")
def _permuted(flow: Flow, node: Node) -> Dims:
    x = flow.of(given(node, 0))
    order = list(range(len(x)))
    if "permute" in str(node.target):
        order = [axis % len(x) for axis in given(node, 1)]
    elif "transpose" in str(node.target):
        one, other = given(node, 1) % len(x), given(node, 2) % len(x)
        order[one], order[other] = order[other], order[one]
    else:
        order.reverse()
    return tuple(x[axis] for axis in order)


@rule("pixel_shuffle")
def _pixel_shuffle(flow: Flow, node: Node) -> Dims:
    x, factor = flow.of(given(node, 0)), int(given(node, 1))
    factors = (len(x[1]) // factor**2, factor, factor)
    channels: Indices = split(flow.labels, x[1], factors, Splits({factors: 0}))[0]
    return (x[0], channels, *map(fixed, shape_of(node)[2:]))


@rule(
    "sym_size",
    "arange",
    "zeros",
    "ones",
    "full",
    "empty",
    "new_zeros",
    "new_ones",
    "new_full",
    "eye",
    "linspace",
    "scalar_tensor",
)
def _made(flow: Flow, node: Node) -> Dims | list[Dims]:
    return fixed_like(node)


def _roi(flow: Flow, node: Node) -> Dims:
    """Of torchvision: regions of a picture's features."""
    return (fixed(shape_of(node)[0]), flow.of(given(node, 0))[1], *map(fixed, shape_of(node)[2:]))


RULES |= {"torchvision.roi_align": _roi, "torchvision.roi_pool": _roi}
