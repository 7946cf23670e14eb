"""Constants propagated, and arithmetic on sizes folded where the sizes are known.

A value's content is known when every node that it is computed from is. A vector of sizes may be known in part: of
`Shape(x)` for x of 1 x 3 x height x width the first two elements are constants, and a Gather of element 1 is folded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.operators import QUANTIZING, RANDOM
from enginesmith.compat.reference import evaluate
from enginesmith.compat.repairs.repair import graph_repair
from enginesmith.compat.target import Target
from enginesmith.compat.values import DEFAULT_DOMAINS, Array, attribute, constant, shape, used
from enginesmith.compat.walk import graphs

MAX_BYTES = 1 << 24
"""Results above this stay computed at run time: they would make the file large for little."""
CHANCE = (*RANDOM, "Dropout")
"""Operators that may give another result in every run."""
KEPT = {"Constant", *QUANTIZING, *CHANCE, "If", "Loop", "Scan", "SequenceMap"}
"""Never folded: a quantized weight must stay quantized, and control flow has repairs of its own."""

GROWING = {
    *("ConstantOfShape", "Expand", "Tile", "Range", "OneHot", "Pad", "Resize", "Upsample", "CenterCropPad", "Col2Im"),
    *(
        "AffineGrid",
        "HannWindow",
        "HammingWindow",
        "BlackmanWindow",
        "MelWeightMatrix",
        "DFT",
        "STFT",
        "Einsum",
        "EyeLike",
    ),
    *("Concat", "ConvTranspose", "MaxUnpool", "RoiAlign", "GridSample", "MatMul", "Gather"),
}
"""Operators whose results can be larger than all that they are computed from."""

Partial = list[Any]
"""A vector or scalar of integers as a list, None for an element that is not known."""


@graph_repair(
    "fold",
    tolerance=1e-6,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
flatten (float[2, 3, 4] x) => (float[2, 12] y) {
  size = Shape (x)
  first = Gather (size, zero)
  shape = Concat <axis = 0> (first, rest)
  y = Reshape (x, shape)
}
""".replace("{\n  size", "<int64[1] zero = {0}, int64[1] rest = {-1}> {\n  size"),
)
def fold(model: ir.Model, target: Target) -> int:
    """Nodes that only depend on constants and on known sizes are computed once, and become initializers."""
    changes = 0
    for graph in graphs(model):
        known: dict[ir.Value, Partial] = {}
        for node in list(graph):
            results = _results(node, known)
            if results is None:
                continue
            for value, array in results:
                _freeze(graph, value, array)
            graph.remove(node, safe=True)
            changes += 1
    return changes


def _results(node: ir.Node, known: dict[ir.Value, Partial]) -> list[tuple[ir.Value, Array]] | None:
    """The node's outputs with their content, None when it can't be folded."""
    if node.domain not in DEFAULT_DOMAINS or node.op_type in KEPT:
        return None
    outputs = [value for index, value in enumerate(node.outputs) if used(node, index)]
    if any(value.is_graph_output() for value in outputs) or not outputs:
        return None
    arguments = [None if value is None else constant(value) for value in node.inputs]
    if all(value is None or array is not None for value, array in zip(node.inputs, arguments, strict=True)):
        if not _small(node):
            return None
        computed = evaluate(node, arguments)
        if computed is None:
            return None
        contents = [(value, computed[value.index() or 0]) for value in outputs]
        found = [(value, array) for value, array in contents if isinstance(array, np.ndarray)]
        return found if len(found) == len(outputs) and all(array.nbytes <= MAX_BYTES for _, array in found) else None
    partial = _partial(node, known)
    if partial is None:
        return None
    known[node.outputs[0]] = partial
    flat = partial
    if any(element is None for element in flat):
        return None
    sizes = shape(node.outputs[0])
    if sizes is None or len(sizes) > 1 or node.outputs[0].dtype is None:
        return None
    array = np.array(flat if sizes else flat[0], dtype=node.outputs[0].dtype.numpy())
    return [(node.outputs[0], array)]


def _small(node: ir.Node) -> bool:
    """Will the outputs be small? Their inferred shapes say so before anything is computed; where they don't, an operator
    that makes much of little is left alone.
    """
    for value in node.outputs:
        sizes = shape(value)
        if sizes is not None and all(size is not None for size in sizes):
            count = math.prod(size or 0 for size in sizes)
            if count * (value.dtype.itemsize if value.dtype else 4) > MAX_BYTES:
                return False
        elif node.op_type in GROWING:
            return False
    return True


