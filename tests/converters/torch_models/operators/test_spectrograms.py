"""Short-time transforms against PyTorch's."""

import pytest
import torch
from operators_support import exported_holds, holds, pairs_hold
from torch import nn

aten = torch.ops.aten

FORMS = [(16, 4, 16), (16, 5, 16), (20, 5, 12), (400, 160, 400), (16, 16, 16)]


@pytest.mark.parametrize(("n_fft", "hop", "length"), FORMS)
def test_frames(n_fft, hop, length):
    x, window = torch.randn(2, 1000), torch.hann_window(length)
    pairs_hold(aten.stft.default, x, n_fft, hop, length, window, False, True, True)
    pairs_hold(aten.stft.default, x[0], n_fft, hop, length, window, True, False, True)
    pairs_hold(aten.stft.default, x, n_fft, hop, return_complex=True)


def test_frames_of_a_complex_signal():
    pairs_hold(
        aten.stft.default,
        torch.randn(2, 100, dtype=torch.complex64),
        16,
        4,
        16,
        torch.hann_window(16),
        False,
        False,
        True,
    )


def test_frames_as_real_numbers():
    holds(aten.stft.default, torch.randn(2, 100), 16, 4, 16, torch.hann_window(16), False, True, False)


@pytest.mark.parametrize(("n_fft", "hop", "length"), FORMS[:-1])
@pytest.mark.parametrize("named", [{}, {"length": 1599}, {"length": 77}, {"normalized": True}])
def test_there_and_back(n_fft, hop, length, named):
    window = torch.hamming_window(length)
    z = torch.stft(torch.randn(2, 1600), n_fft, hop, length, window, return_complex=True)
    pairs_hold(aten.istft, z, n_fft, hop, length, window, **named)
    pairs_hold(aten.istft, z[0], n_fft, hop, length, window, **named)


def test_back_without_centre_or_window():
    z = torch.stft(torch.randn(2, 160), 16, 4, center=False, window=torch.ones(16), return_complex=True)
    pairs_hold(aten.istft, z, 16, 4, center=False)


class Vocoder(nn.Module):
    """A network between there and back."""

    def __init__(self):
        super().__init__()
        self.register_buffer("window", torch.hann_window(32))

    def forward(self, wave):
        z = torch.stft(wave, 32, 8, window=self.window, return_complex=True)
        return torch.istft(torch.polar(z.abs().sqrt(), z.angle()), 32, 8, window=self.window)


def test_there_and_back_as_a_graph():
    exported_holds(Vocoder(), torch.randn(2, 256), tolerance=2e-5, normwise=True)


def test_a_signal_of_any_length():
    shapes = ({1: 8 * torch.export.Dim("frames", min=8, max=99)},)
    exported_holds(Vocoder(), torch.randn(2, 256), dynamic_shapes=shapes, tolerance=2e-5, normwise=True)
