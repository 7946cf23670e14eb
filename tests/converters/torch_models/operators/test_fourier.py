"""Fourier transforms on pairs against PyTorch's."""

import pytest
import torch
from operators_support import exported_holds, pairs_hold
from torch import nn

aten = torch.ops.aten

SIZES = (1, 2, 3, 4, 7, 16, 45, 128, 130, 257, 360, 1024, 1009)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("normalization", [0, 1, 2])
def test_transforms_of_every_length(size, normalization):
    z, x = torch.randn(3, size, dtype=torch.complex64), torch.randn(3, size)
    for forward in (True, False):
        pairs_hold(aten._fft_c2c, z, [1], normalization, forward)
    for onesided in (True, False):
        pairs_hold(aten._fft_r2c, x, [1], normalization, onesided)
    pairs_hold(aten._fft_c2r, torch.fft.rfft(x), [1], normalization, size)


def test_long_prime_lengths():
    pairs_hold(aten._fft_c2c, torch.randn(2053, dtype=torch.complex64), [0], 0, True)
    pairs_hold(aten._fft_r2c, torch.randn(2, 4099), [1], 0, True)


def test_several_dimensions():
    x = torch.randn(3, 5, 8, 6)
    pairs_hold(aten._fft_r2c, x, [1, 3, 2], 1, True)
    pairs_hold(aten._fft_r2c, x, [0, 2], 0, False)
    pairs_hold(aten._fft_c2c, torch.complex(x, x.flip(0)), [0, 2, 3], 2, False)
    pairs_hold(aten._fft_c2r, torch.fft.rfft2(x), [2, 3], 2, 6)
    pairs_hold(aten._fft_c2r, torch.fft.rfft2(x), [2, 3], 2, 7) if x.shape[-1] // 2 == 3 else None


def test_in_float64():
    pairs_hold(aten._fft_c2c, torch.randn(2, 200, dtype=torch.complex128), [1], 0, True)


class Filtered(nn.Module):
    """A filter in the frequency domain."""

    def forward(self, x):
        spectrum = torch.fft.rfft(x, dim=-1)
        return torch.fft.irfft(spectrum * torch.linspace(1, 0, spectrum.shape[-1]), n=x.shape[-1], dim=-1)


class Mixed(nn.Module):
    """As in FNet: the real part of a transform over two dimensions."""

    def forward(self, x):
        return torch.fft.fftshift(torch.fft.fft2(x, dim=(1, 2), norm="ortho")).real


def test_a_filter_as_a_graph():
    exported_holds(Filtered(), torch.randn(3, 12), tolerance=1e-5, normwise=True)


def test_mixing_as_a_graph_of_any_batch():
    exported_holds(
        Mixed(),
        torch.randn(3, 6, 10),
        dynamic_shapes=({0: torch.export.Dim("n", min=1, max=9)},),
        tolerance=1e-5,
        normwise=True,
    )


def test_a_length_known_at_run_time_only():
    exported_holds(
        Filtered(),
        torch.randn(3, 13),
        dynamic_shapes=({1: torch.export.Dim("n", min=4, max=99)},),
        tolerance=1e-5,
        normwise=True,
    )


class Phase(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).angle()[..., :: x.shape[-1] // 2]


@pytest.mark.parametrize("size", [16, 30, 64, 400])
def test_what_is_real_by_symmetry_has_no_negative_zero(size):
    """The angle of the first and the middle value is π where they are negative, and never -π."""
    exported_holds(Phase(), torch.randn(6, size))
