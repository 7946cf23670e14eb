"""RNN, GRU and LSTM written out step by step, for a backend without recurrent layers.

Source: the equations in ONNX's operator pages. Within a layer, `steps` is the sequence length, `batch` the batch,
`hidden` the state's size; a state is batch x hidden. Every gate of one step comes from one product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable, Replacement
from enginesmith.compat.repairs.fused_activations import MICROSOFT
from enginesmith.compat.repairs.recurrent_cell import (
    GATES,
    QUANTIZED_LSTM,
    Direction,
    State,
    Step,
    activations,
    gru_step,
    kind_of,
    lstm_step,
    rnn_step,
)
from enginesmith.compat.repairs.repair import repair
from enginesmith.compat.target import EVERY
from enginesmith.compat.values import argument, attribute, constant, dtype, static_shape, used

MAX_STEPS = 512
"""A longer sequence would make a graph that takes longer to compile than is worth it."""
ROUNDED = 0.02
"""Where ONNX Runtime quantizes the rows of a batch in other parts, or a number lies between two levels."""
APPROXIMATE = 1e-4
"""ONNX Runtime's recurrent layers approximate their activations, to some 1e-6 absolute."""


@repair(
    "rnn-steps",
    ops="RNN",
    backends=EVERY,
    tolerance=APPROXIMATE,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
rnn (float[3, 2, 4] x, float[1, 5, 4] w, float[1, 5, 5] r) => (float[3, 1, 2, 5] y, float[1, 2, 5] last) {
  y, last = RNN <hidden_size = 5> (x, w, r)
}
""",
)
def rnn(node: ir.Node, build: Builder) -> Replacement:
    """A simple recurrent layer of a static length is written out, one product and one activation for each step."""
    layer = _Layer.of(node, build)
    y, last, _ = layer.run(rnn_step)
    return [y, last][: len(node.outputs)]


@repair(
    "gru-steps",
    ops="GRU",
    backends=EVERY,
    tolerance=APPROXIMATE,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
gru (float[3, 2, 4] x, float[1, 15, 4] w, float[1, 15, 5] r, float[1, 30] b) => (float[3, 1, 2, 5] y) {
  y = GRU <hidden_size = 5, linear_before_reset = 1> (x, w, r, b)
}
""",
)
def gru(node: ir.Node, build: Builder) -> Replacement:
    """A GRU of a static length is written out, step by step and direction by direction."""
    layer = _Layer.of(node, build)
    y, last, _ = layer.run(gru_step)
    return [y, last][: len(node.outputs)]


