"""Operators with odd attributes and sizes, drawn by a seed, and the small models that they make."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from random_graphs import RandomGraph, Refused


def _check_fit(plane: Sequence[int], attributes: dict[str, Any], kernel: Sequence[int]) -> None:
    """Raises Refused where a window is larger than a plane with its pads: ONNX says nothing of those."""
    pads = attributes.get("pads", [0] * (2 * len(plane)))
    for axis, size in enumerate(plane):
        reach = (kernel[axis] - 1) * attributes.get("dilations", [1] * len(plane))[axis] + 1
        if reach > size + pads[axis] + pads[axis + len(plane)]:
            raise Refused("the window is too large")


def _convolution(g: RandomGraph) -> None:
    rank = g.one_of(3, 4, 4, 4, 4, 5)
    x = g.pick(rank)
    _, channels, *plane = g.shapes[x]
    divisors = [count for count in range(1, channels + 1) if channels % count == 0]
    groups = g.one_of(1, 1, channels, g.one_of(*divisors))
    own = g.one_of(1, 1, 2, 3, 4, 8)
    outputs = own * groups if groups > 1 else g.one_of(1, 3, 4, 7, 8, 16, 17, 32)
    kernel = [g.integer(1, 4) for _ in plane]
    bias = [g.weights(outputs)] if g.rng.random() < 0.7 else []
    attributes: dict[str, Any] = {"strides": [g.integer(1, 3) for _ in plane], "group": groups}
    attributes["dilations"] = [g.one_of(1, 1, 2, 3) for _ in plane]
    if g.rng.random() < 0.2 and max(attributes["dilations"]) == 1:
        attributes["auto_pad"] = g.one_of("SAME_UPPER", "SAME_LOWER", "VALID")
    else:
        attributes["pads"] = [g.integer(0, 3) for _ in range(2 * len(plane))]
    _check_fit(plane, attributes, kernel)
    g.node("Conv", x, g.weights(outputs, channels // groups, *kernel), *bias, **attributes)


def _transposed(g: RandomGraph) -> None:
    x = g.pick(4)
    channels = g.shapes[x][1]
    groups = g.one_of(1, 1, channels)
    kernel, strides = [g.integer(1, 4) for _ in range(2)], [g.integer(1, 3) for _ in range(2)]
    attributes: dict[str, Any] = {"group": groups, "strides": strides, "pads": [g.integer(0, 1) for _ in range(4)]}
    if g.rng.random() < 0.3:
        attributes["output_padding"] = [g.integer(0, stride - 1) for stride in strides]
    if g.rng.random() < 0.2:
        attributes["dilations"] = [2, 1]
    g.node("ConvTranspose", x, g.weights(channels, g.one_of(1, 3, 4, 8), *kernel), **attributes)


def _pool(g: RandomGraph) -> None:
    x = g.pick(g.one_of(3, 4, 4, 4, 5))
    rank = len(g.shapes[x]) - 2
    op = g.one_of("MaxPool", "AveragePool")
    kernel = [g.integer(1, 4) for _ in range(rank)]
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": [g.integer(1, 3) for _ in range(rank)]}
    attributes["pads"] = [g.integer(0, size - 1) for size in kernel * 2]
    attributes["ceil_mode"] = g.one_of(0, 0, 1)
    if op == "AveragePool":
        attributes["count_include_pad"] = g.one_of(0, 1)
    if g.rng.random() < 0.2:
        attributes["dilations"] = [g.integer(1, 2) for _ in range(rank)]
    _check_fit(g.shapes[x][2:], attributes, kernel)
    g.node(op, x, **attributes)


def _global_pool(g: RandomGraph) -> None:
    g.node(g.one_of("GlobalAveragePool", "GlobalMaxPool"), g.pick(g.one_of(3, 4, 4)))


def _normalization(g: RandomGraph) -> None:
    op = g.one_of("BatchNormalization", "InstanceNormalization", "LayerNormalization", "LRN")
    if op == "LayerNormalization":
        x = g.pick()
        axis = g.integer(0, len(g.shapes[x]) - 1)
        over = g.shapes[x][axis:]
        bias = [g.weights(*over)] if g.rng.random() < 0.7 else []
        g.node(op, x, g.weights(*over), *bias, axis=axis - g.one_of(0, len(g.shapes[x])), epsilon=1e-3)
        return
    x = g.pick(4) if op == "LRN" else g.pick(g.one_of(3, 4, 4))
    count = g.shapes[x][1]
    if op == "LRN":
        g.node(op, x, size=g.one_of(1, 3, 5), alpha=0.1, beta=0.75)
    elif op == "InstanceNormalization":
        g.node(op, x, g.weights(count), g.weights(count), epsilon=1e-2)
    else:
        spread = g.constant(g.rng.random(count) + 0.5)
        g.node(op, x, g.weights(count), g.weights(count), g.weights(count), spread)


def _resize(g: RandomGraph) -> None:
    x = g.pick(4)
    shape = g.shapes[x]
    mode = g.one_of("nearest", "nearest", "linear", "cubic")
    attributes: dict[str, Any] = {"mode": mode}
    attributes["coordinate_transformation_mode"] = g.one_of(
        "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"
    )
    if mode == "nearest":
        attributes["nearest_mode"] = g.one_of("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    if mode == "cubic":
        attributes["cubic_coeff_a"] = g.one_of(-0.75, -0.5)
    if g.rng.random() < 0.5:
        sizes = [*shape[:2], *(g.integer(1, 2 * size + 2) for size in shape[2:])]
        g.node("Resize", x, "", "", g.integers(*sizes), **attributes)
    else:
        scales = [1.0, 1.0, g.one_of(0.5, 1.0, 2.0, 3.0), g.one_of(0.5, 1.0, 2.0, 1.5)]
        g.node("Resize", x, "", g.constant(np.array(scales, np.float32)), **attributes)


def _unary(g: RandomGraph) -> None:
    op, attributes = g.one_of(
        ("Relu", {}), ("Sigmoid", {}), ("Tanh", {}), ("HardSwish", {}), ("HardSigmoid", {"alpha": 0.3}), ("Elu", {}),
        ("Elu", {"alpha": 0.5}), ("LeakyRelu", {"alpha": 0.1}), ("LeakyRelu", {"alpha": 1.5}), ("Selu", {}),
        ("Softplus", {}), ("Softsign", {}), ("Erf", {}), ("Neg", {}), ("Abs", {}), ("Sin", {}), ("Cos", {}),
        ("Gelu", {}), ("Gelu", {"approximate": "tanh"}), ("Mish", {}), ("ThresholdedRelu", {"alpha": 0.2}),
        ("Sign", {}), ("Identity", {}),
    )  # fmt: skip
    g.node(op, g.pick(), **attributes)


def _bounded_unary(g: RandomGraph) -> None:
    """Of numbers that the operator takes."""
    x = g.pick()
    op = g.one_of("Exp", "Log", "Sqrt", "Reciprocal")
    if op == "Exp":
        g.node(op, g.node("Clip", x, g.constant(np.float32(-4)), g.constant(np.float32(3))))
    else:
        g.node(op, g.node("Add", g.node("Abs", x), g.constant(np.float32(0.5))))


def _clip(g: RandomGraph) -> None:
    low, high = sorted(g.rng.uniform(-1, 1, 2))
    bounds = [g.one_of("", g.constant(np.float32(low))), g.one_of("", g.constant(np.float32(high)))]
    g.node("Clip", g.pick(), *bounds)


def _operand(g: RandomGraph, x: str) -> str:
    """Something that broadcasts with x: a constant, of a rank of its own, or another value."""
    shape = g.shapes[x]
    if g.rng.random() < 0.4:
        others = [name for name in g.floats if g.shapes[name] == shape]
        if others:
            return g.one_of(*others)
    given = [g.one_of(size, 1) for size in shape[g.integer(0, len(shape)) :]]
    if g.rng.random() < 0.1:
        given = [1] * (len(shape) + 1 - len(given)) + given
    return g.constant(np.asarray(g.rng.standard_normal(given)))


def _binary(g: RandomGraph) -> None:
    x = g.pick()
    op = g.one_of("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu", "Pow")
    if op == "Pow":
        g.node(op, g.node("Abs", x), g.constant(np.float32(g.one_of(2, 3, 0.5, 1, 1.5))))
        return
    other = _operand(g, x)
    if op == "Div":
        other = g.node("Add", g.node("Abs", other), g.constant(np.float32(0.5)))
    elif op == "PRelu":
        inner = g.shapes[x][1:]
        g.node(op, x, g.constant(g.rng.random([*inner[:1], *(1 for _ in inner[1:])] or [1])))
        return
    g.node(op, *((x, other) if g.rng.random() < 0.5 or op == "Div" else (other, x)))


def _choice(g: RandomGraph) -> None:
    x = g.pick()
    mask = g.node(g.one_of("Greater", "Less", "GreaterOrEqual", "LessOrEqual"), x, _operand(g, x))
    if g.rng.random() < 0.4:
        g.node("Cast", g.one_of(mask, g.node("Not", mask)), to=1)
    else:
        g.node("Where", mask, _operand(g, x), g.node("Neg", x))


def _softmax(g: RandomGraph) -> None:
    x = g.pick()
    rank = len(g.shapes[x])
    g.node(g.one_of("Softmax", "Softmax", "LogSoftmax"), x, axis=g.integer(-rank, rank - 1))


def _reduction(g: RandomGraph) -> None:
    x = g.pick()
    rank = len(g.shapes[x])
    op = g.one_of("ReduceMean", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceL1",
                  "ReduceSumSquare", "ReduceLogSumExp")  # fmt: skip
    axes = sorted({g.integer(0, rank - 1) for _ in range(g.integer(1, rank))})
    axes = [axis - g.one_of(0, rank) for axis in axes]
    given = [g.integers(*axes)] if g.rng.random() < 0.85 else []
    g.node(op, x, *given, keepdims=g.one_of(0, 1))


def _order(g: RandomGraph) -> None:
    x = g.pick()
    rank = len(g.shapes[x])
    if g.rng.random() < 0.5:
        axis = g.integer(-rank, rank - 1)
        best = g.node(g.one_of("ArgMax", "ArgMin"), x, axis=axis, keepdims=g.one_of(0, 1))
        g.node("Cast", best, to=1)
        return
    axis = g.integer(0, rank - 1)
    count = g.integer(1, g.shapes[x][axis])
    g.node("TopK", x, g.integers(count), axis=axis, largest=g.one_of(0, 1), outputs=2)


def _transpose(g: RandomGraph) -> None:
    x = g.pick()
    if not g.shapes[x]:
        raise Refused("rank")
    g.node("Transpose", x, perm=[int(axis) for axis in g.rng.permutation(len(g.shapes[x]))])


def _reshape(g: RandomGraph) -> None:
    x = g.pick()
    total = math.prod(g.shapes[x])
    sizes: list[int] = []
    rest = total
    for _ in range(g.integer(0, 3)):
        divisors = [count for count in range(1, rest + 1) if rest % count == 0]
        sizes.append(g.one_of(*divisors))
        rest //= sizes[-1]
    sizes.append(g.one_of(rest, -1))
    g.node("Reshape", x, g.integers(*sizes))


def _dimensions(g: RandomGraph) -> None:
    x = g.pick()
    shape = g.shapes[x]
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    if ones and len(shape) > 1 and g.rng.random() < 0.5:
        g.node("Squeeze", x, g.integers(g.one_of(*ones)))
    elif len(shape) < 5:
        g.node("Unsqueeze", x, g.integers(g.integer(0, len(shape))))
    else:
        g.node("Flatten", x, axis=g.integer(0, len(shape)))


def _slice(g: RandomGraph) -> None:
    x = g.pick()
    shape = g.shapes[x]
    axes = sorted({g.integer(0, len(shape) - 1) for _ in range(2)})
    starts, ends, steps = [], [], []
    for axis in axes:
        step = g.one_of(1, 1, 1, 2, 3, -1, -2)
        first, last = sorted((g.integer(0, shape[axis] - 1), g.integer(0, shape[axis])))
        last = max(last, first + 1)
        if step < 0:
            first, last = last - 1, first - 1 - (shape[axis] if first == 0 else 0)
        starts.append(first - g.one_of(0, shape[axis]))
        ends.append(g.one_of(last, last, 1 << 40) if step > 0 else last)
        steps.append(step)
    g.node("Slice", x, *(g.integers(*values) for values in (starts, ends, axes, steps)))


def _concat(g: RandomGraph) -> None:
    x = g.pick()
    shape = list(g.shapes[x])
    axis = g.integer(0, len(shape) - 1)
    parts = [x]
    for _ in range(g.integer(1, 2)):
        own = shape.copy()
        own[axis] = g.integer(1, 9)
        rest = shape[:axis] + shape[axis + 1 :]
        others = [
            name
            for name in g.floats
            if len(g.shapes[name]) == len(shape) and [*g.shapes[name][:axis], *g.shapes[name][axis + 1 :]] == rest
        ]
        parts.append(g.one_of(*others) if g.rng.random() < 0.6 else g.weights(*own))
    parts = [parts[int(index)] for index in g.rng.permutation(len(parts))]
    g.node("Concat", *parts, axis=axis - g.one_of(0, len(shape)))


def _split(g: RandomGraph) -> None:
    x = g.pick()
    shape = g.shapes[x]
    axis = g.integer(0, len(shape) - 1)
    first = g.integer(1, max(shape[axis] - 1, 1))
    g.node("Split", x, g.integers(first, shape[axis] - first), axis=axis, outputs=2)


def _gather(g: RandomGraph) -> None:
    x = g.pick()
    axis = g.integer(0, len(g.shapes[x]) - 1)
    size = g.shapes[x][axis]
    shape = g.one_of((), (1,), (3,), (2, 2))
    g.node("Gather", x, g.constant(np.asarray(g.rng.integers(-size, size, shape), np.int64)), axis=axis)


def _repeat(g: RandomGraph) -> None:
    x = g.pick()
    shape = g.shapes[x]
    if g.rng.random() < 0.5:
        g.node("Tile", x, g.integers(*(g.one_of(1, 1, 2) for _ in shape)))
    else:
        wanted = [g.integer(1, 4) if size == 1 else size for size in shape]
        outer = [g.integer(1, 2)] if len(shape) < 5 and g.rng.random() < 0.3 else []
        g.node("Expand", x, g.integers(*outer, *wanted))


def _pad(g: RandomGraph) -> None:
    x = g.pick()
    shape = g.shapes[x]
    mode = g.one_of("constant", "constant", "reflect", "edge")
    most = [min(2, size - 1) if mode == "reflect" else 2 for size in shape]
    pads = [g.integer(0, count) if index >= len(shape) - 2 else 0 for index, count in enumerate(most)]
    ends = [g.integer(0, count) if index >= len(shape) - 2 else 0 for index, count in enumerate(most)]
    if mode == "constant" and g.rng.random() < 0.2 and max(shape[-1:], default=0) > 2:
        pads[-1] = -1
    fill = [g.constant(np.float32(0.5))] if mode == "constant" and g.rng.random() < 0.5 else []
    g.node("Pad", x, g.integers(*pads, *ends), *fill, mode=mode)


def _depth(g: RandomGraph) -> None:
    x = g.pick(4)
    if g.shapes[x][1] % 4 == 0 and g.rng.random() < 0.6:
        g.node("DepthToSpace", x, blocksize=2, mode=g.one_of("DCR", "CRD"))
    elif g.shapes[x][2] % 2 == g.shapes[x][3] % 2 == 0:
        g.node("SpaceToDepth", x, blocksize=2)
    else:
        raise Refused("sizes")


def _product(g: RandomGraph) -> None:
    x = g.pick()
    shape = g.shapes[x]
    if len(shape) == 2 and g.rng.random() < 0.5:
        turned, other = g.one_of(0, 1), g.one_of(0, 1)
        inner, columns = shape[0] if turned else shape[1], g.integer(1, 20)
        weights = g.weights(columns, inner) if other else g.weights(inner, columns)
        bias = [g.weights(*g.one_of((columns,), (1, columns), (1,)))] if g.rng.random() < 0.7 else []
        scales = {"alpha": g.one_of(1.0, 0.5), "beta": g.one_of(1.0, 2.0)}
        g.node("Gemm", x, weights, *bias, transA=turned, transB=other, **scales)
        return
    if not shape:
        raise Refused("rank")
    inner = shape[-1]
    kind = g.one_of("weights", "batched", "self", "vector", "left")
    if kind == "self" and len(shape) >= 2:
        order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        g.node("MatMul", x, g.node("Transpose", x, perm=order))
    elif kind == "batched" and len(shape) >= 3:
        g.node("MatMul", x, g.weights(*(g.one_of(size, 1) for size in shape[:-2]), inner, g.integer(1, 20)))
    elif kind == "vector":
        g.node("MatMul", x, g.weights(inner))
    elif kind == "left" and len(shape) >= 2:
        g.node("MatMul", g.weights(g.integer(1, 9), shape[-2]), x)
    else:
        g.node("MatMul", x, g.weights(inner, g.integer(1, 20)))


def _running(g: RandomGraph) -> None:
    x = g.pick()
    axis = g.constant(np.array(g.integer(0, len(g.shapes[x]) - 1), np.int64))
    g.node("CumSum", x, axis, exclusive=g.one_of(0, 1), reverse=g.one_of(0, 1))


OPERATORS: tuple[Callable[[RandomGraph], None], ...] = (
    *([_convolution] * 4), _transposed, _pool, _pool, _global_pool, _normalization, _normalization, _resize, _resize,
    *([_unary] * 4), _bounded_unary, _clip, *([_binary] * 4), _choice, _softmax, _reduction, _reduction, _order,
    _transpose, _transpose, _reshape, _reshape, _dimensions, _slice, _slice, _concat, _concat, _split, _gather, _repeat,
    _pad, _pad, _depth, _product, _product, _running,
)  # fmt: skip


def drawn(seed: int) -> tuple[onnx.ModelProto, NDArray[Any]]:
    """A model, and its input."""
    graph = RandomGraph(seed)
    graph.grow(graph.integer(2, 7), OPERATORS)
    return graph.model(), graph.rng.standard_normal(graph.shapes["x"]).astype(np.float32)
