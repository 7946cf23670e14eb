"""The weights of a product in int8: one scale for each output channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from enginesmith.compat.values import attribute, constant_tensor, rank
from enginesmith.converters.graphs.structure import is_constant
from enginesmith.converters.precision.int8.thresholds import LARGEST

Floats = NDArray[np.float32]
OPERATORS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
"""Products that TensorRT has in int8."""


@dataclass(frozen=True)
class Factors:
    """The inputs of a product by index: its `weights`, and the `data` that they are multiplied with."""

    data: int
    weights: int
    axis: int
    """Of the weights: the output channels, each of which has a scale."""
    channels: int
    """Of the data: the input channels, as an axis; may be negative."""


def factors(node: ir.Node) -> Factors | None:
    """None where no input, or both, are constant weights, or where these are a vector."""
    if node.op_type in ("Conv", "ConvTranspose"):
        found = Factors(0, 1, _convolution_axis(node), 1)
    else:
        constants = [index for index in (0, 1) if is_constant(node.inputs[index])]
        if len(constants) != 1:
            return None
        weights = constants[0]
        found = Factors(1 - weights, weights, *_matrix_axes(node, weights))
    known = is_constant(node.inputs[found.weights]) and not is_constant(node.inputs[found.data])
    return found if known and (rank(node.inputs[found.weights]) or 0) >= 2 else None


def _convolution_axis(node: ir.Node) -> int:
    """A ConvTranspose's weights are [in, out / group, ...]: where each group makes one channel, that is the first axis."""
    if node.op_type == "Conv":
        return 0
    tensor = constant_tensor(node.inputs[1])
    lone = tensor is not None and len(tensor.shape) > 1 and tensor.shape[1] == 1
    return 0 if lone and attribute(node, "group", 1) > 1 else 1


def _matrix_axes(node: ir.Node, weights: int) -> tuple[int, int]:
    """The axis of a matrix that isn't summed over, and the one of the data that is."""
    size = rank(node.inputs[weights]) or 0
    turned = [bool(attribute(node, name, 0)) for name in ("transA", "transB")]
    if weights == 1:
        return (size - 2 if turned[1] else size - 1), -2 if turned[0] else -1
    return (size - 1 if turned[0] else size - 2), -1 if turned[1] else -2


def array_of(value: ir.Value | None) -> Floats:
    """The content of constant weights."""
    tensor = constant_tensor(value)
    assert tensor is not None
    return np.asarray(tensor.numpy(), np.float32)


def scales(weights: Floats, axis: int) -> Floats:
    """The largest magnitude of each channel over 127, of shape [channels]. A channel of zeros has scale 1."""
    others = tuple(index for index in range(weights.ndim) if index != axis)
    peaks = np.abs(weights).max(axis=others, initial=0)
    found = np.asarray(peaks, np.float32) / np.float32(LARGEST)
    return np.where(found < np.finfo(np.float32).tiny, np.float32(1), found).astype(np.float32)


def rounded(weights: Floats, scale: Floats, axis: int) -> NDArray[np.int8]:
    """As QuantizeLinear rounds: to the nearest, halves to even."""
    return np.clip(np.round(weights / along(scale, weights.ndim, axis)), -LARGEST, LARGEST).astype(np.int8)


def along(channels: Floats, dimensions: int, axis: int) -> Floats:
    """One number for each channel, to be multiplied with an array of so many dimensions."""
    return channels.reshape([-1 if index == axis else 1 for index in range(dimensions)])
