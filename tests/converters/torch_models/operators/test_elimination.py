"""Systems of linear equations, against PyTorch's own."""

import pytest
import torch
from operators_support import exported_holds, holds
from torch import nn

from enginesmith.converters.torch_models.operators.elimination import inverse

aten = torch.ops.aten


def well(*shape):
    """Matrices, whose rows are to be exchanged, with a condition number that leaves digits."""
    n = shape[-1]
    return torch.randn(shape) + 2 * n**0.5 * torch.eye(n).flip(0)


MATRICES = {
    "one": well(1, 1),
    "two": well(2, 2),
    "three in a batch": well(4, 3, 3),
    "seven": well(2, 3, 7, 7),
    "many": well(20, 20),
    "no matrices": well(0, 3, 3),
    "zeros on the diagonal": torch.tensor([[0.0, 1, 0], [0, 0, 2], [4, 0, 0]]),
    "small": well(3, 3) * 1e-6,
}


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_solutions(matrix):
    n = matrix.shape[-1]
    right = torch.randn(*matrix.shape[:-1], 2)
    holds(aten.inverse.default, matrix)
    holds(aten.linalg_inv_ex.default, matrix)
    holds(aten.linalg_solve.default, matrix, right)
    holds(aten.linalg_solve.default, matrix, right[..., 0])
    holds(aten.linalg_solve.default, matrix, torch.randn(5, n), left=False)
    holds(aten.linalg_solve_ex.default, matrix, torch.randn(n, 3))
    holds(aten.det.default, matrix)
    holds(aten.slogdet.default, matrix)
    holds(aten.logdet.default, matrix)


def test_singular_matrices():
    for matrix in (torch.zeros(3, 3), torch.ones(2, 3, 3), torch.tensor([[1.0, 2], [2, 4]])):
        holds(aten.det.default, matrix)
        holds(aten.slogdet.default, matrix)
        assert not inverse(matrix).isfinite().all()


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_triangles(upper, unit):
    matrix = torch.randn(3, 5, 5) / 3 + torch.eye(5) * 2
    right, across = torch.randn(5, 2), torch.randn(3, 2, 5)
    for each, left in ((right, True), (across, False)):
        holds(aten.linalg_solve_triangular.default, matrix, each, upper=upper, left=left, unitriangular=unit)
    for transpose in (False, True):
        holds(aten.triangular_solve.default, torch.randn(3, 5, 2), matrix, upper, transpose, unit)


class Camera(nn.Module):
    """As in warps by a homography."""

    def forward(self, k, points):
        found = torch.linalg.solve(k, points)
        return torch.inverse(k) @ points, found, torch.linalg.det(k), torch.linalg.slogdet(k).logabsdet


def test_solutions_as_a_graph_of_any_batch():
    batch = {0: torch.export.Dim("batch", max=20)}
    exported_holds(
        Camera(),
        well(2, 3, 3),
        torch.randn(2, 3, 4),
        dynamic_shapes=(batch, batch),
        others=[(well(5, 3, 3), torch.randn(5, 3, 4)), (well(1, 3, 3), torch.randn(1, 3, 4))],
        tolerance=2e-5,
        normwise=True,
    )


def test_a_dynamic_size_is_refused():
    shapes = ({0: torch.export.Dim("n"), 1: torch.export.Dim("n")},)
    with pytest.raises(torch.onnx.OnnxExporterError, match="fixed sizes"):
        exported_holds(Inverse(), well(4, 4), dynamic_shapes=shapes)


class Inverse(nn.Module):
    def forward(self, x):
        return x.inverse()


def test_matrices_without_rows():
    for operator in (aten.linalg_inv_ex.default, aten.linalg_slogdet.default, aten.linalg_cholesky_ex.default):
        holds(operator, torch.zeros(2, 0, 0))
    holds(aten.linalg_solve_ex.default, torch.zeros(0, 0), torch.zeros(0, 3))


def test_tensors_as_matrices():
    tensor = torch.randn(2, 3, 6) + torch.eye(6).reshape(2, 3, 6) * 5
    holds(aten.linalg_tensorinv.default, tensor, 2)
    holds(aten.linalg_tensorsolve.default, tensor, torch.randn(2, 3))
    holds(aten.linalg_tensorsolve.default, tensor.movedim(-1, 0), torch.randn(2, 3), [0])
