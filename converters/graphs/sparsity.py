"""2:4 sparsity in an ONNX graph: the products whose weights have it, through Q/DQ, Casts and Transposes too."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir

from enginesmith.compat.values import Array, argument, attribute, constant_tensor, label
from enginesmith.converters.graphs.structure import is_standard, ordered

GROUP, ZEROS = 4, 2
PASSED = frozenset(("Cast", "DequantizeLinear", "Identity", "QuantizeLinear"))
"""Operators behind which a zero is still zero: all zero points of int8 weights are 0."""


@dataclass
class Sparsity:
    """Products with constant weights by the node's name."""

    sparse: list[str] = field(default_factory=list)
    dense: list[str] = field(default_factory=list)

    @property
    def told(self) -> str:
        count = len(self.sparse) + len(self.dense)
        return f"{len(self.sparse)} of {count} products with weights are 2:4 sparse in the graph"


def sparsity(onnx_file: Path) -> Sparsity:
    """Reads the weights of a file, subgraphs included."""
    found = Sparsity()
    for node in ordered(ir.load(onnx_file).graph):
        pair = _weights(node)
        if pair is not None:
            (found.sparse if is_sparse(*pair) else found.dense).append(label(node))
    return found


def is_sparse(weights: Array, axis: int) -> bool:
    """Are two of every four next to each other along the axis zero, and not all of them?"""
    if weights.shape[axis] % GROUP or not weights.any():
        return False
    groups = np.moveaxis(weights, axis, -1).reshape(-1, GROUP)
    return bool((np.count_nonzero(groups, axis=1) <= GROUP - ZEROS).all())


def _weights(node: ir.Node) -> tuple[Array, int] | None:
    """Of a product with constant weights: these, and the axis that is summed over."""
    if not is_standard(node):
        return None
    if node.op_type == "Conv":
        weights = _content(node.inputs[1])
        return None if weights is None else (weights, 1)
    if node.op_type not in ("Gemm", "MatMul"):
        return None
    for index, turned in ((1, "transB"), (0, "transA")):
        weights = _content(argument(node, index))
        if weights is not None and weights.ndim >= 2:
            last = (index == 0) != bool(attribute(node, turned, 0))
            return weights, weights.ndim - (1 if last else 2)
    return None


def _content(value: ir.Value | None) -> Array | None:
    """A constant, or what is made of one without moving zeros elsewhere than a Transpose does."""
    tensor = constant_tensor(value)
    if tensor is not None:
        return tensor.numpy()
    node = value.producer() if value is not None else None
    if node is None or not is_standard(node):
        return None
    if node.op_type in PASSED:
        return _content(node.inputs[0])
    if node.op_type == "Transpose":
        inner = _content(node.inputs[0])
        return None if inner is None else inner.transpose(attribute(node, "perm"))
    return None
