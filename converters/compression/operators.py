"""What the other ATen operators do to the labels of their operands. What isn't here and isn't pointwise cuts nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from enginesmith.converters.compression.flow import Flow, fixed_like, shape_of
from enginesmith.converters.compression.labels import Dims, Indices, fixed
from enginesmith.converters.compression.reshaping import Splits, reshape, split
from enginesmith.converters.compression.rules import RULES, argument, broadcast, given, rule

if TYPE_CHECKING:
    from torch.fx import Node


@rule(
    "pointwise", "masked_fill", "where", "hardswish", "hardsigmoid", "hardtanh", "relu6", "selu", "celu", "elu", "mish"
)
def _pointwise(flow: Flow, node: Node) -> Dims:
    return broadcast(flow, node, [flow.of(each) for each in node.all_input_nodes], shape_of(node))


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
    made = broadcast(flow, node, parts, [len(each) for each in parts[0]])
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
