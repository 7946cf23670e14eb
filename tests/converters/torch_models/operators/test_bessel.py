"""Modified Bessel functions, against PyTorch's own."""

import pytest
import torch
from operators_support import holds

aten = torch.ops.aten
VALUES = torch.cat([torch.linspace(-30, 30, 2001), torch.tensor([0.0, 8, -8, 1e-20, 85, 200, -200, torch.nan])])


@pytest.mark.parametrize("name", ["i0", "special_i0e", "special_i1", "special_i1e"])
def test_modified_bessel(name):
    operator = getattr(aten, name).default
    holds(operator, VALUES)
    holds(operator, torch.tensor([0, 1, -3]))


@pytest.mark.parametrize("name", ["", "scaled_"])
@pytest.mark.parametrize("order", [0, 1])
def test_second_kind(name, order):
    operator = getattr(aten, f"special_{name}modified_bessel_k{order}").default
    holds(operator, torch.cat([torch.linspace(0.01, 30, 2001), torch.tensor([2.0, 1e-20, 60, -1, 0, torch.inf])]))
    holds(operator, torch.tensor([0, 1, 3]))