@repair(
    "lstm-steps",
    ops="LSTM",
    backends=EVERY,
    tolerance=APPROXIMATE,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
lstm (float[3, 2, 4] x, float[2, 20, 4] w, float[2, 20, 5] r) => (float[3, 2, 2, 5] y, float[2, 2, 5] h) {
  y, h = LSTM <direction = "bidirectional", hidden_size = 5> (x, w, r)
}
""",
)
def lstm(node: ir.Node, build: Builder) -> Replacement:
    """An LSTM of a static length is written out, step by step and direction by direction, peepholes included."""
    layer = _Layer.of(node, build)
    return list(layer.run(lstm_step))[: len(node.outputs)]


@repair(
    "quantized-lstm-steps",
    ops=MICROSOFT + QUANTIZED_LSTM,
    backends=EVERY,
    tolerance=ROUNDED,
    example="""
<ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
lstm (float[2, 1, 2] x) => (float[2, 1, 1, 1] y) <int8[1, 2, 4] w = {20, -40, 60, 80, -100, 120, 10, 30},
  int8[1, 1, 4] r = {50, -60, 70, 80}, float[1] s = {0.01}, int8[1] z = {0}> {
  y = com.microsoft.DynamicQuantizeLSTM <hidden_size = 1> (x, w, r, , , , , , s, z, s, z)
}
""",
)
def quantized_lstm(node: ir.Node, build: Builder) -> Replacement:
    """An LSTM of 8-bit weights is written out; inputs and states are quantized before each product, as ONNX Runtime does it."""
    layer = _Layer.of(node, build)
    return list(layer.run(lstm_step))[: len(node.outputs)]


@dataclass(frozen=True)
class _Layer:
    """A recurrent node with its sizes; `x` is steps x batch x inputs whatever the node's layout."""

    node: ir.Node
    build: Builder
    x: ir.Value
    steps: int
    batch: int
    hidden: int
    directions: int
    kind: Any

    @classmethod
    def of(cls, node: ir.Node, build: Builder) -> _Layer:
        """Raises NotApplicable where a size is not known, or the sequence is too long."""
        if build.opset < 18:
            raise NotApplicable(f"the graph's opset is {build.opset}")
        sizes, weights = static_shape(node.inputs[0]), static_shape(node.inputs[2])
        kind = dtype(node.inputs[0])
        if sizes is None or len(sizes) != 3 or weights is None or kind is None:
            raise NotApplicable("the sequence's length is only known at run time")
        x, batchwise = node.inputs[0], attribute(node, "layout", 0) == 1
        assert x is not None
        steps, batch = (sizes[1], sizes[0]) if batchwise else sizes[:2]
        if not 0 < steps <= MAX_STEPS:
            raise NotApplicable(f"{steps} steps are too many to write out (limit {MAX_STEPS})")
        if batchwise:
            x = build.op("Transpose", x, perm=[1, 0, 2])
        hidden = weights[1] if node.op_type == QUANTIZED_LSTM else weights[2]
        return cls(node, build, x, steps, batch, hidden, weights[0], kind.numpy())

    def run(self, step: Step) -> tuple[ir.Value | None, ir.Value, ir.Value | None]:
        """Y, Y_h and Y_c (None but for an LSTM)."""
        build = self.build
        masks = list(self._masks())
        every: list[ir.Value] = []
        ends: list[State] = []
        reverse = attribute(self.node, "direction", "forward") == "reverse"
        for index in range(self.directions):
            outputs, state = self._direction(index, reverse or index == 1, step, masks)
            if used(self.node, 0):
                flat = [build.op("Unsqueeze", output, np.array([0, 1])) for output in outputs]
                every.append(build.op("Concat", *flat, axis=0))
            ends.append(state)
        y = build.op("Concat", *every, axis=1) if every else None
        last = [self._stacked([end[index] for end in ends]) for index in (0, 1)]
        if attribute(self.node, "layout", 0) == 1:
            y = build.op("Transpose", y, perm=[2, 0, 1, 3]) if y is not None else None
            last = [build.op("Transpose", value, perm=[1, 0, 2]) if value is not None else None for value in last]
        assert last[0] is not None
        return y, last[0], last[1]

    def _stacked(self, states: list[ir.Value | None]) -> ir.Value | None:
        """directions x batch x hidden."""
        flat = [self.build.op("Unsqueeze", state, np.array([0])) for state in states if state is not None]
        return self.build.op("Concat", *flat, axis=0) if flat else None

    def _direction(
        self, index: int, reverse: bool, step: Step, masks: list[ir.Value | None]
    ) -> tuple[list[ir.Value], State]:
        """The steps' outputs in the order of time, and the last state."""
        build, node = self.build, self.node
        gates = GATES[kind_of(node)]
        product = self._times(1, index, self._matrix(1, index))(self.x)
        own = self._constants(index, gates)
        bias = argument(node, 3)
        if bias is not None:
            both = self._of(bias, index)
            product = build.op("Add", product, build.op("Slice", both, np.array([0]), np.array([gates * self.hidden])))
            if own.recurrent_bias is not None and node.op_type != "GRU":
                product = build.op("Add", product, own.recurrent_bias)
        state: State = (self._first(5, index), self._first(6, index) if kind_of(node) == "LSTM" else None)
        outputs: dict[int, ir.Value] = {}
        for time in reversed(range(self.steps)) if reverse else range(self.steps):
            new = step(own, build.op("Gather", product, np.array(time), axis=0), state)
            mask = masks[time]
            outputs[time] = new[0] if mask is None else build.op("Where", mask, new[0], np.zeros((), self.kind))
            state = self._kept(mask, new, state)
        return [outputs[time] for time in range(self.steps)], state

    def _kept(self, mask: ir.Value | None, new: State, old: State) -> State:
        """A sequence that has ended, or not begun, keeps its state."""
        if mask is None:
            return new
        cell = None if new[1] is None else self.build.op("Where", mask, new[1], old[1])
        return self.build.op("Where", mask, new[0], old[0]), cell

    def _constants(self, index: int, gates: int) -> Direction:
        build, node = self.build, self.node
        bias, peepholes = argument(node, 3), argument(node, 7)
        recurrent, recurrent_bias, split = self._matrix(2, index), None, []
        if bias is not None:
            own = self._of(bias, index)
            bounds = np.array([gates * self.hidden]), np.array([2 * gates * self.hidden])
            recurrent_bias = build.op("Slice", own, *bounds)
        if peepholes is not None and kind_of(node) == "LSTM":
            split = list(build.ops("Split", self._of(peepholes, index), outputs=3, axis=0, num_outputs=3))
        return Direction(
            build,
            recurrent,
            self._times(2, index, recurrent),
            recurrent_bias,
            split,
            activations(node, build, self.directions, index, self.kind),
            float(attribute(node, "clip", 0.0)),
            self.kind,
            bool(attribute(node, "input_forget", 0)),
            bool(attribute(node, "linear_before_reset", 0)),
        )

    def _matrix(self, place: int, index: int) -> ir.Value:
        """A direction's weights, those of the input in `place` 1 and of the state in 2: inputs (or hidden) x gates*hidden."""
        if self.node.op_type == QUANTIZED_LSTM:
            return self._held(place, index)
        return self.build.op("Transpose", self._of(argument(self.node, place), index), perm=[1, 0])

    def _times(self, place: int, index: int, matrix: ir.Value) -> Callable[[ir.Value], ir.Value]:
        """Multiplies by `matrix`, a direction's weights; by those that are quantized with the scales and zero points beside them."""
        build = self.build
        if self.node.op_type != QUANTIZED_LSTM:
            return lambda x: build.op("MatMul", x, matrix)
        scale, zero = (self._held(at, index) for at in (6 + 2 * place, 7 + 2 * place))

        def product(x: ir.Value) -> ir.Value:
            made = build.op("DynamicQuantizeMatMul", x, matrix, scale, zero, domain=MICROSOFT.rstrip(":"))
            made.dtype = ir.DataType.FLOAT  # which inference doesn't know of such an operator
            rows = [self.steps, self.batch] if place == 1 else [self.batch]
            made.shape = ir.Shape([*rows, GATES[kind_of(self.node)] * self.hidden])
            return made

        return product

    def _held(self, place: int, index: int) -> ir.Value:
        """What a constant holds for a direction, of one axis or more."""
        content = constant(argument(self.node, place))
        if content is None:
            raise NotApplicable("its quantized weights are no constants")
        return self.build.constant(np.atleast_1d(content[index]))

    def _of(self, value: ir.Value | None, index: int) -> ir.Value:
        """What a tensor with one leading row per direction holds for one of them."""
        return self.build.op("Gather", value, np.array(index), axis=0)

    def _first(self, place: int, index: int) -> ir.Value:
        """The initial state, batch x hidden."""
        value = argument(self.node, place)
        if value is None:
            return self.build.constant(np.zeros((self.batch, self.hidden), self.kind))
        axis = 1 if attribute(self.node, "layout", 0) == 1 else 0
        return self.build.op("Gather", value, np.array(index), axis=axis)

    def _masks(self) -> Iterator[ir.Value | None]:
        """For each time which sequences are that long (batch x 1), None where every one is."""
        lengths = argument(self.node, 4)
        known = constant(lengths)
        for time in range(self.steps):
            if lengths is None or (known is not None and bool((known > time).all())):
                yield None
            else:
                column = self.build.op("Unsqueeze", lengths, np.array([1]))
                yield self.build.op("Greater", column, np.array(time, np.int32))
