"""Reading pictures and volumes between their pixels."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes
from enginesmith.converters.torch_models.operators.sizes import Size

aten = torch.ops.aten

BILINEAR, NEAREST, BICUBIC = range(3)
ZEROS, BORDER, REFLECTION = range(3)


def _unnormalized(position: Tensor, size: Size, align_corners: bool) -> Tensor:
    """From -1 … 1 to pixels."""
    return (position + 1) / 2 * (size - 1) if align_corners else ((position + 1) * size - 1) / 2  # type: ignore[no-any-return]


def _inside(position: Tensor, size: Size, padding: int, align_corners: bool) -> Tensor:
    """Positions beyond the picture, brought back to it."""
    if padding == REFLECTION:
        low, span = (0.0, size - 1) if align_corners else (-0.5, size)
        away = (position - low).abs()
        # a picture of one pixel has no span between corners
        span = torch.sym_max(span, 1) if align_corners else span
        turns = torch.floor(away / span)
        extra = away - turns * span
        odd = turns - 2 * torch.floor(turns / 2) > 0
        position = torch.where(odd, span - extra, extra) + low
    return position if padding == ZEROS else position.clamp(0, size - 1)


def read(x: Tensor, positions: list[Tensor], weights: Tensor, padding: int) -> Tensor:
    """Pixels of `x` (N x C x sizes) at whole `positions` (one tensor N x P an axis) times `weights` (N x P): N x C x P; where
    a position lies outside, 0.
    """
    sizes = x.shape[2:]
    place, valid = torch.zeros_like(positions[0], dtype=torch.int64), None
    for position, size in zip(positions, sizes, strict=True):
        if padding == ZEROS:
            inside = torch.logical_and(position >= 0, position <= size - 1)
            valid = inside if valid is None else torch.logical_and(valid, inside)
        place = place * size + position.clamp(0, size - 1).to(torch.int64)
    pixels = x.flatten(2).gather(2, place[:, None, :].expand(-1, x.shape[1], -1))
    if valid is not None:
        weights = torch.where(valid, weights, torch.zeros_like(weights))
    return pixels * weights[:, None, :]


def linear(x: Tensor, positions: list[Tensor], padding: int = ZEROS) -> Tensor:
    """Between the pixels around, each with its share."""
    floors = [torch.floor(position) for position in positions]
    total = None
    for corner in itertools.product((0, 1), repeat=len(positions)):
        weight = torch.ones_like(positions[0])
        for position, floor, upper in zip(positions, floors, corner, strict=True):
            share = position - floor
            weight = weight * (share if upper else 1 - share)
        part = read(x, [floor + upper for floor, upper in zip(floors, corner, strict=True)], weight, padding)
        total = part if total is None else total + part
    assert total is not None
    return total


def _cubic(distance: Tensor) -> Tensor:
    """Keys, "Cubic convolution interpolation", 1981, with a = -0.75, of a distance of at most 2."""
    a = -0.75
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance <= 1, near, far)


def _bicubic(x: Tensor, positions: list[Tensor], padding: int, align_corners: bool) -> Tensor:
    floors = [torch.floor(position) for position in positions]
    shares = [position - floor for position, floor in zip(positions, floors, strict=True)]
    total = None
    for corner in itertools.product((-1, 0, 1, 2), repeat=2):
        weight = torch.ones_like(shares[0])
        places = []
        for floor, share, step, size in zip(floors, shares, corner, x.shape[2:], strict=True):
            weight = weight * _cubic((share - step).abs())
            places.append(_inside(floor + step, size, padding, align_corners))
        part = read(x, places, weight, padding)
        total = part if total is None else total + part
    assert total is not None
    return total


@decomposes(aten.grid_sampler.default, aten.grid_sampler_3d.default, tolerance=2e-6, normwise=True)
def grid_sampler(x: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
    """`x` is N x C x [D x] H x W, `grid` N x [D' x] H' x W' x rank, its last axis in the order x, y, z."""
    rank = x.ndim - 2
    if rank == 2:
        return NotImplemented  # type: ignore[no-any-return]
    where = [
        _unnormalized(grid[..., rank - 1 - axis].flatten(1), x.shape[2 + axis], align_corners) for axis in range(rank)
    ]
    if interpolation_mode == BICUBIC:
        result = _bicubic(x, where, padding_mode, align_corners)
    else:
        where = [
            _inside(position, x.shape[2 + axis], padding_mode, align_corners) for axis, position in enumerate(where)
        ]
        if interpolation_mode == NEAREST:
            places = [torch.round(position) for position in where]
            result = read(x, places, torch.ones_like(where[0]), padding_mode)
        else:
            result = linear(x, where, padding_mode)
    return result.reshape(*x.shape[:2], *grid.shape[1:-1])
