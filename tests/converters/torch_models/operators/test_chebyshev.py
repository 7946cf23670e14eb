"""Chebyshev's polynomials, against PyTorch's own in float64."""

import pytest
import torch
from operators_support import pairs

from enginesmith.converters.torch_models.operators.registry import decompositions

aten = torch.ops.aten
PLACES = torch.cat([torch.linspace(-2, 2, 41), torch.tensor([0.999, -0.999, 0.0, 0.5])])
DEGREES = torch.tensor([-2.0, -0.5, 0, 1, 2, 3, 4.5, 6, 7, 8, 9, 12])


@pytest.mark.parametrize("kind", ["t", "u", "v", "w"])
@pytest.mark.parametrize("shifted", ["", "shifted_"])
def test_chebyshev(kind, shifted):
    packet = getattr(aten, f"special_{shifted}chebyshev_polynomial_{kind}")
    x, n = (each.reshape(-1) for each in torch.meshgrid(PLACES, DEGREES, indexing="ij"))

    def close(operator, *arguments):
        exact = [each.double() if isinstance(each, torch.Tensor) else each for each in arguments]
        wanted = operator(*exact).float()
        torch.testing.assert_close(decompositions()[operator].function(*arguments), wanted, rtol=1e-4, atol=1e-4)

    close(packet.default, x, n)
    close(packet.n_scalar, PLACES, 5)
    close(packet.x_scalar, 0.3, DEGREES)


def test_edge_values():
    x, n = pairs(torch.tensor([1.0, -1.0, 0.0, 2.0, 3.0]))
    for kind in "tuvw":
        operator = getattr(aten, f"special_chebyshev_polynomial_{kind}").default
        torch.testing.assert_close(decompositions()[operator].function(x, n), operator(x, n), rtol=1e-5, atol=1e-5)
