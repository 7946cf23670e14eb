"""Tensors moved about, against PyTorch."""

import pytest
import torch
from operators_support import exported_holds, holds
from torch import nn


class HalfRound(nn.Module):
    """As fftshift does."""

    def forward(self, x):
        return x.roll((x.shape[0] // 2, 1), (0, 1)), x.roll(-x.shape[0])


def test_a_roll_by_half_of_a_dynamic_size():
    for size in (4, 7):
        exported_holds(HalfRound(), torch.randn(size, 3), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=99)},))


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 3, 9])
@pytest.mark.parametrize("dims", [(0, 1), (2, 0), (-1, -2)])
def test_diagonal(offset, dims):
    x = torch.randn(4, 5, 6)
    x[0, 1, 2] = torch.inf
    holds(torch.ops.aten.diagonal.default, x, offset, *dims)


class Diagonals(nn.Module):
    def forward(self, x):
        return x.diagonal(1), x.diagonal(-1, 2, 0).trace()


def test_diagonals_of_dynamic_sizes():
    shapes = ({0: torch.export.Dim("n", min=3, max=9), 1: torch.export.Dim("m", min=3, max=9)},)
    exported_holds(Diagonals(), torch.randn(4, 5, 6), dynamic_shapes=shapes, others=[(torch.randn(7, 3, 6),)])


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 3])
@pytest.mark.parametrize("dims", [(0, 1), (2, 0), (-1, -2)])
def test_diagonal_scatter(offset, dims):
    x = torch.randn(4, 5, 6)
    holds(torch.ops.aten.diagonal_scatter.default, x, torch.randn_like(x.diagonal(offset, *dims)), offset, *dims)


def test_what_is_written_by_strides():
    x = torch.randn(4, 5)
    holds(torch.ops.aten.as_strided_scatter.default, x, torch.randn(4), [4], [6], 0)
    holds(torch.ops.aten.as_strided_scatter.default, x, torch.randn(2, 3), [2, 3], [5, 1], 6)

    class Diagonal(nn.Module):
        def forward(self, x):
            z = x.clone()
            z.fill_diagonal_(7.0)
            return z

    exported_holds(Diagonal(), torch.randn(4, 4))
    exported_holds(Diagonal(), torch.randn(9, 3))
