"""Places, counts and distinct values, against PyTorch's own."""

import itertools

import pytest
import torch
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten
EDGES = torch.tensor([-1.0, 0, 0.5, 0.5, 2])
SORTED = [
    (EDGES, torch.tensor([-2.0, -1, 0.5, 2, 3, torch.nan, torch.inf])),
    (EDGES, torch.tensor(0.3)),
    (EDGES, torch.randn(0)),
    (torch.randn(0), torch.randn(3)),
    (torch.randn(3, 7).sort(1)[0], torch.randn(3, 4)),
    (torch.arange(200.0), torch.tensor([-1.0, 0, 3.5, 199, 200, 77, torch.nan])),
    (torch.randn(2, 3, 100).sort(-1)[0], torch.randn(2, 3, 4)),
    (torch.tensor([1, 3, 5]), torch.tensor([1, 2, 3, 5, 6])),
]


@pytest.mark.parametrize(("right", "small"), [*itertools.product([False, True], repeat=2)])
def test_searchsorted(right, small):
    for ordered, x in SORTED:
        holds(aten.searchsorted.Tensor, ordered, x, out_int32=small, right=right)
        if ordered.ndim == 1:
            holds(aten.bucketize.Tensor, x, ordered, out_int32=small, right=right)
    holds(aten.searchsorted.Scalar, EDGES, 0.5, out_int32=small, right=right)
    holds(aten.bucketize.Scalar, 0.5, EDGES, out_int32=small, right=right)


def test_searchsorted_by_side_and_sorter():
    mixed = EDGES[[2, 0, 4, 1, 3]]
    holds(aten.searchsorted.Tensor, mixed, torch.randn(5), sorter=mixed.argsort())
    holds(aten.searchsorted.Tensor, EDGES, EDGES, side="right")


@pytest.mark.parametrize("values", [torch.randn(30), torch.tensor([-2.0, 2, 1, 0, -0.5]), torch.ones(2, 2)])
def test_histograms(values):
    for limits in ((5, -2, 2), (5,), (7, 1, 1)):
        holds(aten.histc.default, values, *limits)
    for weight, density in itertools.product([None, torch.rand(values.shape)], [False, True]):
        if int(((values >= -2) & (values <= 2)).sum()):
            holds(aten.histogram.bin_ct, values, 5, range=(-2.0, 2.0), weight=weight, density=density)
        holds(aten.histogram.bin_ct, values, 4, weight=weight, density=density)
        edges = EDGES[[0, 1, 2, 4]]
        holds(aten.histogram.bins_tensor, values, edges, weight=weight, density=density)


def test_bincount():
    x = torch.randint(0, 9, (20,))
    for minlength in (0, 5, 20):
        holds(aten.bincount.default, x, None, minlength)
        holds(aten.bincount.default, x, torch.randn(20), minlength)


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor([3, 1, 3, 7, 1]),
        torch.tensor([2.0, 2, 1]),
        torch.tensor([], dtype=torch.int64),
        torch.tensor([5]),
        torch.randint(0, 2, (9, 3, 2)),
    ],
)
def test_distinct(values):
    holds(aten._unique2.default, values, True, True, True)
    holds(aten.unique_consecutive.default, values, True, True)
    for dim in range(values.ndim if values.numel() else 0):
        holds(aten.unique_dim.default, values, dim, True, True, True)
        holds(aten.unique_consecutive.default, values, True, True, dim)


def test_search_as_a_graph():
    class Places(nn.Module):
        def forward(self, ordered, x):
            return (
                torch.searchsorted(ordered, x),
                torch.histc(x, 4, -1, 1),
                *torch.unique(x.round(), return_counts=True),
            )

    n, m = torch.export.Dim("n", max=100), torch.export.Dim("m", max=50)
    exported_holds(Places(), EDGES, torch.randn(3, 4), dynamic_shapes=({0: n}, {1: m}))


def test_nonzero_of_a_static_size():
    x = torch.tensor([[0, 2, 0], [1, 0, 3]])
    for size in (0, 2, 3, 5):
        holds(aten.nonzero_static.default, x, size=size)
        holds(aten.nonzero_static.default, x, size=size, fill_value=7)


def test_combinations_as_a_graph():
    class Pairs(nn.Module):
        def forward(self, x):
            return torch.combinations(x, r=2)

    exported_holds(Pairs(), torch.randn(5), tolerance=0)


def test_which_elements_are_among_others():
    """More of them than PyTorch compares one by one, and fewer."""
    few, many = torch.randint(0, 9, (3, 4)), torch.randint(0, 9, (40,))
    for elements, sought in ((few, many), (many, few), (few.float(), torch.tensor([torch.nan, 3.0]))):
        holds(torch.ops.aten.isin.Tensor_Tensor, elements, sought)
        holds(torch.ops.aten.isin.Tensor_Tensor, elements, sought, invert=True)


def test_repeats_of_a_told_number():
    repeats = torch.tensor([1, 3, 0, 2])
    holds(aten.repeat_interleave.Tensor, repeats, output_size=6)
    holds(aten.repeat_interleave.Tensor, repeats.int(), output_size=6)

    class Regulator(nn.Module):
        def forward(self, x, n):
            return torch.repeat_interleave(x, n, dim=1, output_size=6)

    exported_holds(Regulator(), torch.randn(1, 4, 3), repeats)
