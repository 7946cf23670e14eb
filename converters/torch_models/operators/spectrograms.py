"""Short-time Fourier transforms, there and back: frames by their indices, and their sum by shifted blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.torch_models.operators.complex_arithmetic import mul
from enginesmith.converters.torch_models.operators.fourier import (
    TOLERANCE,
    complex_to_complex,
    complex_to_real,
    real_to_complex,
)
from enginesmith.converters.torch_models.operators.pairs import Pair, each, on_pairs, parts
from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten


@decomposes(aten.stft.default, tolerance=TOLERANCE, normwise=True)
def stft_as_real(
    x: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Any:
    """The old form that returns real numbers."""
    if return_complex:
        return NotImplemented
    z = aten.stft(x, n_fft, hop_length, win_length, window, normalized, onesided, True, align_to_window)
    return torch.view_as_real(z)


@on_pairs(aten.stft.default, tolerance=TOLERANCE)
def stft(
    x: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Any:
    """Of a signal [.., L] frames [.., frequencies, T]; the padding around it, `torch.stft` has done before."""
    if align_to_window:
        raise ConversionError("no graph has stft's align_to_window", "pad the signal and the window before torch.stft")
    hop = hop_length or n_fft // 4
    signal = parts(x)[0]
    real = not isinstance(x, Pair) and not isinstance(window, Pair)
    starts = torch.arange((signal.shape[-1] - n_fft) // hop + 1).unsqueeze(1) * hop
    places = starts + torch.arange(n_fft)
    frames = each(x, lambda part: part[..., places])
    if window is not None or win_length not in (None, n_fft):
        frames = mul(frames, _window(window, win_length, n_fft, signal.dtype))
        frames = frames.re if real else frames
    last = [signal.dim()]
    if real:
        z = real_to_complex(frames, last, int(normalized), onesided is not False)
    else:
        z = complex_to_complex(frames, last, int(normalized), forward=True)
    made = each(z, lambda part: part.transpose(-1, -2))
    return made if return_complex is not False else torch.stack([made.re, made.im], -1)


@on_pairs(aten.istft, tolerance=TOLERANCE)
def istft(
    z: Pair,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Any:
    """Of frames [.., frequencies, T] a signal [.., L]: each transformed back, windowed and added where it came from, and all
    divided by what the squared windows add up to.
    """
    hop = hop_length or n_fft // 4
    frames = each(z, lambda part: part.transpose(-1, -2))
    last, normalization = [z.re.dim() - 1], 1 if normalized else 2
    if return_complex:
        rows: Any = complex_to_complex(frames, last, normalization, forward=False)
    else:
        rows = complex_to_real(frames, last, normalization, n_fft)
    shape = _window(window, win_length, n_fft, z.re.dtype)
    rows = mul(rows, shape)
    rows = rows if return_complex or isinstance(shape, Pair) else rows.re
    count = z.re.shape[-1]
    weights = each(mul(shape, shape), lambda part: _added(part.expand(count, n_fft), n_fft, hop))
    signal = each(rows, lambda part: _added(part, n_fft, hop))
    whole = n_fft + hop * (count - 1)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else whole - start
    kept = min(end, whole)

    def cut(part: Tensor) -> Tensor:
        return part[..., start:kept]

    made = each(signal, lambda part: cut(part) / cut(weights.re))
    return each(made, lambda part: torch.nn.functional.pad(part, (0, end - kept)) if end > kept else part)


def _window(window: Any, win_length: int | None, n_fft: int, dtype: torch.dtype) -> Any:
    """In the middle of n_fft values; ones where none is given."""
    size = win_length or n_fft
    left = (n_fft - size) // 2
    given = torch.ones(size, dtype=dtype) if window is None else window
    return each(given, lambda part: torch.nn.functional.pad(part, (left, n_fft - size - left)))


def _added(frames: Tensor, n_fft: int, hop: int) -> Tensor:
    """Frames [.., T, n_fft] added up at distances of `hop`: cut into blocks of a hop, of which each falls on a block of the sum."""
    blocks = -(-n_fft // hop)
    count = frames.shape[-2]
    padded = torch.nn.functional.pad(frames, (0, blocks * hop - n_fft)).unflatten(-1, (blocks, hop))
    total = sum(
        torch.nn.functional.pad(padded[..., block, :], (0, 0, block, blocks - 1 - block)) for block in range(blocks)
    )
    assert isinstance(total, Tensor)
    return total.flatten(-2)[..., : n_fft + hop * (count - 1)]
