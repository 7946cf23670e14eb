"""Every form of RNN, GRU and LSTM that ONNX Runtime takes is the same when written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import one_node, proof, repaired

from enginesmith.compat.building import NotApplicable
from enginesmith.compat.repairs.recurrent import MAX_STEPS
from enginesmith.compat.repairs.recurrent_cell import DEFAULTS, GATES, PARAMETERS, WITH_BETA
from enginesmith.converters.graphs.proof import feeds, runner

REPAIR = {"RNN": "rnn-steps", "GRU": "gru-steps", "LSTM": "lstm-steps"}
BOUNDED = ["Sigmoid", "HardSigmoid", "Tanh", "Softsign"]
"""What a gate may be: one without bounds makes a sum of large terms that cancel, which proves nothing."""
ACTIVATIONS = [*BOUNDED, "Relu", "LeakyRelu", "Elu", "ThresholdedRelu", "Affine", "ScaledTanh"]
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


@st.composite
def layers(draw: st.DrawFn, op: str) -> onnx.ModelProto:
    """A layer with any of its optional inputs, outputs and attributes, its weights constants of ordinary size."""
    steps, batch, features, hidden = (draw(st.integers(1, size)) for size in (4, 3, 3, 3))
    direction = draw(st.sampled_from(list(DIRECTIONS)))
    count, gates = DIRECTIONS[direction], GATES[op]
    rng = np.random.default_rng(draw(st.integers(0, 99)))

    def weights(*shape: int) -> np.ndarray[Any, Any]:
        return rng.standard_normal(shape).astype(np.float32)

    def maybe(value: Any) -> Any:
        return value if draw(st.booleans()) else None

    lengths = np.asarray(draw(st.lists(st.integers(1, steps), min_size=batch, max_size=batch)), np.int32)
    inputs: list[Any] = [
        [steps, batch, features],
        weights(count, gates * hidden, features),
        weights(count, gates * hidden, hidden),
        maybe(weights(count, 2 * gates * hidden)),
        maybe(lengths),
        maybe([count, batch, hidden]),
    ]
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    state = (1, [count, batch, hidden])
    outputs = [(1, [steps, count, batch, hidden]), state]
    if op == "LSTM":
        inputs += [maybe([count, batch, hidden]), maybe(weights(count, 3 * hidden))]
        outputs.append(state)
        attributes["input_forget"] = draw(st.integers(0, 1))
    if op == "GRU":
        attributes["linear_before_reset"] = draw(st.integers(0, 1))
    if draw(st.booleans()):
        gates_first = len(DEFAULTS[op]) > 1
        one = [
            draw(st.sampled_from(BOUNDED if gates_first and place == 0 else ACTIVATIONS))
            for place in range(len(DEFAULTS[op]))
        ]
        attributes["activations"] = one * count
        taking = [name for name in one * count if name.lower() in PARAMETERS]
        if taking:
            attributes["activation_alpha"] = [draw(st.sampled_from([0.25, 0.5])) for _ in taking]
        if any(name.lower() in WITH_BETA for name in taking):
            attributes["activation_beta"] = [0.75 for name in taking if name.lower() in WITH_BETA]
    if draw(st.booleans()):
        attributes["clip"] = draw(st.sampled_from([0.3, 2.0]))
    while inputs[-1] is None:
        inputs.pop()
    return one_node(op, *inputs, outputs=outputs, **attributes)


@pytest.mark.parametrize("op", list(REPAIR))
def test_a_layer_is_the_same_written_out(op: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(layers(op))
    def holds(model: onnx.ModelProto) -> None:
        after, _ = repaired(REPAIR[op], model)
        old, new = runner(model), runner(ir.to_proto(after))
        for extreme in feeds(model):
            # A state is a sum of bounded terms: with one of 10,000 the approximated activations would show.
            feed = {name: np.clip(array, -3, 3) for name, array in extreme.items()}
            for expected, got in zip(old(feed), new(feed), strict=True):
                # ONNX Runtime approximates the activations, so that a tiny result has no exact digit.
                limit = 1e-5 + 1e-4 * np.abs(expected).max()
                np.testing.assert_allclose(got, expected, rtol=0, atol=limit, err_msg=onnx.printer.to_text(model))

    holds()


def test_lengths_that_are_only_known_at_run_time() -> None:
    model = one_node(
        "GRU",
        [3, 2, 2],
        [1, 6, 2],
        [1, 6, 2],
        None,
        [2],
        dtypes=[1, 1, 1, 1, 6],
        outputs=[(1, [3, 1, 2, 2])],
        hidden_size=2,
    )
    assert proof("gru-steps", model).agrees


def test_batch_first() -> None:
    """Layout 1, which ONNX Runtime doesn't run: the proof is then against onnx's reference."""
    sizes = [[2, 3, 4], [1, 20, 4], [1, 20, 5]]
    outputs = [(1, [2, 3, 1, 5]), (1, [2, 1, 5]), (1, [2, 1, 5])]
    found = proof("lstm-steps", one_node("LSTM", *sizes, outputs=outputs, hidden_size=5, layout=1))
    assert found.agrees, found.reason


@pytest.mark.parametrize(("steps", "reason"), [("t", "known at run time"), (MAX_STEPS + 1, "too many")])
def test_a_length_that_is_not_written_out(steps: int | str, reason: str) -> None:
    model = one_node("RNN", [steps, 1, 2], [1, 3, 2], [1, 3, 3], outputs=[(1, [steps, 1, 1, 3])], hidden_size=3)
    with pytest.raises(NotApplicable, match=reason):
        repaired("rnn-steps", model)


def test_an_unknown_activation() -> None:
    model = one_node("RNN", [2, 1, 2], [1, 3, 2], [1, 3, 3], hidden_size=3, activations=["Cosine"])
    with pytest.raises(NotApplicable, match="cosine"):
        repaired("rnn-steps", model)
