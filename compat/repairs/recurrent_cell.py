"""One step of a recurrent layer, in standard operators: the cells of RNN, GRU and LSTM, and their activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from enginesmith.compat.building import Builder, NotApplicable
from enginesmith.compat.values import attribute

DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
"""Activations of one direction, in the order f, g, h of the operator's equations."""
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
QUANTIZED_LSTM = "DynamicQuantizeLSTM"
PARAMETERS: dict[str, tuple[float | None, float | None]] = {
    "affine": (None, None),
    "leakyrelu": (0.01, None),
    "thresholdedrelu": (None, None),
    "scaledtanh": (None, None),
    "hardsigmoid": (0.2, 0.5),
    "elu": (1.0, None),
}
"""Activation to its default alpha and beta; None where there is none, or implementations differ."""
WITH_BETA = ("affine", "scaledtanh", "hardsigmoid")
PLAIN = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "softsign": "Softsign", "softplus": "Softplus"}

Activation = Callable[[ir.Value], ir.Value]


@dataclass(frozen=True)
class Direction:
    """One direction's constants. `recurrent` is hidden x gates*hidden, `times` multiplies a state by it; biases are gates*hidden,
    None where there are none."""

    build: Builder
    recurrent: ir.Value
    times: Callable[[ir.Value], ir.Value]
    recurrent_bias: ir.Value | None
    peepholes: list[ir.Value]
    activations: list[Activation]
    clip: float
    kind: Any
    coupled: bool
    linear_before_reset: bool

    def split(self, value: ir.Value, gates: int) -> list[ir.Value]:
        """The gates of a batch x gates*hidden value."""
        return list(self.build.ops("Split", value, outputs=gates, axis=-1, num_outputs=gates))

    def activate(self, index: int, value: ir.Value) -> ir.Value:
        if self.clip:
            bound = np.array(self.clip, self.kind)
            value = self.build.op("Clip", value, -bound, bound)
        return self.activations[index](value)

    def add(self, left: ir.Value, right: ir.Value | None) -> ir.Value:
        return left if right is None else self.build.op("Add", left, right)

    def number(self, value: float) -> Any:
        return np.array(value, self.kind)


State = tuple[ir.Value, ir.Value | None]
"""The hidden state, and the cell state of an LSTM."""
Step = Callable[[Direction, ir.Value, State], State]
"""Takes the step's product with the input weights (batch x gates*hidden, biases added) and the state before."""


def rnn_step(own: Direction, product: ir.Value, state: State) -> State:
    return own.activate(0, own.add(product, own.times(state[0]))), None


def gru_step(own: Direction, product: ir.Value, state: State) -> State:
    op, (hidden, _) = own.build.op, state
    x_z, x_r, x_h = own.split(product, 3)
    r_z, r_r, r_h = own.split(own.recurrent, 3)
    b_z, b_r, b_h = own.split(own.recurrent_bias, 3) if own.recurrent_bias is not None else (None, None, None)
    update = own.activate(0, own.add(own.add(x_z, op("MatMul", hidden, r_z)), b_z))
    reset = own.activate(0, own.add(own.add(x_r, op("MatMul", hidden, r_r)), b_r))
    if own.linear_before_reset:
        candidate = own.add(x_h, op("Mul", reset, own.add(op("MatMul", hidden, r_h), b_h)))
    else:
        candidate = own.add(own.add(x_h, op("MatMul", op("Mul", reset, hidden), r_h)), b_h)
    candidate = own.activate(1, candidate)
    return own.add(op("Mul", op("Sub", own.number(1), update), candidate), op("Mul", update, hidden)), None


def lstm_step(own: Direction, product: ir.Value, state: State) -> State:
    op, (hidden, cell) = own.build.op, state
    assert cell is not None
    i, o, f, c = own.split(own.add(product, own.times(hidden)), 4)
    if own.peepholes:
        i = own.add(i, op("Mul", own.peepholes[0], cell))
        f = own.add(f, op("Mul", own.peepholes[2], cell))
    i = own.activate(0, i)
    f = op("Sub", own.number(1), i) if own.coupled else own.activate(0, f)
    cell = own.add(op("Mul", f, cell), op("Mul", i, own.activate(1, c)))
    if own.peepholes:
        o = own.add(o, op("Mul", own.peepholes[1], cell))
    return op("Mul", own.activate(0, o), own.activations[2](cell)), cell


def kind_of(node: ir.Node) -> str:
    """The layer that a node is, whatever its weights are kept in."""
    return "LSTM" if node.op_type == QUANTIZED_LSTM else node.op_type


def activations(node: ir.Node, build: Builder, directions: int, index: int, kind: Any) -> list[Activation]:
    """The activations of one direction. Parameters are given one after the other, to those that take any."""
    defaults = DEFAULTS[kind_of(node)]
    names = attribute(node, "activations") or defaults * directions
    alphas = iter(attribute(node, "activation_alpha") or ())
    betas = iter(attribute(node, "activation_beta") or ())
    made: list[Activation] = []
    for name in map(str.lower, names):
        alpha, beta = PARAMETERS.get(name, (None, None))
        if name in PARAMETERS:
            alpha = next(alphas, alpha)
            beta = next(betas, beta) if name in WITH_BETA else None
        made.append(_activation(name, alpha, beta, build, kind))
    return made[index * len(defaults) : (index + 1) * len(defaults)]


def _activation(name: str, alpha: float | None, beta: float | None, build: Builder, kind: Any) -> Activation:
    op = build.op
    if name in PLAIN:
        return lambda x: op(PLAIN[name], x)
    if name not in PARAMETERS:
        raise NotApplicable(f"the activation {name} is unknown")
    if alpha is None or (name in WITH_BETA and beta is None):
        raise NotApplicable(f"the activation {name} has no alpha or beta")
    a, b = np.array(alpha, kind), np.array(beta or 0.0, kind)
    match name:
        case "affine":
            return lambda x: op("Add", op("Mul", x, a), b)
        case "scaledtanh":
            return lambda x: op("Mul", op("Tanh", op("Mul", x, b)), a)
        case "hardsigmoid":
            return lambda x: op("HardSigmoid", x, alpha=alpha, beta=beta)
        case "leakyrelu":
            return lambda x: op("LeakyRelu", x, alpha=alpha)
        case "thresholdedrelu":
            return lambda x: op("ThresholdedRelu", x, alpha=alpha)
        case _:
            return lambda x: op("Elu", x, alpha=alpha)
