"""Quotients, remainders, common divisors and signs against PyTorch's own."""

import pytest
import torch
from operators_support import EDGES, exported_holds, holds, pairs
from torch import nn

aten = torch.ops.aten


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_quotients_are_rounded_down_as_pytorch_does(dtype):
    tenths = torch.cat([torch.arange(-60, 60) / 10, torch.randn(2000) * 10]).to(dtype)
    steps = torch.cat([torch.full((120,), 0.1), torch.randn(2000)]).to(dtype)
    ends = pairs(EDGES.to(dtype))
    known = torch.logical_or(
        ~torch.isfinite(ends[0]), torch.isfinite(ends[0] / ends[1])
    )  # PyTorch's fmod of vectors has NaN beyond
    for x, y in ((tenths, steps), (ends[0][known], ends[1][known])):
        holds(aten.floor_divide.default, x, y)
        holds(aten.div.Tensor_mode, x, y, rounding_mode="floor")
        holds(aten.remainder.Tensor, x, y)
    holds(aten.floor_divide.Scalar, tenths, 0.2)
    holds(aten.remainder.Scalar, tenths, -3)


def test_as_a_graph():
    class Cells(nn.Module):
        def forward(self, x, i, j):
            return x // 0.1, x % 0.1, torch.div(x, 0.3, rounding_mode="trunc"), torch.gcd(i, j), i // j, i % j

    i, j = torch.randint(-90, 90, (2, 30))
    exported_holds(Cells(), torch.arange(-30, 30) / 10, i, torch.where(j == 0, 7, j))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64])
def test_common_divisors(dtype):
    largest = torch.iinfo(dtype).max
    fibonacci = [1, 1]
    while sum(fibonacci[-2:]) <= largest:
        fibonacci.append(sum(fibonacci[-2:]))
    worst, other = torch.tensor(fibonacci[-2:], dtype=dtype), torch.tensor(fibonacci[-2:][::-1], dtype=dtype)
    random = torch.randint(0, min(largest, 10**6), (2, 300)).to(dtype)
    for x, y in ((worst, other), random, (random[0] * 0, random[1]), (random[0] % 30, random[1] % 30)):
        holds(aten.gcd.default, x, y)
        holds(aten.lcm.default, x % 11, y % 11)


def test_large_integers_are_divided_exactly():
    class Left(nn.Module):
        def forward(self, x, y):
            return torch.fmod(x, y), torch.fmod(x, 7), torch.gcd(x, y), torch.div(x, y, rounding_mode="trunc")

    x = torch.tensor([2**62 + 1, -(2**62) - 3, 2**53 + 1, -7, 7])
    exported_holds(Left(), x, torch.tensor([10, 2**40 + 5, -3, 4, -4]))


def test_signs_of_edges():
    holds(aten.sign.default, EDGES)
    holds(aten.sgn.default, EDGES)
