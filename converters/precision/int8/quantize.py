"""A float32 graph to one with Q/DQ nodes: symmetric int8, zero points of 0, no quantized bias."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from enginesmith.compat.graphs import initializer
from enginesmith.compat.values import Array, constant, label
from enginesmith.converters.core.records import Kept
from enginesmith.converters.precision import rules
from enginesmith.converters.precision.int8 import weights
from enginesmith.converters.precision.int8.bias import correct_bias
from enginesmith.converters.precision.int8.calibration import Calibration
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.int8.placement import (
    Port,
    candidates,
    data_port,
    scale_groups,
    skip_ports,
)
from enginesmith.converters.precision.int8.thresholds import LARGEST
from enginesmith.converters.precision.keep import kept

ZERO = "int8/zero"
NOT_CHOSEN = "not chosen for int8"


@dataclass(frozen=True)
class Quantized:
    nodes: list[str]
    """By name."""
    kept: list[Kept]
    """The other products, and why they were left."""


def quantize(
    model: ir.Model,
    chosen: Collection[str] | None,
    calibration: Calibration | None,
    options: Int8Options,
) -> Quantized:
    """Insert Q/DQ nodes into a prepared model, in place.

    `chosen` are names of products, all where None. `calibration` is one of this very graph; None is for
    `options.weight_only`. Raises UserError where a pattern of `options.keep` matches nothing.
    """
    if options.weight_only:
        calibration = None
    elif calibration is None:
        raise ValueError("activations need a calibration")
    reasons = _reasons(model, chosen, calibration, options.keep)
    nodes = [node for node, reason in reasons.items() if not reason]
    products = rules.products(model)
    kept = [
        Kept(node=label(node), op=node.op_type, reason=reason, product=node in products)
        for node, reason in reasons.items()
        if reason
    ]
    writer = _Writer(model.graph)
    if calibration is not None:
        ports = [data_port(node) for node in nodes]
        ports += [port for port in skip_ports(model, nodes) if not _without_scale(port.value, calibration)]
        limits: dict[ir.Value, float] = {}
        for group in scale_groups(model.graph, dict.fromkeys(port.value for port in ports)):
            largest = max(calibration.threshold(value.name or "", options.method) for value in group)
            limits |= dict.fromkeys(group, largest)
        if options.correct_bias:
            correct_bias(nodes, calibration, options.method, limits)
        for value, limit in limits.items():
            writer.activation(value, limit, [port for port in ports if port.value is value])
    for node in nodes:
        writer.weights(node)
    common.RemoveUnusedNodesPass()(model)
    return Quantized([label(node) for node in nodes], kept)


def _reasons(
    model: ir.Model, chosen: Collection[str] | None, calibration: Calibration | None, keep: Iterable[str]
) -> dict[ir.Node, str]:
    """Every product to why it is not quantized; empty where it is."""
    found = candidates(model)
    held = kept(model, keep, found, [node for node, reason in found.items() if not reason], "product")
    reasons = {}
    for node, reason in found.items():
        reason = reason or held.get(node, "")
        if not reason and chosen is not None and node.name not in chosen:
            reason = NOT_CHOSEN
        if not reason and calibration is not None:
            reason = _without_scale(data_port(node).value, calibration)
        reasons[node] = reason
    return reasons


def _without_scale(value: ir.Value, calibration: Calibration) -> str:
    peak = calibration.peaks.get(value.name or "")
    if peak is None or value.name not in calibration.histograms:
        return f"the range of {value.name} is not known: no sample reached it"
    if peak < np.finfo(np.float32).tiny * LARGEST:
        return f"{value.name} was 0 in every sample: it has no scale"
    return ""


def _clipped_anyway(value: ir.Value, limit: float, ports: Collection[Port]) -> ir.Value:
    """What comes before a Min whose bounds int8 doesn't reach, as `equalize` makes them: the Min then changes nothing."""
    node = value.producer()
    if node is None or node.op_type != "Min" or len(node.inputs) != 2 or len(list(value.uses())) != len(ports):
        return value
    bounds, source = constant(node.inputs[1]), node.inputs[0]
    needless = bounds is not None and bool((bounds >= limit).all()) and not value.is_graph_output()
    return source if needless and source is not None else value


class _Writer:
    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.dequantized: dict[tuple[ir.Value, int], ir.Value] = {}
        """Weights, and their axis, to what takes their place."""

    def activation(self, value: ir.Value, limit: float, ports: Collection[Port]) -> None:
        """One pair of Q and DQ behind the value, for all that read it in int8."""
        source = _clipped_anyway(value, limit, ports)
        scale = self._constant(f"{value.name}/scale", np.array(limit / LARGEST, np.float32))
        zero = self._constant(ZERO, np.array(0, np.int8))
        quantized = _node("QuantizeLinear", [source, scale, zero], f"{value.name}/int8", ir.DataType.INT8, value.shape)
        back = _node(
            "DequantizeLinear",
            [*quantized.outputs, scale, zero],
            f"{value.name}/dequantized",
            ir.DataType.FLOAT,
            value.shape,
        )
        producer = value.producer()
        if producer is not None:
            self.graph.insert_after(producer, [quantized, back])
        else:
            self.graph.insert_before(self.graph[0], [quantized, back])
        for port in ports:
            port.node.replace_input_with(port.index, back.outputs[0])

    def weights(self, node: ir.Node) -> None:
        found = weights.factors(node)
        assert found is not None
        value = node.inputs[found.weights]
        assert value is not None
        if (value, found.axis) not in self.dequantized:
            self.dequantized[value, found.axis] = self._dequantized(value, found.axis)
        node.replace_input_with(found.weights, self.dequantized[value, found.axis])

    def _dequantized(self, value: ir.Value, axis: int) -> ir.Value:
        array = weights.array_of(value)
        scale = weights.scales(array, axis)
        base = f"{value.name}/axis{axis}"
        inputs = [
            self._constant(f"{base}/int8", weights.rounded(array, scale, axis)),
            self._constant(f"{base}/scale", scale),
            self._constant(f"{base}/zero", np.zeros(scale.shape, np.int8)),
        ]
        made = _node(
            "DequantizeLinear", inputs, f"{base}/dequantized", ir.DataType.FLOAT, ir.Shape(array.shape), axis=axis
        )
        self.graph.insert_before(self.graph[0], made)
        return made.outputs[0]

    def _constant(self, name: str, array: Array) -> ir.Value:
        return initializer(self.graph, name, array)


def _node(
    op: str, inputs: Iterable[ir.Value], name: str, dtype: ir.DataType, shape: ir.Shape | None, **attributes: int
) -> ir.Node:
    out = ir.Value(name=name, type=ir.TensorType(dtype), shape=shape)
    return ir.node(op, list(inputs), attributes, outputs=[out], name=name)
