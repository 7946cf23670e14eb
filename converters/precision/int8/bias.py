"""Take the mean error that rounding makes out of the bias.

Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2: the mean of
W x - W' x' is W times the mean of x less W' times the mean of x'. The means here are measured, of the activations x and
of what they are in int8, so that no run of the quantized graph is needed. Small numbers are lost in int8 for good, and
large ones are clipped: that shifts the mean of a channel as much as rounded weights do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from enginesmith.compat.graphs import initializer
from enginesmith.compat.values import argument, attribute, constant, label
from enginesmith.converters.core.recipe import Method
from enginesmith.converters.precision.int8.calibration import Calibration
from enginesmith.converters.precision.int8.weights import along, array_of, factors, rounded, scales

Doubles = NDArray[np.float64]
NEGLIGIBLE = float(np.finfo(np.float16).tiny)
"""A correction that float16 has no digits for is lost beside an int8 step, and as a bias of its own would need float32."""


def correct_bias(
    nodes: Iterable[ir.Node], calibration: Calibration, method: Method, limits: Mapping[ir.Value, float]
) -> list[ir.Node]:
    """Change the biases of products that are not yet quantized, in place. Returns those that were changed.

    `limits` are the magnitudes that activations are clipped to. Where one is not what `method` found for the tensor,
    since others share its scale, the error of the weights alone is taken out. A MatMul has no bias, and one that is
    computed stays as it is.
    """
    return [node for node in nodes if _correct(node, calibration, method, limits)]


def _correct(node: ir.Node, calibration: Calibration, method: Method, limits: Mapping[ir.Value, float]) -> bool:
    found = factors(node)
    if found is None or found.weights != 1 or node.op_type == "MatMul":
        return False
    source = node.inputs[found.data]
    assert source is not None
    name = source.name or ""
    means = calibration.means.get(name)
    if means is None:
        return False
    weights = array_of(node.inputs[1])
    scale = scales(weights, found.axis)
    integers = rounded(weights, scale, found.axis) * along(scale, weights.ndim, found.axis)
    shift = mean_output(node, (weights - integers).astype(np.float64), means)
    error = calibration.mean_error(name, method)
    if error is not None and limits[source] == calibration.threshold(name, method):
        raised = mean_output(node, integers.astype(np.float64), error)
        shift = shift - raised if shift is not None and raised is not None else shift
    given = argument(node, 2)
    bias = np.zeros(1, np.float32) if given is None else constant(given)
    if bias is None or shift is None:
        return False
    if float(np.abs(shift).max(initial=0)) < NEGLIGIBLE:
        return False
    changed = bias + shift.astype(np.float32)
    assert isinstance(node.graph, ir.Graph)
    value = initializer(node.graph, f"{label(node)}/corrected_bias", changed)
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(2, value)
    return True


def mean_output(node: ir.Node, weights: Doubles, means: Doubles) -> Doubles | None:
    """What the product of `weights` with an input makes on average, by output channel, from the input's mean by channel;
    None where the means are of another axis.

    What padding changes at the borders is left out.
    """
    if node.op_type == "Gemm":
        matrix = weights.T if attribute(node, "transB", 0) else weights
        beta = attribute(node, "beta", 1.0)
        if matrix.shape[0] != means.size or not beta:
            return None
        return np.asarray(attribute(node, "alpha", 1.0) / beta * (means @ matrix))
    group = attribute(node, "group", 1)
    taps = weights.sum(axis=tuple(range(2, weights.ndim)))
    if node.op_type == "Conv":
        per_group = taps.reshape(group, -1, taps.shape[1])  # [group, out, in]
        if means.size != group * taps.shape[1]:
            return None
        return np.asarray(np.einsum("goi,gi->go", per_group, means.reshape(group, -1)).reshape(-1))
    if means.size != taps.shape[0]:
        return None
    # a ConvTranspose spreads its taps over as many pixels as its strides make of one
    spread = math.prod(attribute(node, "strides", [1]))
    per_group = taps.reshape(group, -1, taps.shape[1])  # [group, in, out]
    return np.asarray(np.einsum("gio,gi->go", per_group, means.reshape(group, -1)).reshape(-1) / spread)
