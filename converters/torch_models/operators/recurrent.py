"""Recurrent layers of any length as ONNX's LSTM, GRU and RNN; those with projections step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.onnx import ops as onnx_ops

from enginesmith.converters.torch_models.operators.registry import decomposes, in_the_place_of
from enginesmith.converters.torch_models.operators.sizes import static

aten = torch.ops.aten

ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where ONNX's gates stand among PyTorch's: input, output, forget, cell of input, forget, cell, output; update, reset, new of
reset, update, new.
"""


@dataclass(frozen=True)
class Layers:
    """`params` are PyTorch's flat weights; `states` are layers * directions x batch x hidden, two for an LSTM."""

    kind: str
    params: Sequence[Tensor]
    has_biases: bool
    num_layers: int
    bidirectional: bool
    activation: str = ""

    def run(self, x: Tensor, states: Sequence[Tensor], lengths: Tensor | None) -> tuple[Tensor, ...]:
        """`x` is time x batch x inputs; `lengths` (batch) says how much of it is read, where not all. Returns the outputs and
        the last states; beyond a length, 0.
        """
        directions = 2 if self.bidirectional else 1
        ends: list[list[Tensor]] = [[] for _ in states]
        for layer in range(self.num_layers):
            first = layer * directions
            begin = [state[first : first + directions] for state in states]
            x, *last = self._layer(x, begin, lengths, first, directions)
            for end, state in zip(ends, last, strict=True):
                end.append(state)
        return x, *(torch.cat(end) if len(end) > 1 else end[0] for end in ends)

    def _layer(
        self, x: Tensor, states: Sequence[Tensor], lengths: Tensor | None, first: int, directions: int
    ) -> tuple[Tensor, ...]:
        time, batch = x.shape[:2]
        hidden = states[0].shape[-1]
        each = 4 if self.has_biases else 2
        weights = [
            [self._gates(weight, hidden) for weight in self.params[place * each : (place + 1) * each]]
            for place in range(first, first + directions)
        ]
        w, r = (torch.stack([of[place] for of in weights]) for place in (0, 1))
        bias = torch.stack([torch.cat(of[2:]) for of in weights]) if self.has_biases else None
        attributes: dict[str, Any] = {
            "hidden_size": hidden,
            "direction": "bidirectional" if self.bidirectional else "forward",
        }
        if self.kind == "GRU":
            attributes["linear_before_reset"] = 1
        if self.activation:
            attributes["activations"] = [self.activation] * directions
        shape = [directions, batch, hidden]
        y, *last = onnx_ops.symbolic_multi_out(
            self.kind,
            [x, w, r, bias, None if lengths is None else lengths.to(torch.int32), *states],
            attributes,
            dtypes=[x.dtype] * (1 + len(states)),
            shapes=[[time, *shape], *[shape] * len(states)],
        )
        return y.permute(0, 2, 1, 3).reshape(time, batch, directions * hidden), *last

    def _gates(self, weight: Tensor, hidden: int) -> Tensor:
        order = ORDER[self.kind]
        parts = weight.split(hidden)
        return torch.cat([parts[place] for place in order]) if len(order) > 1 else weight


def _time_first(x: Tensor, batch_first: bool) -> Tensor:
    return x.transpose(0, 1) if batch_first else x


@decomposes(aten.lstm.input, tolerance=1e-5)
def lstm(
    x: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of any length. With projections, PyTorch's own steps: written out for a fixed length, else in a loop."""
    if hx[0].shape[-1] != hx[1].shape[-1]:
        from torch._decomp.decompositions import lstm_impl
        from torch.export._patches import lstm_while_loop_impl

        steps = lstm_impl if static(x.shape[1 if batch_first else 0]) else lstm_while_loop_impl
        return steps(  # type: ignore[no-any-return]
            x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first
        )
    y, h, c = Layers("LSTM", params, has_biases, num_layers, bidirectional).run(_time_first(x, batch_first), hx, None)
    return _time_first(y, batch_first), h, c


def _one_state(kind: str, activation: str = "") -> Any:
    def layers(
        x: Tensor,
        hx: Tensor,
        params: Sequence[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, Tensor]:
        own = Layers(kind, params, has_biases, num_layers, bidirectional, activation)
        y, h = own.run(_time_first(x, batch_first), [hx], None)
        return _time_first(y, batch_first), h

    return layers


decomposes(aten.gru.input, tolerance=1e-5)(_one_state("GRU"))
decomposes(aten.rnn_tanh.input, tolerance=1e-5)(_one_state("RNN", "Tanh"))
decomposes(aten.rnn_relu.input, tolerance=1e-5)(_one_state("RNN", "Relu"))


def _shapes(x: Tensor, hx: Tensor | Sequence[Tensor], *rest: Any) -> tuple[Tensor, ...]:
    """The results' shapes, without going through the steps, which would make a dynamic length a fixed one."""
    states = [hx] if isinstance(hx, Tensor) else hx
    features = states[0].shape[-1] * (2 if rest[5] else 1)
    return x.new_empty(*x.shape[:2], features), *(torch.empty_like(state) for state in states)


@contextmanager
def kept_whole() -> Iterator[None]:
    """While a module is exported, recurrent layers stay single operators, of a dynamic length too."""
    layers = [aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input]
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(in_the_place_of(layer, _shapes))
        yield
