"""Recurrent layers and packed sequences, in ONNX Runtime against PyTorch's own."""

import pytest
import torch
from operators_support import exported_holds
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

TIME = torch.export.Dim("time", max=40)


@pytest.mark.parametrize("layers", [nn.LSTM, nn.GRU, nn.RNN])
def test_any_length(layers):
    model = layers(6, 7, num_layers=2, bidirectional=True)
    exported_holds(
        model,
        torch.randn(9, 2, 6),
        dynamic_shapes=({0: TIME},),
        others=[(torch.randn(3, 2, 6),)],
        tolerance=1e-5,
        normwise=True,
    )


def test_other_forms():
    class Forms(nn.Module):
        def __init__(self):
            super().__init__()
            self.plain = nn.RNN(6, 7, nonlinearity="relu", bias=False)
            self.rows = nn.GRU(6, 7, batch_first=True)

        def forward(self, x, state):
            return *self.plain(x, state), *self.rows(x), *self.rows(x[0])

    exported_holds(Forms(), torch.randn(3, 2, 6), torch.randn(1, 2, 7), tolerance=1e-5, normwise=True)


@pytest.mark.parametrize("length", [None, {0: TIME}], ids=["fixed", "dynamic"])
def test_projections(length):
    model = nn.LSTM(6, 7, proj_size=3, bidirectional=True)
    others = [(torch.randn(6, 2, 6),)] if length else []
    exported_holds(
        model,
        torch.randn(4, 2, 6),
        dynamic_shapes=(length,) if length else None,
        others=others,
        tolerance=1e-5,
        normwise=True,
    )


class Tagger(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = layers(6, 7, bidirectional=True, batch_first=True)
        self.out = nn.Linear(14, 3)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, state = self.layers(packed)
        whole, _ = pad_packed_sequence(y, batch_first=True, padding_value=2.0, total_length=x.shape[1])
        return self.out(pad_packed_sequence(y, batch_first=True)[0]), whole, state


@pytest.mark.parametrize("layers", [nn.LSTM, nn.GRU])
def test_packed_sequences(layers):
    batch, time = torch.export.Dim("batch", min=2, max=9), torch.export.Dim("time", min=2, max=40)
    exported_holds(
        Tagger(layers),
        torch.randn(3, 9, 6),
        torch.tensor([7, 4, 6]),
        dynamic_shapes=({0: batch, 1: time}, {0: batch}),
        others=[(torch.randn(4, 5, 6), torch.tensor([1, 5, 2, 5]))],
        tolerance=1e-5,
        normwise=True,
    )


def test_pytorch_is_left_as_it_was():
    model = Tagger(nn.LSTM).eval()
    inputs = torch.randn(3, 9, 6), torch.tensor([7, 4, 6])
    before = model(*inputs)
    exported_holds(model, *inputs, tolerance=1e-5, normwise=True)
    torch.testing.assert_close(model(*inputs), before, rtol=0, atol=0)
