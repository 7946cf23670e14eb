"""Antialiased resizing by factors against PyTorch's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten
FACTORS = st.floats(0.15, 2.5)


@pytest.mark.parametrize("operator", [aten._upsample_bilinear2d_aa, aten._upsample_bicubic2d_aa])
@settings(deadline=None)
@given(height=st.integers(7, 19), width=st.integers(7, 19), down=FACTORS, across=FACTORS)
def test_any_factor(operator, height, width, down, across):
    x = torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(0))
    # whole factors are left to the exporter; to one column PyTorch is wrong (two calls, an axis each, differ from one)
    if height * down != int(height * down) and int(width * across) > 1:
        holds(operator.vec, x, None, False, [down, across])
        holds(operator.default, x, [int(height * down), int(width * across)], False, down, across)


def test_as_a_graph():
    class Smaller(nn.Module):
        def forward(self, x):
            linear = nn.functional.interpolate(x, scale_factor=0.6, mode="bilinear", antialias=True)
            return linear, nn.functional.interpolate(x, scale_factor=(0.45, 0.7), mode="bicubic", antialias=True)

    exported_holds(Smaller(), torch.randn(1, 2, 8, 9), normwise=True)
