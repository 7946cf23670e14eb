"""Reductions of runs of rows, against PyTorch's own."""

import pytest
import torch
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten


@pytest.mark.parametrize("reduce", ["sum", "mean", "max", "min", "prod"])
@pytest.mark.parametrize("initial", [None, 2.0])
def test_segments(reduce, initial):
    operator = aten.segment_reduce.default
    lengths = torch.tensor([2, 0, 3, 1]) if reduce != "mean" or initial is not None else torch.tensor([2, 1, 3])
    data = torch.randn(int(lengths.sum()), 3)
    named = {"axis": 0, "unsafe": True, "initial": initial}
    holds(operator, data, reduce, lengths=lengths, **named)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    holds(operator, data, reduce, offsets=offsets, **named)
    rows = torch.tensor([[2, 1], [1, 2]])
    holds(operator, torch.randn(2, 3, 4), reduce, lengths=rows, axis=1, unsafe=True, initial=initial)


def test_lengths_that_are_data():
    class Sums(nn.Module):
        def forward(self, x, lengths):
            return torch.segment_reduce(x, "sum", lengths=lengths, unsafe=True)

    others = [(torch.randn(6, 2), torch.tensor([0, 5, 1]))]
    exported_holds(Sums(), torch.randn(6, 2), torch.tensor([1, 2, 3]), tolerance=1e-5, normwise=True, others=others)
