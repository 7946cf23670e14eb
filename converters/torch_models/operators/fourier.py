"""Discrete Fourier transforms as products with constant matrices, which every engine has and computes fast.

A length that is a product is done in two steps, with a turn between them (J. W. Cooley and J. W. Tukey, 1965, in the
"four-step" form of D. H. Bailey, 1990); a prime one above `DIRECT` as a convolution of chirps (L. Bluestein, 1970). The angles
are computed in float64. A length that is known at run time only has its matrix computed in the graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.complex_arithmetic import mul
from enginesmith.converters.torch_models.operators.complex_layout import conj
from enginesmith.converters.torch_models.operators.pairs import Pair, each, on_pairs, pair, parts
from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

TOLERANCE = 1e-5
"""Relative to the largest magnitude in the result. Against float64, standard normal
numbers, 22 lengths of 2 to 8192, primes among them: 5.5e-7 at most (4093)."""
FACTOR = 128
"""A longer transform is done in steps where its length can be divided."""
DIRECT = 2048
"""The longest that is one product whatever its length: 2 x 16 MB of matrix."""


@decomposes(aten.fft_fftfreq.default)
def fftfreq(n: int, d: float = 1.0, **how: Any) -> Tensor:
    """Of the bins of a transform, from 0 up and then the negative ones."""
    places = torch.arange(n, **how | _floating(how))
    return torch.where(places < (n + 1) // 2, places, places - n) * (1.0 / (n * d))


@decomposes(aten.fft_rfftfreq.default)
def rfftfreq(n: int, d: float = 1.0, **how: Any) -> Tensor:
    """Of the bins that a real transform keeps."""
    return torch.arange(n // 2 + 1, **how | _floating(how)) * (1.0 / (n * d))


def _floating(how: dict[str, Any]) -> dict[str, Any]:
    return {"dtype": how.get("dtype") or torch.get_default_dtype()}


@on_pairs(aten._fft_r2c, tolerance=TOLERANCE)
def real_to_complex(x: Tensor, dim: list[int], normalization: int, onesided: bool) -> Pair:
    """The last of `dim` is the one of which only half is kept."""
    last = dim[-1]
    size = x.shape[last]
    z = _along(x, last, lambda row: _symmetric(_half(row, size) if onesided else transform(row, size), size))
    for axis in dim[:-1]:
        z = _along(z, axis, lambda row: transform(row, row.re.shape[-1]))
    return _scaled(z, [x.shape[axis] for axis in dim], normalization)


@on_pairs(aten._fft_c2c, tolerance=TOLERANCE)
def complex_to_complex(z: Any, dim: list[int], normalization: int, forward: bool) -> Pair:
    sizes = [parts(z)[0].shape[axis] for axis in dim]
    for axis in dim:
        z = _along(z, axis, lambda row: transform(row, parts(row)[0].shape[-1], forward))
    return _scaled(z, sizes, normalization)


@on_pairs(aten._fft_c2r, tolerance=TOLERANCE)
def complex_to_real(z: Any, dim: list[int], normalization: int, last_dim_size: int) -> Tensor:
    """Of the last of `dim` there is half; the imaginary parts of its first and middle value don't count."""
    for axis in dim[:-1]:
        z = _along(z, axis, lambda row: transform(row, parts(row)[0].shape[-1], forward=False))
    sizes = [*(parts(z)[0].shape[axis] for axis in dim[:-1]), last_dim_size]
    z = _along(z, dim[-1], lambda row: _from_half(row, last_dim_size))
    return _scaled(z, sizes, normalization).re


def _along(z: Any, dim: int, function: Callable[[Any], Pair]) -> Pair:
    """Apply a function of rows along a dimension. They are made contiguous, since a product of others asks for relations
    between dynamic sizes.
    """
    made = function(each(z, lambda part: part.movedim(dim, -1).contiguous()))
    return Pair(made.re.movedim(-1, dim), made.im.movedim(-1, dim))


def _scaled(z: Pair, sizes: list[int], normalization: int) -> Pair:
    """0: as it is, 1: divided by the root of the size, 2: by the size."""
    if normalization == 0:
        return z
    if all(isinstance(size, int) for size in sizes):
        size = math.prod(sizes)
        factor: Any = 1 / (math.sqrt(size) if normalization == 1 else size)
        return Pair(z.re * factor, z.im * factor)
    length = torch.ones((), dtype=z.re.dtype)
    for size in sizes:
        length = length * torch.scalar_tensor(size, dtype=z.re.dtype)
    length = length.sqrt() if normalization == 1 else length
    return Pair(z.re / length, z.im / length)


