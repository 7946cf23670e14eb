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


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [None, 1])
def test_bags_of_embeddings(mode, padding):
    """Of lengths that are data, one of them empty; and of one length, as rows."""
    table = nn.EmbeddingBag(10, 4, mode=mode, padding_idx=padding)
    ids = torch.tensor([1, 2, 3, 4, 5, 1])
    others = [(torch.tensor([9, 9, 1, 0, 3, 7]), torch.tensor([0, 3, 5]))]
    exported_holds(table, ids, torch.tensor([0, 2, 2]), tolerance=1e-5, normwise=True, others=others)
    exported_holds(table, torch.tensor([[1, 2, 3], [4, 1, 1]]), tolerance=1e-5, normwise=True)


def test_bags_with_weights_and_the_last_end():
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.EmbeddingBag(10, 4, mode="sum", include_last_offset=True)

        def forward(self, ids, ends, weights):
            return self.table(ids, ends, weights)

    inputs = (torch.tensor([1, 2, 3, 4]), torch.tensor([0, 1, 4]), torch.randn(4))
    others = [(torch.tensor([5, 6, 7, 8]), torch.tensor([0, 3, 4]), torch.randn(4))]
    exported_holds(Weighted(), *inputs, tolerance=1e-5, normwise=True, others=others)
