"""What is known about operators in 16 bits: which ones gain, which ones lose, and where a graph computes positions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import onnx_ir as ir

from enginesmith.compat import support
from enginesmith.compat.target import EVERY
from enginesmith.compat.values import attribute, constant, dtype, shape
from enginesmith.converters.graphs.structure import is_constant, is_fractional, is_standard, ordered, subgraphs


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


WEIGHTED = _names("Conv ConvTranspose Gemm LSTM GRU RNN")
"""Operators that a GPU does in half the time, or less, in 16 bits; with MatMul, Einsum and Attention."""
PRODUCTS = WEIGHTED | _names("MatMul Einsum Attention")

SENSITIVE: Mapping[str, str] = {
    **dict.fromkeys(
        _names("Softmax LogSoftmax Softplus Exp Log Pow ReduceLogSum ReduceLogSumExp Reciprocal Hardmax"),
        "exponentials and powers lose too much in 16 bits",
    ),
    **dict.fromkeys(
        _names(
            "LayerNormalization GroupNormalization InstanceNormalization RMSNormalization LpNormalization LRN "
            "MeanVarianceNormalization ReduceSumSquare ReduceL1 ReduceL2 ReduceProd LpPool GlobalLpPool CumSum"
        ),
        "its sums overflow or lose digits in 16 bits",
    ),
    **dict.fromkeys(
        _names("GridSample DeformConv RoiAlign MaxRoiPool AffineGrid NonMaxSuppression DFT STFT"),
        "it computes positions",
    ),
    "DynamicQuantizeLinear": "its scales are float32",
}
"""Operators that stay in float32, and why."""

SUMS = _names("ReduceSum ReduceMean GlobalAveragePool AveragePool")
LONG_SUM = 1024
"""Terms of a sum from which it stays in float32 where the terms' size is not known."""

CHOOSING: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("TopK", "ArgMax", "ArgMin", "NonZero", "Unique", "Floor", "Ceil", "Round"), (0,)),
    **dict.fromkeys(("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Mod", "NonMaxSuppression"), (0, 1)),
    "Range": (0, 1, 2),
    "GridSample": (1,),
    "RoiAlign": (1,),
    "MaxRoiPool": (1,),
}
"""Operators that choose elements, and the inputs that they choose by: half a pixel, or a tie, is another choice.
Rounding counts, since indices are made by it."""

INDIFFERENT = _names("Cast Shape Size IsNaN IsInf")
"""Operators that take what they are given: their output's type does not depend on their input's."""

WIDE = "it is to stay in float32"
CHOICE = "what it computes chooses elements or positions"
MASKS = "its factors are masks"
TAIL = "after the last product: it only shapes the result"


STORED = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
"""Element types of a table of weights, before it is lowered and after."""


@cache
def refused(dtype: str) -> Mapping[str, str]:
    """Operators that a backend takes in float32 and not in `dtype`, to that backend: the graph is for all of them alike."""
    found = {}
    for backend in EVERY:
        known = support.table(backend)
        for op in known.operators:
            entry = known.entry(op, known.nearest(""))
            if entry is not None and dtype not in (types := entry[1].types or (dtype,)) and "float32" in types:
                found[op] = backend
    return found


def is_product(node: ir.Node) -> bool:
    """Is it one of the operators for which 16 bits are asked: a product, or a table of weights that is looked up?"""
    if not is_standard(node):
        return False
    return node.op_type in PRODUCTS or (
        node.op_type == "Gather" and dtype(node.inputs[0]) in STORED and is_constant(node.inputs[0])
    )


def has_weights(node: ir.Node) -> bool:
    """Is it a product with weights, so that what comes out is a feature and no longer a position? A table may hold
    positions: anchors.
    """
    return (
        is_product(node)
        and node.op_type != "Gather"
        and (node.op_type in WEIGHTED or any(is_constant(value) for value in node.inputs))
    )


def terms(node: ir.Node) -> float:
    """How many elements are summed into one; infinite where that is not known."""
    sizes = shape(node.inputs[0])
    if sizes is None:
        return math.inf
    if node.op_type == "GlobalAveragePool":
        summed = sizes[2:]
    elif node.op_type == "AveragePool":
        summed = attribute(node, "kernel_shape", [])
    else:
        axes = attribute(node, "axes")
        if len(node.inputs) > 1 and node.inputs[1] is not None:
            given = constant(node.inputs[1])
            if given is None:
                return math.inf
            axes = [int(axis) for axis in given]
        summed = [sizes[axis] for axis in axes] if axes else sizes
    known = [size for size in summed if size is not None]
    return float(math.prod(known)) if len(known) == len(summed) else math.inf


