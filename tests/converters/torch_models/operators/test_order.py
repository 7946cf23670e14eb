"""Ranks, medians and modes, against PyTorch's own."""

import pytest
import torch
from operators_support import exported_holds, holds
from torch import nn

from enginesmith.converters.torch_models.operators import order

aten = torch.ops.aten
NAN = torch.nan
MISSING = torch.tensor([[1, NAN, 3, 2, 5, 0], [NAN] * 6, [0, 1, 2, 3, 4, 5]])


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("values", [torch.randn(3, 7), torch.randperm(12).reshape(4, 3), torch.randn(1, 1)])
def test_ranks(values, keepdim):
    for dim in (0, 1, -1):
        for k in range(1, values.shape[dim] + 1):
            holds(aten.kthvalue.default, values, k, dim, keepdim)
        holds(aten.median.dim, values, dim, keepdim)
        holds(aten.nanmedian.dim, values, dim, keepdim)
    holds(aten.median.default, values)
    holds(aten.nanmedian.default, values)


def test_a_number_is_its_own_median():
    for operator in (aten.median.dim, aten.nanmedian.dim, aten.mode.default):
        holds(operator, torch.tensor(3.0), 0)
    holds(aten.kthvalue.default, torch.tensor(3.0), 1)


def test_missing_numbers():
    holds(aten.median.dim, MISSING, 1)
    holds(aten.median.default, MISSING)
    holds(aten.nanmedian.default, MISSING)
    for operator, own in ((aten.nanmedian.dim, order.nanmedian), (aten.median.dim, order.median)):
        torch.testing.assert_close(operator(MISSING, 0)[0], own(MISSING, 0)[0], equal_nan=True)
    for k in (1, 5, 6):  # several NaN are equal: any place will do
        torch.testing.assert_close(
            torch.kthvalue(MISSING, k, 1)[0], order.kthvalue(MISSING, k, 1)[0], rtol=0, atol=0, equal_nan=True
        )


def test_mode():
    for values in (
        torch.randint(0, 4, (3, 9)),
        torch.randn(3, 9).round(),
        torch.tensor([[2.0, 1, 2, 1], [4, 3, 2, 1]]),
    ):
        for dim in (0, -1):
            holds(aten.mode.default, values, dim, True)


def test_stable_sorts_as_a_graph():
    class Sorts(nn.Module):
        def forward(self, x, truth):
            down = torch.sort(x, dim=1, descending=True, stable=True)
            return *x.sort(dim=1, stable=True), *down, *truth.sort(stable=True), x.argsort(dim=-1, stable=True)

    ties = torch.tensor([[3.0, 1, 3, 2, 1, 1], [0, -1, 4, 4, -1, 2]])
    exported_holds(Sorts(), ties, torch.tensor([True, False, True, False]))


def test_order_as_a_graph_of_any_length():
    class Ranks(nn.Module):
        def forward(self, x):
            return *x.median(1), *x.kthvalue(2, 1), *x.nanmedian(1), x.median(), x.quantile(0.3, dim=1)

    length = {1: torch.export.Dim("length", min=2, max=20)}
    exported_holds(Ranks(), torch.randn(3, 7), dynamic_shapes=(length,), others=[(torch.randn(3, 12),)])