def transform(z: Any, size: int, forward: bool = True) -> Pair:
    """The last dimension, of the length `size`, without a factor; z may be real."""
    if not isinstance(size, int):
        return _multiplied(z, *_matrix_at_run_time(size, size, size, parts(z)[0].dtype, forward))
    first = _factor(size)
    if size <= FACTOR or (first == 1 and size <= DIRECT):
        return _multiplied(z, *_matrix(size, size, size, parts(z)[0].dtype, forward))
    return _by_chirps(z, size, forward) if first == 1 else _in_steps(z, first, size // first, forward)


def _factor(size: int) -> int:
    """The largest divisor up to `FACTOR`."""
    return max((factor for factor in range(2, FACTOR + 1) if size % factor == 0 and factor < size), default=1)


def _in_steps(z: Any, first: int, second: int, forward: bool) -> Pair:
    """Value j = second * a + b becomes k = c + first * d: over a, a turn by b * c, over b."""
    columns = transform(
        each(z, lambda part: _swapped(part.unflatten(-1, (first, second)))), first, forward
    )  # [.., b, c]
    turned = mul(columns, Pair(*_matrix(second, first, first * second, columns.re.dtype, forward)))
    rows: Pair = transform(each(turned, _swapped), second, forward)  # [.., c, d]
    return Pair(_swapped(rows.re).flatten(-2), _swapped(rows.im).flatten(-2))


def _swapped(part: Tensor) -> Tensor:
    return part.transpose(-1, -2).contiguous()


def _by_chirps(z: Any, size: int, forward: bool) -> Pair:
    """2jk = j² + k² - (k - j)²: a convolution with a chirp, done by transforms of a length that is a power of 2."""
    long = 1 << (2 * size - 2).bit_length()
    dtype = parts(z)[0].dtype
    place = np.arange(size, dtype=np.int64)
    angles = (-1 if forward else 1) * np.pi * (place * place % (2 * size)) / size
    around = np.zeros(long, np.complex128)
    around[:size] = np.exp(-1j * angles)
    around[long - size + 1 :] = around[1:size][::-1]
    chirp, spectrum = _constants(np.exp(1j * angles), dtype), _constants(np.fft.fft(around) / long, dtype)
    turned = mul(z, Pair(*chirp))
    padded = Pair(*(torch.nn.functional.pad(part, (0, long - size)) for part in (turned.re, turned.im)))
    met = transform(mul(transform(padded, long), Pair(*spectrum)), long, forward=False)
    return mul(Pair(*(part.narrow(-1, 0, size) for part in (met.re, met.im))), Pair(*chirp))


def _half(x: Tensor, size: int) -> Pair:
    """The first size // 2 + 1 values of the transform of real rows."""
    kept = size // 2 + 1
    if not isinstance(size, int):
        return _multiplied(x, *_matrix_at_run_time(size, kept, size, x.dtype, forward=True))
    if size <= FACTOR or (_factor(size) == 1 and size <= DIRECT):
        return _multiplied(x, *_matrix(size, kept, size, x.dtype, forward=True))
    whole = transform(x, size)
    return Pair(whole.re.narrow(-1, 0, kept), whole.im.narrow(-1, 0, kept))


def _from_half(z: Any, size: int) -> Pair:
    """Real rows of the length `size` from the size // 2 + 1 first values of their transform."""
    kept = size // 2 + 1
    z = each(z, lambda part: part.narrow(-1, 0, kept).contiguous())
    re, im = parts(z)
    if not isinstance(size, int) or size <= FACTOR or (_factor(size) == 1 and size <= DIRECT):
        make = _matrix if isinstance(size, int) else _matrix_at_run_time
        cosines, sines = make(kept, size, size, re.dtype, forward=False)
        # the others stand for their mirror image too
        weights = torch.where(_alone(kept, size), 1.0, 2.0).to(re.dtype).unsqueeze(1)
        made = re @ (cosines * weights)
        made = made - im @ (sines * weights) if isinstance(im, Tensor) else made
        return pair(made, None)
    mirrored = conj(each(z, lambda part: part.narrow(-1, 1, size - kept).flip(-1)))
    whole = [
        None if part is None else torch.cat([part, other], -1)
        for part, other in zip((re, im), parts(mirrored), strict=True)
    ]
    return transform(pair(*whole), size, forward=False)


def _alone(kept: Any, size: Any) -> Tensor:
    """Of the first `kept` places of a transform, those that are their own mirror image: the first, and the middle one if there is."""
    place = torch.arange(kept)
    return torch.logical_or(place == 0, place * 2 == size)


def _symmetric(z: Pair, size: Any) -> Pair:
    """The transform of real rows, real where they make it so, as PyTorch's is: the angle of a negative number with the imaginary
    part -1e-15 is -π, and π without."""
    alone = _alone(z.re.shape[-1], size)
    return Pair(z.re, torch.where(alone, torch.zeros((), dtype=z.im.dtype), z.im))


def _multiplied(z: Any, cosines: Tensor, sines: Tensor) -> Pair:
    """Times a complex matrix; a real row times both parts of it at once."""
    re, im = parts(z)
    if not isinstance(im, Tensor):
        both = re @ torch.cat([cosines, sines], -1)
        return Pair(*both.split(cosines.shape[-1], -1))
    return Pair(re @ cosines - im @ sines, re @ sines + im @ cosines)


def _matrix(rows: int, columns: int, size: int, dtype: torch.dtype, forward: bool) -> tuple[Tensor, Tensor]:
    """exp(-+2πi jk / size)."""
    turns = np.outer(np.arange(rows, dtype=np.int64), np.arange(columns, dtype=np.int64)) % size
    return _constants(np.exp((-2j if forward else 2j) * np.pi * turns / size), dtype)


def _constants(values: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return torch.tensor(values.real, dtype=dtype), torch.tensor(values.imag, dtype=dtype)


def _matrix_at_run_time(rows: Any, columns: Any, size: Any, dtype: torch.dtype, forward: bool) -> tuple[Tensor, Tensor]:
    turns = torch.arange(rows).unsqueeze(1) * torch.arange(columns) % size
    angles = turns.to(dtype) * ((-2 if forward else 2) * math.pi) / torch.scalar_tensor(size, dtype=dtype)
    return torch.cos(angles), torch.sin(angles)
