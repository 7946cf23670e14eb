"""Write a decision into a graph: types, weights, and a Cast where two precisions meet."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from enginesmith.compat.graphs import opset
from enginesmith.compat.values import constant_tensor
from enginesmith.converters.graphs.structure import FLOAT, is_dequantized, is_float, ordered, subgraphs
from enginesmith.converters.precision import rules
from enginesmith.converters.precision.decide import Decision

FIRST_LOW_SCALES = 19
"""The first opset in which QuantizeLinear and DequantizeLinear take 16 bits."""


def rewrite(model: ir.Model, decision: Decision, *, keep_io: bool = True) -> None:
    """In place. Inputs and outputs of the model stay float32, unless `keep_io` is off: then those that only nodes of
    16 bits read or write change too.
    """
    _Rewriter(model, decision).run(keep_io=keep_io)
    common.RemoveUnusedNodesPass()(model)


class _Rewriter:
    def __init__(self, model: ir.Model, decision: Decision) -> None:
        self.model = model
        self.low = decision.format.dtype
        self.round = decision.format.rounded
        self.decision = decision
        self.stored_low = set(decision.values)
        self.other: dict[ir.Value, ir.Value] = {}
        """A value to the same one in the other precision."""

    def run(self, *, keep_io: bool) -> None:
        nodes = list(ordered(self.model.graph))
        graphs = list(self.model.graphs())
        if not keep_io:
            self._lower_inputs()
        for node in nodes:
            for index, value in enumerate(node.inputs):
                if value is not None and (wanted := self._wanted(node, index, value)) != (value in self.stored_low):
                    node.replace_input_with(index, self._as(value, wanted))
            for inner in subgraphs(node):
                for index, value in enumerate(inner.outputs):
                    wanted = node.op_type == "If" and node.outputs[index] in self.stored_low
                    if is_float(value) and wanted != (value in self.stored_low):
                        inner.outputs[index] = self._as(value, wanted)
        self._outputs(keep_io=keep_io)
        for value in self.stored_low:
            value.type = ir.TensorType(self.low)
        for graph in graphs:
            for name in [name for name, value in graph.initializers.items() if not _used(value)]:
                del graph.initializers[name]

    def _wanted(self, node: ir.Node, index: int, value: ir.Value) -> bool:
        """Does the node want this input in 16 bits?"""
        if not is_float(value):
            return False
        if node.op_type in rules.INDIFFERENT and node.domain in ("", "ai.onnx"):
            return value in self.stored_low
        found = self.decision.low.get(node)
        return found is not None and index in found.inputs

    def _as(self, value: ir.Value, low: bool) -> ir.Value:
        """The same value in 16 bits, or in float32; made once, where the value is made."""
        if value not in self.other:
            made = (self._constant(value) or self._dequantized(value)) if low else None
            if made is None:
                made = self._cast(value, self.low if low else FLOAT)
            self.other[value] = made
        return self.other[value]

    def _constant(self, value: ir.Value) -> ir.Value | None:
        tensor = constant_tensor(value)
        if tensor is None:
            return None
        name = f"{value.name}/{self.decision.format.name}"
        rounded = ir.tensor(self.round(tensor.numpy()), name=name)
        node = value.producer()
        if node is not None:
            made = ir.node("Constant", [], {"value": rounded})
            out = made.outputs[0]
            node.graph.insert_after(node, made)  # type: ignore[union-attr]
        else:
            out = ir.Value(name=name)
        out.name, out.const_value, out.shape = name, rounded, ir.Shape(tuple(rounded.numpy().shape))
        out.type = ir.TensorType(self.low)
        if node is None:
            assert value.graph is not None
            value.graph.register_initializer(out)
        return out

    def _dequantized(self, value: ir.Value) -> ir.Value | None:
        """Integers dequantized to 16 bits at once: backends fuse a DequantizeLinear with what reads it, no Cast."""
        node = value.producer()
        if node is None or not is_dequantized(value) or opset(self.model) < FIRST_LOW_SCALES:
            return None
        integers, scale, *zero = node.inputs
        assert scale is not None
        twin = ir.node("DequantizeLinear", [integers, self._as(scale, True), *zero], dict(node.attributes))
        out = twin.outputs[0]
        out.name, out.shape = f"{value.name}/{self.decision.format.name}", value.shape
        out.type = ir.TensorType(self.low)
        node.graph.insert_after(node, twin)  # type: ignore[union-attr]
        return out

    def _cast(self, value: ir.Value, to: ir.DataType) -> ir.Value:
        """A Cast behind the value's own node. What was cast before is cast from its source, or taken from there."""
        producer, source = value.producer(), value
        if producer is not None and producer.op_type == "Cast" and producer.inputs[0] is not None:
            source = producer.inputs[0]
            if (self.low if source in self.stored_low else source.dtype) == to:
                return source
        cast = ir.node("Cast", [source], {"to": to})
        out = cast.outputs[0]
        out.name = f"{value.name}/{to.numpy().name}"
        out.type, out.shape = ir.TensorType(to), value.shape
        if producer is not None:
            producer.graph.insert_after(producer, cast)  # type: ignore[union-attr]
        else:
            graph = value.graph
            assert isinstance(graph, ir.Graph)
            first = next(iter(graph), None)
            if first is None:
                graph.append(cast)
            else:
                graph.insert_before(first, cast)
        return out

    def _lower_inputs(self) -> None:
        for value in self.model.graph.inputs:
            uses = list(value.uses())
            if is_float(value) and not value.is_initializer() and uses:
                wanted = [self._wanted(use.node, use.idx, value) for use in uses]
                if all(wanted):
                    self.stored_low.add(value)

    def _outputs(self, *, keep_io: bool) -> None:
        """An output keeps its name; what it was called before inside gets another one."""
        outputs = self.model.graph.outputs
        for index, value in enumerate(outputs):
            if value not in self.stored_low or not keep_io:
                continue
            name = value.name
            high = self._as(value, False)
            value.name, high.name = f"{name}/{self.decision.format.name}", name
            outputs[index] = high


def _used(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output() or value.is_graph_input()
