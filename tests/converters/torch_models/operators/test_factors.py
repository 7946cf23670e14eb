"""LU and Cholesky factors, against PyTorch's own."""

import pytest
import torch
from operators_support import exported_holds, holds
from torch import nn

aten = torch.ops.aten


def definite(*shape):
    matrix = torch.randn(shape)
    return matrix @ matrix.mT + torch.eye(shape[-1])


@pytest.mark.parametrize("matrix", [definite(1, 1), definite(4, 3, 3), definite(2, 2, 6, 6), definite(0, 2, 2)])
@pytest.mark.parametrize("upper", [False, True])
def test_cholesky(matrix, upper):
    factor = torch.linalg.cholesky(matrix, upper=upper)
    holds(aten.linalg_cholesky.default, matrix, upper=upper)
    holds(aten.linalg_cholesky_ex.default, matrix, upper=upper)
    holds(aten.cholesky_solve.default, torch.randn(*matrix.shape[:-1], 2), factor, upper)
    holds(aten.cholesky_inverse.default, factor, upper)


def test_cholesky_of_what_is_not_definite():
    matrix = torch.tensor([[[1.0, 2, 0], [2, 1, 0], [0, 0, 1]], [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]])
    own = aten.linalg_cholesky_ex.default(matrix)[1]
    from enginesmith.converters.torch_models.operators.factors import linalg_cholesky_ex

    torch.testing.assert_close(linalg_cholesky_ex(matrix)[1], own, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(1, 1), (4, 3, 3), (2, 5, 3), (3, 5), (2, 3, 7, 7), (0, 3, 3)])
def test_lu(shape):
    matrix = torch.randn(shape)
    holds(aten.linalg_lu.default, matrix)
    holds(aten.linalg_lu_factor.default, matrix)
    holds(aten.linalg_lu_factor_ex.default, matrix)
    packed, pivots = torch.linalg.lu_factor(matrix)
    holds(aten.lu_unpack.default, packed, pivots)
    if shape[-1] == shape[-2]:
        square = matrix + 3 * torch.eye(shape[-1]).flip(0)
        packed, pivots = torch.linalg.lu_factor(square)
        right = torch.randn(*shape[:-1], 2)
        holds(aten.lu_solve.default, right, packed, pivots)
        for adjoint in (False, True):
            holds(aten.linalg_lu_solve.default, packed, pivots, right, adjoint=adjoint)
            holds(aten.linalg_lu_solve.default, packed, pivots, right.mT, left=False, adjoint=adjoint)


class Gaussian(nn.Module):
    """As in Gaussian processes and mixtures: by one factor, a solution and a logarithm of the determinant."""

    def forward(self, covariance, x):
        factor = torch.linalg.cholesky(covariance)
        packed, pivots = torch.linalg.lu_factor(covariance)
        found = torch.cholesky_solve(x[..., None], factor)[..., 0]
        white = torch.linalg.solve_triangular(factor, x[..., None], upper=False)
        return found, white, factor.diagonal(dim1=-2, dim2=-1).log().sum(-1), packed, pivots


def test_factors_as_a_graph_of_any_batch():
    batch = {0: torch.export.Dim("batch", max=20)}
    exported_holds(
        Gaussian(),
        definite(2, 4, 4),
        torch.randn(2, 4),
        dynamic_shapes=(batch, batch),
        others=[(definite(5, 4, 4), torch.randn(5, 4))],
        tolerance=2e-5,
        normwise=True,
    )
