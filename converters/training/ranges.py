"""From the layers of a trained torch model to the tensors of its ONNX graph: which range was each of them trained with?

Names don't survive exporters and simplifiers, but a layer's int8 codes do: folding BatchNorm scales whole channels,
which the scale of a channel takes up, and a matrix that is transposed has them in another order.
"""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir

from enginesmith.compat.values import Array
from enginesmith.converters.precision.int8.placement import candidates, data_port
from enginesmith.converters.precision.int8.weights import array_of, factors, rounded, scales
from enginesmith.converters.training.record import FineTuning


def fingerprint(weights: Array, axis: int) -> str:
    """Of the magnitudes of each output channel's int8 codes, sorted: BatchNorm may turn a channel's sign, and whoever
    puts the inputs into another order does so with the weights, as the static detectors do.
    """
    codes = np.abs(rounded(weights, scales(weights, axis), axis))
    channels = np.moveaxis(codes, axis, 0).reshape(codes.shape[axis], -1)
    return hashlib.sha256(repr(channels.shape).encode() + np.sort(channels, axis=1).tobytes()).hexdigest()


def trained_ranges(model: ir.Model, record: FineTuning) -> tuple[dict[str, float], list[str]]:
    """Value name to the magnitude that int8's largest code stood for in training, for the inputs of the products whose
    layers are found in a prepared model: where several read one value, the largest. And the layers that are not.
    """
    by_weights: dict[str, float] = {}
    for layer, peak in record.ranges.items():
        mark = record.fingerprints[layer]
        by_weights[mark] = max(peak, by_weights.get(mark, 0.0))
    found: dict[str, float] = {}
    seen: set[str] = set()
    for node, reason in candidates(model).items():
        parts = factors(node) if not reason else None
        if parts is None:
            continue
        mark = fingerprint(array_of(node.inputs[parts.weights]), parts.axis)
        if mark in by_weights:
            seen.add(mark)
            name = data_port(node).value.name or ""
            found[name] = max(by_weights[mark], found.get(name, 0.0))
    return found, [layer for layer in record.ranges if record.fingerprints[layer] not in seen]
