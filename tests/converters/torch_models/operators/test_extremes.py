"""Extremes of single numbers and of all elements, as graphs."""

import torch
from operators_support import exported_holds
from torch import nn


def test_extremes():
    class Extremes(nn.Module):
        def forward(self, x, number):
            return (
                *(torch.amax(x, []), torch.amin(x, [], keepdim=True), torch.amax(number, 0), torch.amin(number, [])),
                *(torch.all(number > 0, 0), torch.any(number > 0, 0), torch.all(x > 0, 1)),
            )

    exported_holds(Extremes(), torch.randn(3, 4), torch.tensor(1.5), tolerance=0)
