"""Which nodes of a graph compute in 16 bits."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from enginesmith.compat.graphs import opset
from enginesmith.compat.values import Array, constant_tensor
from enginesmith.converters.graphs.structure import is_constant, is_float, ordered, owners, quantized_from, subgraphs
from enginesmith.converters.precision import rules
from enginesmith.converters.precision.formats import Format
from enginesmith.converters.precision.ports import Ports, ports

HEADROOM = 4.0
"""Other inputs than those measured may give results this much larger."""
FLOOR = 16.0
"""A tensor whose largest element is below this many times the smallest normal number has few digits left."""


@dataclass
class Decision:
    """`low` nodes compute in `format`; `values` are stored in it. `kept` says of the others why, by node."""

    format: Format
    low: dict[ir.Node, Ports] = field(default_factory=dict)
    values: set[ir.Value] = field(default_factory=set)
    kept: dict[ir.Node, str] = field(default_factory=dict)
    products: set[ir.Node] = field(default_factory=set)
    """The nodes for which `format` is asked; those that are not `low` are among `kept`."""


@dataclass(frozen=True)
class Magnitudes:
    """Of a constant's elements, infinities and zeros left out: the largest, and how many are too large or below the
    normal numbers.
    """

    largest: float
    count: int
    over: int
    under: int


def magnitudes(array: Array, format: Format) -> Magnitudes:
    absolute = np.abs(array[np.isfinite(array)], dtype=np.float32)
    lost = np.count_nonzero(absolute < format.smallest) - np.count_nonzero(absolute == 0)
    over = np.count_nonzero(absolute > format.largest)
    return Magnitudes(float(absolute.max(initial=0.0)), absolute.size, int(over), int(lost))


def decide(
    model: ir.Model, format: Format, ranges: Mapping[str, float] | None = None, wide: Collection[str] = ()
) -> Decision:
    """A product computes in `format` unless a rule or its range forbids it, and what lies between products follows.

    A node of another kind follows its inputs: moving and adding what is in 16 bits costs no Cast that way, and what
    comes from float32 stays there until the next product. `ranges` as `measure_ranges` gives them; without, the rules
    decide alone. `wide` are names of nodes that stay in float32.
    """
    return _Decider(model, format, ranges, wide).run()


class _Decider:
    def __init__(
        self, model: ir.Model, format: Format, ranges: Mapping[str, float] | None, wide: Collection[str]
    ) -> None:
        self.model = model
        self.format = format
        self.ranges = ranges
        self.wide = wide
        self.opset = opset(model)
        self.products = rules.products(model)
        self.choosers = rules.choosers(model)
        self.leading = rules.before_products(model, owners(model), self.products)
        self.decision = Decision(format, products=self.products)
        self.constants: dict[ir.Value, Magnitudes] = {}

    def run(self) -> Decision:
        decision = self.decision
        for node in ordered(self.model.graph):
            if any(True for _ in subgraphs(node)):
                self._outputs_of_branches(node)
                continue
            if node.op_type == "Constant" or not any(is_float(v) for v in (*node.inputs, *node.outputs)):
                continue
            found = ports(node, self.opset, self.format)
            if found is None:
                if rules.is_product(node):
                    decision.kept[node] = f"{node.op_type} of opset {self.opset} has no {self.format.name}"
                continue
            data: list[ir.Value | None] = [v for i in found.inputs if not is_constant(v := node.inputs[i])]
            if node.op_type == "DequantizeLinear":
                data = [quantized_from(node.outputs[0])]
            if node not in self.products and not any(value in decision.values for value in data):
                if rules.is_product(node):
                    decision.kept[node] = rules.MASKS
                continue
            reason = self._forbidden(node, found)
            if reason:
                decision.kept[node] = reason
                continue
            decision.low[node] = found
            decision.values.update(node.outputs[index] for index in found.outputs)
        return decision

    def _outputs_of_branches(self, node: ir.Node) -> None:
        """An If passes on 16 bits where both of its branches end in them. A Loop's state stays in float32."""
        branches = list(subgraphs(node))
        if node.op_type == "If":
            for out, *made in zip(node.outputs, *(branch.outputs for branch in branches), strict=True):
                if is_float(out) and all(value in self.decision.values for value in made):
                    self.decision.values.add(out)

    def _forbidden(self, node: ir.Node, found: Ports) -> str:
        if node.name in self.wide:
            return rules.WIDE
        if node.op_type in rules.SENSITIVE:
            return rules.SENSITIVE[node.op_type]
        backend = rules.refused(self.format.name).get(node.op_type)
        if backend:
            return f"{backend} refuses it in {self.format.name}"
        if node in self.choosers:
            return rules.CHOICE
        if node not in self.leading:
            return rules.TAIL
        return next(self._objections(node, found), "")

    def _objections(self, node: ir.Node, found: Ports) -> Iterator[str]:
        """What speaks against the node by its numbers."""
        largest, smallest = self.format.largest, self.format.smallest
        for index in found.inputs:
            value = node.inputs[index]
            if value is None or not is_constant(value):
                continue
            known = self._magnitudes(value)
            if known.over:
                yield f"{known.over} of {known.count} elements of {value.name} exceed {largest:.4g}"
            if 0 < known.largest < smallest:
                yield f"no element of {value.name} reaches {smallest:.2g}, where the digits of {self.format.name} end"
        if node.op_type in rules.SUMS:
            yield from self._sum(node)
        if self.ranges is None or self.format.smallest < np.finfo(np.float32).tiny * 2:
            return  # bfloat16 has the range of float32
        values = [*(node.inputs[i] for i in found.inputs), *(node.outputs[i] for i in found.outputs)]
        for value in map(quantized_from, values):
            if value is None or is_constant(value) or not value.name:
                continue
            peak = self.ranges.get(value.name)
            if peak is None:
                yield f"the range of {value.name} is not known: no sample reached it"
            elif not peak * HEADROOM <= largest:
                yield f"{value.name} reaches {peak:.3g}, and {self.format.name} ends at {largest:.4g}"
            elif 0 < peak < smallest * FLOOR:
                yield f"{value.name} stays below {peak:.2g}, where {self.format.name} has few digits"

    def _sum(self, node: ir.Node) -> Iterator[str]:
        count = rules.terms(node)
        source = node.inputs[0]
        peak = (self.ranges or {}).get(source.name or "", math.nan) if source is not None else math.nan
        if self.format.precision == "fp16" and not math.isnan(peak):
            if not count * peak <= self.format.largest:
                yield f"a sum of {count:.0f} terms up to {peak:.3g} may exceed {self.format.largest:.4g}"
        elif count > rules.LONG_SUM:
            yield f"a sum of {count:.0f} terms"

    def _magnitudes(self, value: ir.Value) -> Magnitudes:
        if value not in self.constants:
            tensor = constant_tensor(value)
            assert tensor is not None
            self.constants[value] = magnitudes(tensor.numpy(), self.format)
        return self.constants[value]
