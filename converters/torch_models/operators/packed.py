"""Packed sequences as padded ones with their lengths, whose sizes don't depend on the data.

PyTorch packs the sequences of a batch time by time, as many rows as are that long. Here a packed sequence's data are all
rows, time x batch of them, and in the place of the rows at each time stand the lengths, which ONNX's recurrent layers take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import _VF, Tensor, nn

from enginesmith.converters.torch_models.operators.recurrent import Layers


class _Longest:
    """The greatest length, read where it is needed: no total length is below it."""

    def __gt__(self, other: object) -> bool:
        return False


@dataclass(frozen=True)
class _Lengths:
    """What stands for the sizes of a packed sequence's batches."""

    lengths: Tensor
    time: int | torch.SymInt
    batch: int | torch.SymInt

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def __getitem__(self, time: int) -> int | torch.SymInt:
        """Rows at the first time, which are all."""
        return self.batch

    def size(self, axis: int) -> Any:
        """Of times."""
        return _Longest()

    def padded(self, data: Tensor) -> Tensor:
        """time x batch x features."""
        return data.reshape(self.time, self.batch, *data.shape[1:])


def _pack(x: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Any]:
    if batch_first:
        x = x.transpose(0, 1)
    # contiguous, so that no size need differ from 1 for the rows to be joined
    return x.contiguous().flatten(0, 1), _Lengths(lengths, *x.shape[:2])


def _pad(
    data: Tensor, sizes: _Lengths, batch_first: bool, padding_value: float, total_length: Any
) -> tuple[Tensor, Tensor]:
    x = sizes.padded(data)
    wanted: Any = total_length
    if isinstance(total_length, _Longest):
        wanted = sizes.lengths.max().item()
        torch._check(wanted >= 0)
        torch._check(wanted <= sizes.time)
        x = x.narrow(0, 0, wanted)
    elif wanted is not sizes.time:
        x = nn.functional.pad(x, (0, 0) * (x.ndim - 1) + (0, wanted - sizes.time), value=padding_value)
    time = torch.arange(x.shape[0], device=x.device).reshape(-1, 1)
    inside = (time < sizes.lengths).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
    x = torch.where(inside, x, torch.full_like(x, padding_value))
    return x.transpose(0, 1) if batch_first else x, sizes.lengths


def _layers(original: Any, kind: str, activation: str = "") -> Any:
    """A recurrent layer's function, of packed sequences too."""

    def run(data: Tensor, sizes: Any, *rest: Any) -> Any:
        if not isinstance(sizes, _Lengths):
            return original(data, sizes, *rest)
        hx, params, has_biases, num_layers, _, _, bidirectional = rest
        states: Sequence[Tensor] = [hx] if isinstance(hx, Tensor) else hx
        if len({state.shape[-1] for state in states}) > 1:
            raise NotImplementedError("a packed sequence through an LSTM with projections: pass a padded batch instead")
        layers = Layers(kind, params, has_biases, num_layers, bidirectional, activation)
        y, *last = layers.run(sizes.padded(data), states, sizes.lengths)
        return y.flatten(0, 1), *last

    return run


@contextmanager
def padded() -> Iterator[None]:
    """While a module is exported."""
    own = {
        "_pack_padded_sequence": _pack,
        "_pad_packed_sequence": _pad,
        "lstm": _layers(_VF.lstm, "LSTM"),
        "gru": _layers(_VF.gru, "GRU"),
        "rnn_tanh": _layers(_VF.rnn_tanh, "RNN", "Tanh"),
        "rnn_relu": _layers(_VF.rnn_relu, "RNN", "Relu"),
    }
    unchecked: dict[str, Any] = {"check_forward_args": lambda *_: None}  # that would make a number of the batch's size
    with (
        mock.patch.multiple(nn.RNNBase, **unchecked),
        mock.patch.multiple(nn.LSTM, **unchecked),
        mock.patch.multiple(_VF, create=True, **own),
    ):
        yield
