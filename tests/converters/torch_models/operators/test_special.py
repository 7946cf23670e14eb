"""Special functions against PyTorch's own."""

import pytest
import torch
from operators_support import EDGES, exported_holds, holds, pairs
from torch import nn

aten = torch.ops.aten


def test_hypot():
    holds(aten.hypot.default, *pairs(EDGES))
    holds(aten.hypot.default, torch.randn(3, 1, 5) * 1e20, torch.randn(4, 5) * 1e20)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_hypot_in_other_floats(dtype):
    holds(aten.hypot.default, torch.randn(50).to(dtype), torch.randn(50).to(dtype))


def test_hypot_as_a_graph():
    class Length(nn.Module):
        def forward(self, x, y):
            return torch.hypot(x, y)

    exported_holds(Length(), torch.randn(3, 4), torch.randn(4))
