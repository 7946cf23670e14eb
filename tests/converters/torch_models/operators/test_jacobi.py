"""Eigenvalues and singular values, against PyTorch's own: vectors by what they do, since their signs are free."""

import pytest
import torch
from operators_support import holds

from enginesmith.converters.torch_models.operators.jacobi import eigen, linalg_eigh, linalg_svd, svd

aten = torch.ops.aten
CLOSE = {"rtol": 0.0, "atol": 1e-5}


def symmetric(*shape):
    matrix = torch.randn(shape)
    return matrix + matrix.mT


SYMMETRIC = {
    "one": symmetric(1, 1),
    "two": symmetric(2, 2),
    "three in a batch": symmetric(20, 3, 3),
    "eight": symmetric(2, 2, 8, 8),
    "many": symmetric(16, 16) / 4,
    "no matrices": symmetric(0, 3, 3),
    "equal values": torch.eye(5),
    "zeros": torch.zeros(3, 3),
    "of rank one": torch.ones(2, 6, 6) / 6,
    "far apart": torch.tensor([[1.0, 1e-4], [1e-4, 1e-6]]),
}


def is_identity(matrix):
    torch.testing.assert_close(matrix, torch.eye(matrix.shape[-1]).expand(matrix.shape), **CLOSE)


@pytest.mark.parametrize("matrix", SYMMETRIC.values(), ids=SYMMETRIC)
def test_eigen(matrix):
    size = matrix.abs().max() if matrix.numel() else 1.0
    for triangle in ("L", "U"):
        holds(aten.linalg_eigvalsh.default, matrix, triangle)
        values, vectors = linalg_eigh(matrix, triangle)
        assert (values.diff() >= 0).all()
        is_identity(vectors.mT @ vectors)
        torch.testing.assert_close(
            (vectors * values[..., None, :]) @ vectors.mT / (size + 1), matrix / (size + 1), **CLOSE
        )


def test_one_triangle_is_read():
    for triangle in ("L", "U"):
        holds(aten.linalg_eigvalsh.default, torch.randn(4, 5, 5), triangle)


RANDOM = [(1, 1), (4, 3, 3), (2, 6, 4), (3, 5), (12, 12), (0, 3, 2), (5, 1)]
SINGULAR = [torch.zeros(3, 2), torch.ones(2, 4, 4) / 4, torch.eye(4, 3)]


@pytest.mark.parametrize("matrix", [*(torch.randn(shape) / 2 for shape in RANDOM), *SINGULAR])
def test_singular(matrix):
    holds(aten.linalg_svdvals.default, matrix)
    for full in (False, True):
        wanted = torch.linalg.svd(matrix, full_matrices=full)
        left, values, right = linalg_svd(matrix, full)
        assert [left.shape, values.shape, right.shape] == [each.shape for each in wanted]
        assert (values.diff() <= 0).all()
        is_identity(left.mT @ left)
        is_identity(right @ right.mT)
        k = values.shape[-1]
        torch.testing.assert_close(
            (left[..., :k] * values[..., None, :]) @ right[..., :k, :], matrix, rtol=0, atol=3e-5
        )
    torch.testing.assert_close(svd(matrix)[2], linalg_svd(matrix, False)[2].mT)


@pytest.mark.parametrize("shape", [(3, 3), (4, 6, 4), (2, 3, 5), (5, 1)])
def test_pseudoinverses_and_ranks(shape):
    matrix = torch.randn(shape)
    low = matrix[..., :1] @ torch.randn(*shape[:-2], 1, shape[-1])
    for each in (matrix, low, torch.zeros(shape)):
        holds(aten.linalg_pinv.atol_rtol_tensor, each)
        holds(aten.linalg_pinv.atol_rtol_float, each, atol=0.01, rtol=0.1)
        holds(aten.pinverse.default, each, 1e-5)
        holds(aten.linalg_matrix_rank.atol_rtol_tensor, each)
        holds(aten.linalg_matrix_rank.atol_rtol_float, each, atol=0.5)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 16])
def test_equal_values_keep_their_vectors_orthogonal(n):
    base, _ = torch.linalg.qr(torch.randn(20, n, n))
    values = torch.cat([torch.ones(n - n // 2), torch.rand(n // 2)])
    matrix = base * values @ base.mT
    found, vectors = eigen((matrix + matrix.mT) / 2, lower=True)
    torch.testing.assert_close(vectors.mT @ vectors, torch.eye(n).expand_as(matrix), rtol=0, atol=1e-5)
    torch.testing.assert_close(found, values.sort().values.expand_as(found), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (0, 3), (0, 3, 2)])
@pytest.mark.parametrize("full", [False, True])
def test_matrices_without_elements(shape, full):
    holds(aten.linalg_svdvals.default, torch.zeros(shape))
    found = linalg_svd(torch.zeros(shape), full)
    for one, other in zip(found, torch.linalg.svd(torch.zeros(shape), full), strict=True):
        assert one.shape == other.shape


def test_one_triangle_counts():
    matrix = torch.randn(3, 4, 4)
    holds(aten.linalg_pinv.atol_rtol_float, matrix, hermitian=True)
    holds(aten.linalg_matrix_rank.atol_rtol_float, matrix, atol=0.5, rtol=0.1, hermitian=True)
