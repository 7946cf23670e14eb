"""QR factors, against PyTorch's own."""

import pytest
import torch
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten
SHAPES = [(1, 1), (4, 3, 3), (2, 6, 4), (3, 5), (2, 3, 7, 7), (0, 3, 3), (5, 1), (1, 4)]


@pytest.mark.parametrize("shape", SHAPES)
def test_qr(shape):
    matrix = torch.randn(shape)
    for mode in ("reduced", "complete", "r"):
        holds(aten.linalg_qr.default, matrix, mode)
    holds(aten.geqrf.default, matrix)
    packed, weights = torch.geqrf(matrix)
    if shape[-2] >= shape[-1]:
        holds(aten.linalg_householder_product.default, packed, weights)
    for transpose in (False, True):
        holds(aten.ormqr.default, packed, weights, torch.randn(*shape[:-1], 2), True, transpose)
        holds(aten.ormqr.default, packed, weights, torch.randn(*shape[:-2], 2, shape[-2]), False, transpose)


def test_qr_of_what_needs_no_reflection_or_would_overflow_when_squared():
    for matrix in (
        torch.zeros(3, 3),
        torch.eye(3),
        -torch.eye(4, 3),
        torch.ones(3, 2).triu(),
        torch.randn(4, 3) * 1e30,
    ):
        holds(aten.linalg_qr.default, matrix)


def test_qr_as_a_graph_of_any_batch():
    class Basis(nn.Module):
        def forward(self, x):
            return torch.linalg.qr(x)

    batch = {0: torch.export.Dim("batch", max=20)}
    others = [(torch.randn(5, 4, 3),)]
    shapes = (batch,)
    exported_holds(Basis(), torch.randn(2, 4, 3), dynamic_shapes=shapes, others=others, tolerance=2e-5, normwise=True)