def choosers(model: ir.Model) -> set[ir.Node]:
    """Nodes whose results decide, through no product with weights, which elements are chosen: decoding of boxes,
    overlaps, scores before a selection, indices.
    """
    waiting: list[ir.Value] = []
    sinks: set[ir.Node] = set()
    links = _links(model)
    for node in ordered(model.graph):
        indices = CHOOSING.get(node.op_type, ()) if is_standard(node) else ()
        if node.op_type == "Cast" and not is_fractional(node.outputs[0]):
            indices = (0,)
        chosen = [node.inputs[i] for i in indices if i < len(node.inputs)]
        if any(is_fractional(value) for value in chosen):
            waiting += [value for value in chosen if value is not None and is_fractional(value)]
            if node.op_type not in INDIFFERENT:
                sinks.add(node)
    found = set(sinks)
    seen: set[ir.Value] = set()
    undecided: set[ir.Node] = set()
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        waiting += links.get(value, ())
        maker = value.producer()
        if maker is None or has_weights(maker) or any(True for _ in subgraphs(maker)):
            pass
        elif is_product(maker):
            undecided.add(maker)
        else:
            found.add(maker)
            waiting += [v for v in maker.inputs if v is not None and is_fractional(v)]
        if not waiting:
            # A product of two activations, or a table, belongs to a choice when nothing else reads it: overlaps and
            # anchors, but no attention and no embeddings.
            for product in list(undecided):
                if all(use.node in found for use in product.outputs[0].uses()):
                    undecided.remove(product)
                    found.add(product)
                    waiting += [v for v in product.inputs if v is not None and is_fractional(v)]
    return found


def _links(model: ir.Model) -> dict[ir.Value, list[ir.Value]]:
    """Where a value of a subgraph's boundary comes from: an If's output from its branches, a Loop's state from what
    goes in and from what its body makes of it.
    """
    links: dict[ir.Value, list[ir.Value]] = {}
    for node in ordered(model.graph):
        for inner in subgraphs(node):
            if node.op_type == "If":
                for out, made in zip(node.outputs, inner.outputs, strict=True):
                    links.setdefault(out, []).append(made)
            elif node.op_type == "Loop":
                for out, made in zip(node.outputs, inner.outputs[1:], strict=True):
                    links.setdefault(out, []).append(made)
                for state, given, made in zip(inner.inputs[2:], node.inputs[2:], inner.outputs[1:], strict=False):
                    links.setdefault(state, []).extend(value for value in (given, made) if value is not None)
    return {value: [v for v in before if is_fractional(v)] for value, before in links.items()}


def products(model: ir.Model) -> set[ir.Node]:
    """The products that multiply features: what comes from an input, or from a table of weights, by arithmetic.

    What comes from a comparison is a mask, and a product of masks is logic.
    """
    links = _links(model)
    features: set[ir.Value] = set(model.graph.inputs)
    found: set[ir.Node] = set()
    for node in ordered(model.graph):
        if any(True for _ in subgraphs(node)):
            features.update(value for value in node.outputs if any(made in features for made in links.get(value, ())))
            continue
        fed = is_product(node) and node.op_type == "Gather"
        fed |= any(value in features or _carried(value, links, features) for value in node.inputs)
        if fed:
            features.update(value for value in node.outputs if value.dtype != ir.DataType.BOOL)
            if is_product(node):
                found.add(node)
    return found


def _carried(value: ir.Value | None, links: Mapping[ir.Value, list[ir.Value]], features: set[ir.Value]) -> bool:
    """Does a Loop's state come from a feature?"""
    return value is not None and value.is_graph_input() and any(given in features for given in links.get(value, ()))


def before_products(model: ir.Model, owner: Mapping[ir.Graph, ir.Node], products: set[ir.Node]) -> set[ir.Node]:
    """Nodes from which a product can be reached: all others only shape the result."""
    nodes = list(ordered(model.graph))
    holding: set[ir.Node] = set()
    for node in nodes:
        if any(inner in holding or inner in products for sub in subgraphs(node) for inner in sub):
            holding.add(node)
    leading: set[ir.Node] = set()
    for node in reversed(nodes):
        around = owner.get(node.graph) if isinstance(node.graph, ir.Graph) else None
        if (
            node in products
            or node in holding
            or (around is not None and (around in leading or around in holding))
            or any(user in leading for value in node.outputs for user in value.consumers())
        ):
            leading.add(node)
    return leading
