"""Writing at positions, against PyTorch's own."""

import pytest
import torch
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten
REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


FORMS = [(reduce, False) for reduce in REDUCTIONS] + [("mean", True)]
"""The exporter's own translation takes the rest."""


@pytest.mark.parametrize(("reduce", "include_self"), FORMS)
@pytest.mark.parametrize("whole", [False, True])
def test_scatter_reduce(reduce, include_self, whole):
    x, src = (
        (torch.randint(-9, 9, (3, 5)), torch.randint(-9, 9, (3, 6)))
        if whole
        else (torch.randn(3, 5), torch.randn(3, 6))
    )
    holds(aten.scatter_reduce.two, x, 1, torch.randint(0, 5, (3, 4)), src, reduce, include_self=include_self)
    holds(aten.scatter_reduce.two, x, -2, torch.randint(0, 3, (2, 5)), src, reduce, include_self=include_self)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", REDUCTIONS[1:])
def test_index_reduce(reduce, include_self):
    index = torch.tensor([1, 1, 4])
    holds(aten.index_reduce.default, torch.randn(3, 5), 1, index, torch.randn(3, 3), reduce, include_self=include_self)


def test_a_source_larger_than_the_index():
    x, index, src = torch.randn(4, 5), torch.tensor([[0, 3], [4, 1], [2, 0]]), torch.randn(3, 7)
    holds(aten.scatter.src, x, 1, index, src)
    holds(aten.scatter_add.default, x, 1, index, src)
    holds(aten.scatter_reduce.two, x, 1, index, src, "amax")


def test_put():
    for accumulate in (False, True):
        holds(aten.put.default, torch.randn(3, 5), torch.tensor([[1, -2, 6]]), torch.randn(1, 3), accumulate)
    holds(aten.put.default, torch.randn(3, 5), torch.tensor([1, 1, -14]), torch.randn(3), True)


def test_scatter_of_a_number_with_a_reduction():
    index = torch.tensor([[0, 0, 3], [2, 2, 2]])
    for reduce in ("add", "multiply"):
        holds(aten.scatter.value_reduce, torch.randn(3, 5), 1, index, 2.5, reduce=reduce)
        holds(aten.scatter.reduce, torch.randn(3, 5), 1, index, torch.randn(2, 3), reduce=reduce)


def test_reductions_as_a_graph_of_any_size():
    class Pool(nn.Module):
        def forward(self, x, groups, values):
            mean = x.scatter_reduce(0, groups, values, "mean", include_self=False)
            return mean, x.index_reduce(0, groups[:, 0], values, "amax", include_self=False)

    n, k = torch.export.Dim("n", max=50), torch.export.Dim("k", max=50)
    exported_holds(
        Pool(),
        torch.randn(5, 3),
        torch.randint(0, 5, (4, 3)),
        torch.randn(4, 3),
        dynamic_shapes=({0: n}, {0: k}, {0: k}),
    )


def test_index_reduce_of_a_number():
    for reduce in ("mean", "prod", "amax", "amin"):
        x, index, source = torch.tensor(2.0), torch.tensor([0]), torch.tensor(3.0)
        holds(aten.index_reduce.default, x, 0, index, source, reduce)
