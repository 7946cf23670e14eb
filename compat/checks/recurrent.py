"""LSTM, GRU and RNN for TensorRT and TensorRT-RTX."""

from __future__ import annotations

import onnx_ir as ir

from enginesmith.compat.checks.rule import rule
from enginesmith.compat.checks.sources import CHECKERS
from enginesmith.compat.target import TENSORRT, Target
from enginesmith.compat.values import attribute

SOURCE = f"{CHECKERS}, LSTM, GRU and RNN"
RECURRENT = ("LSTM", "GRU", "RNN")


@rule(
    "recurrent-directions",
    ops=RECURRENT,
    backends=TENSORRT,
    remedy="use the same activations in both directions, or split it in two",
    source=SOURCE,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
both (float[5, 2, 3] x, float[2, 4, 3] w, float[2, 4, 4] r) => (float[5, 2, 2, 4] y) {
  y = RNN <hidden_size = 4, direction = "bidirectional", activations = ["Tanh", "Relu"]> (x, w, r)
}
""",
)
def recurrent_directions(node: ir.Node, target: Target) -> str | None:
    """Both directions share their activations, and the parameters of those."""
    if attribute(node, "direction", "forward") != "bidirectional":
        return None
    for name in ("activations", "activation_alpha", "activation_beta"):
        values = attribute(node, name) or []
        half = len(values) // 2
        if values[:half] != values[half:]:
            return f"{name} are {values}"
    return None


@rule(
    "recurrent-activation",
    ops=RECURRENT,
    backends=TENSORRT,
    remedy="write the loop out, or let `doctor --fix` do so",
    source="messages of tensorrt-rtx 1.7: «Unknown activation type»",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
affine (float[5, 2, 3] x, float[1, 4, 3] w, float[1, 4, 4] r) => (float[5, 1, 2, 4] y) {
  y = RNN <hidden_size = 4, activations = ["Affine"], activation_alpha = [2.0], activation_beta = [0.5]> (x, w, r)
}
""",
)
def recurrent_activation(node: ir.Node, target: Target) -> str | None:
    """Of ONNX's activations, Affine is not known."""
    names = attribute(node, "activations") or []
    return "it has the activation Affine" if any(name.lower() == "affine" for name in names) else None


@rule(
    "lstm-input-forget",
    ops="LSTM",
    backends=TENSORRT,
    remedy="write the loop out, or let `doctor --fix` do so",
    source=SOURCE,
    example="""
<ir_version: 10, opset_import: ["" : 18]>
coupled (float[5, 2, 3] x, float[1, 16, 3] w, float[1, 16, 4] r) => (float[5, 1, 2, 4] y) {
  y = LSTM <hidden_size = 4, input_forget = 1> (x, w, r)
}
""",
)
def lstm_input_forget(node: ir.Node, target: Target) -> str | None:
    """Input and forget gates are not coupled."""
    return "input_forget is 1" if attribute(node, "input_forget", 0) else None


@rule(
    "recurrent-layout",
    ops=RECURRENT,
    backends=("tensorrt",),
    remedy="transpose the input and the outputs, with layout 0",
    source=f"{SOURCE}; docs/operators.md of 10.1",
    example="""
<ir_version: 10, opset_import: ["" : 18]>
batches (float[2, 5, 3] x, float[1, 4, 3] w, float[1, 4, 4] r) => (float[2, 5, 1, 4] y) {
  y = RNN <hidden_size = 4, layout = 1> (x, w, r)
}
""",
)
def recurrent_layout(node: ir.Node, target: Target) -> str | None:
    """Time is the first dimension, the batch the second."""
    return "layout is 1" if attribute(node, "layout", 0) else None
