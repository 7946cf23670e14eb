"""Airy's function, against PyTorch's own in float64."""

import torch

from enginesmith.converters.torch_models.operators.airy import airy_ai


def test_airy():
    x = torch.cat([torch.linspace(-20, 20, 4001), torch.tensor([0.0, 2.09, -2.09, 1e-20, 100, 300])])
    wanted = torch.special.airy_ai(x.double())
    torch.testing.assert_close(airy_ai(x), wanted.float(), rtol=2e-5, atol=4e-6)
    right = x > 0
    torch.testing.assert_close(airy_ai(x[right]), wanted[right].float(), rtol=4e-5, atol=1e-38)


def test_ends():
    assert airy_ai(torch.tensor([torch.inf, -torch.inf, torch.nan])).isnan().all()
