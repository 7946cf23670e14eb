"""Running extremes, products and sums, against PyTorch's own."""

import pytest
import torch
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten
INF, NAN = torch.inf, torch.nan
VALUES = {
    "random": torch.randn(3, 7),
    "long": torch.randn(2, 100),
    "one": torch.randn(1, 1),
    "no rows": torch.randn(0, 3),
    "none": torch.randn(3, 0),
    "number": torch.tensor(2.0),
    "ties and NaN": torch.tensor([1.0, 1, 2, 2, NAN, 3, NAN, 1, INF]),
    "infinities": torch.tensor([-INF, -INF, 1, INF, INF]),
    "zeros": torch.tensor([1.0, 0, 2, -0.0, -1]),
}
RUNNING = (aten.cummax.default, aten.cummin.default, aten.cumprod.default, aten.logcumsumexp.default)


@pytest.mark.parametrize("operator", RUNNING)
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_running(operator, values):
    for dim in range(-values.ndim, values.ndim) or (0,):
        holds(operator, values, dim)


@pytest.mark.parametrize("operator", RUNNING[:3])
def test_running_over_integers(operator):
    holds(operator, torch.randint(-3, 4, (4, 9)), 1)
    holds(operator, torch.randint(0, 4, (4, 3), dtype=torch.uint8), 0)
    holds(operator, torch.rand(6) > 0.5, 0)


def test_sums_of_exponentials_neither_overflow_nor_lose_the_small():
    holds(aten.logcumsumexp.default, torch.tensor([-200.0, -201, 300, 301, -5]), 0)


def test_running_as_a_graph_of_any_length():
    class Running(nn.Module):
        def forward(self, x):
            return *torch.cummax(x, 1), *torch.cummin(x, -1), x.cumprod(1), x.logcumsumexp(1)

    length = {1: torch.export.Dim("length", max=20)}
    exported_holds(
        Running(),
        torch.randn(3, 7),
        dynamic_shapes=(length,),
        others=[(torch.randn(3, 20),)],
        tolerance=1e-5,
        normwise=True,
    )