def _freeze(graph: ir.Graph, value: ir.Value, array: Array) -> None:
    """Make an initializer of a node's output, under its name."""
    name = value.name
    value.name = f"{name}/folded"
    new = ir.Value(name=name, shape=ir.Shape(array.shape), type=value.type, const_value=ir.tensor(array, name=name))
    new.dtype = ir.tensor(array).dtype
    value.replace_all_uses_with(new)
    graph.register_initializer(new)


def _partial(node: ir.Node, known: dict[ir.Value, Partial]) -> Partial | None:
    """What is known of a small integer result; None if the operator tells nothing."""
    rule = _PARTIAL.get(node.op_type)
    if rule is None:
        return None
    arguments = [_elements(value, known) for value in node.inputs]
    try:
        return rule(node, arguments)
    except (TypeError, IndexError, ValueError):
        # An unknown element where the rule needs a number.
        return None


def _elements(value: ir.Value | None, known: dict[ir.Value, Partial]) -> Partial | None:
    if value is None:
        return None
    if value in known:
        return known[value]
    array = constant(value, 1 << 12)
    return None if array is None or array.dtype.kind not in "iu" or array.ndim > 1 else array.reshape(-1).tolist()


def _shape_of(node: ir.Node, arguments: list[Partial | None]) -> Partial | None:
    sizes = shape(node.inputs[0])
    if sizes is None:
        return None
    return sizes[slice(attribute(node, "start", 0), attribute(node, "end"))]


def _size_of(node: ir.Node, arguments: list[Partial | None]) -> Partial | None:
    sizes = shape(node.inputs[0])
    if sizes is None or None in sizes:
        return None
    return [int(np.prod([size or 0 for size in sizes], dtype=np.int64))]


def _gather(node: ir.Node, arguments: list[Partial | None]) -> Partial | None:
    data, indices = arguments
    return None if data is None or indices is None else [data[index] for index in indices]


def _slice(node: ir.Node, arguments: list[Partial | None]) -> Partial | None:
    data, starts, ends = arguments[:3]
    if data is None or starts is None or ends is None or len(starts) != 1:
        return None
    steps = arguments[4] if len(arguments) > 4 and arguments[4] is not None else [1]
    return data[starts[0] : ends[0] : steps[0]] if steps[0] > 0 else None


def _concat(node: ir.Node, arguments: list[Partial | None]) -> Partial | None:
    parts: Partial = []
    for value, part in zip(node.inputs, arguments, strict=True):
        if part is None:
            sizes = shape(value)
            if sizes is None or len(sizes) != 1 or sizes[0] is None:
                return None
            part = [None] * sizes[0]
        parts += part
    return parts


def _same(node: ir.Node, arguments: list[Partial | None]) -> Partial | None:
    """Of Identity, Squeeze, Unsqueeze and a Cast between integers: the elements stay."""
    kind = node.outputs[0].dtype
    return arguments[0] if kind in (ir.DataType.INT64, ir.DataType.INT32) else None


def _elementwise(operation: Callable[[int, int], int]) -> Callable[[ir.Node, list[Partial | None]], Partial | None]:
    def rule(node: ir.Node, arguments: list[Partial | None]) -> Partial | None:
        left, right = arguments
        if left is None or right is None or node.outputs[0].dtype not in (ir.DataType.INT64, ir.DataType.INT32):
            return None
        if len(left) != len(right) and 1 not in (len(left), len(right)):
            return None
        count = max(len(left), len(right))
        pairs = zip(left * (count // len(left)), right * (count // len(right)), strict=True)
        return [None if a is None or b is None else operation(a, b) for a, b in pairs]

    return rule


def _quotient(a: int, b: int) -> int:
    """ONNX divides integers as C does: towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else 0


_PARTIAL: dict[str, Callable[[ir.Node, list[Partial | None]], Partial | None]] = {
    "Shape": _shape_of,
    "Size": _size_of,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Identity": _same,
    "Cast": _same,
    "Squeeze": _same,
    "Unsqueeze": _same,
    "Add": _elementwise(lambda a, b: a + b),
    "Sub": _elementwise(lambda a, b: a - b),
    "Mul": _elementwise(lambda a, b: a * b),
    "Div": _elementwise(_quotient),
    "Min": _elementwise(min),
    "Max": _elementwise(max),
}
