"""Systems of linear equations of small fixed sizes, by elimination.

Source: Golub and Van Loan, "Matrix computations", 4th ed., algorithms 3.4.1 (elimination with partial pivoting), 3.1.1 and
3.1.2 (substitution). Written out step by step, for ORDER rows at most. Errors are relative to a result's largest magnitude;
those of what is solved grow with the matrix's condition number, as PyTorch's own do. A singular matrix, for which PyTorch
raises an error, gives infinities and NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes
from enginesmith.converters.torch_models.operators.sizes import static

aten = torch.ops.aten

ORDER = 32
"""Rows, or columns, of the largest matrix whose steps are written out: some 20 nodes each."""


def fixed(size: Any, largest: int = ORDER) -> int:
    """Rows or columns of a matrix. Raises NotImplementedError where they are dynamic or more than `largest`."""
    if not static(size) or int(size) > largest:
        raise NotImplementedError(
            f"a matrix of {size} rows or columns: elimination is written out for fixed sizes of at most {largest}"
        )
    return int(size)


def eliminated(matrix: Tensor, beside: Tensor, solving: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Of a [..., m, n] and what stands beside it, [..., m, k]: the factors L (below the diagonal, of ones) and U in one, [..., m,
    n]; `beside` with its rows exchanged, and L's inverse applied where `solving`; at which place among those left each
    pivot was found, [..., min(m, n)].
    """
    m, n = fixed(matrix.shape[-2]), fixed(matrix.shape[-1])
    if 0 in (m, n):
        return matrix, beside, torch.zeros((*matrix.shape[:-2], 0), dtype=torch.int64, device=matrix.device)
    rest = torch.cat([matrix, beside], -1)
    rows, places = [], []
    for k in range(min(m, n)):
        place = rest[..., k : k + 1].abs().argmax(-2, keepdim=True)
        chosen = torch.arange(m - k, device=rest.device)[:, None] == place
        row = torch.where(chosen, rest, torch.zeros_like(rest)).sum(-2, keepdim=True)
        rows.append(row)
        places.append(place[..., 0])
        if k == m - 1:
            break
        rest = torch.where(chosen, rest[..., :1, :], rest)[..., 1:, :]
        pivot = row[..., k : k + 1]
        factor = rest[..., k : k + 1] / torch.where(pivot == 0, torch.ones_like(pivot), pivot)
        end = rest.shape[-1] if solving else n
        changed = rest[..., k + 1 : end] - factor * row[..., k + 1 : end]
        rest = torch.cat([rest[..., :k], factor, changed, rest[..., end:]], -1)
    if m > n:
        rows.append(rest)
    whole = torch.cat(rows, -2)
    return whole[..., :n], whole[..., n:], torch.cat(places, -1)


def substituted(matrix: Tensor, right: Tensor, upper: bool, unit: bool = False) -> Tensor:
    """X in `matrix` X = `right`, [..., n, k], of the matrix's upper or lower triangle alone; `unit`: with ones as diagonal."""
    n = fixed(matrix.shape[-1])
    if n == 0:
        return right
    found: list[Tensor] = []
    for step in range(n):
        at = n - 1 - step if upper else step
        rows, here = (slice(0, at), at) if upper else (slice(at + 1, n), 0)
        value = right[..., here : here + 1, :]
        if not unit:
            value = value / matrix[..., at : at + 1, at : at + 1]
        found.append(value)
        left_over = right[..., :at, :] if upper else right[..., 1:, :]
        right = left_over - matrix[..., rows, at : at + 1] * value
    return torch.cat(found[::-1] if upper else found, -2)


def spread(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the same dimensions before the last two."""
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    return left.expand(*batch, *left.shape[-2:]), right.expand(*batch, *right.shape[-2:])


def identity(matrix: Tensor) -> Tensor:
    """Of as many rows as the matrix, for each of its batch."""
    n = fixed(matrix.shape[-2])
    return torch.eye(n, dtype=matrix.dtype, device=matrix.device).expand(*matrix.shape[:-2], n, n)


def solved(matrix: Tensor, right: Tensor) -> Tensor:
    """X in `matrix` X = `right`, of one batch."""
    factors, right, _ = eliminated(matrix, right, solving=True)
    return substituted(factors, right, upper=True)


def errors(matrix: Tensor) -> Tensor:
    """LAPACK's `info`: none found, since no engine can stop."""
    return torch.zeros(matrix.shape[:-2], dtype=torch.int32, device=matrix.device)


@decomposes(aten.linalg_solve.default, tolerance=2e-5, normwise=True)
def linalg_solve(matrix: Tensor, right: Tensor, *, left: bool = True) -> Tensor:
    """`right` is a batch of vectors where it has one dimension, or one less than the matrix and its sizes."""
    vectors = right.ndim == 1 or (right.ndim == matrix.ndim - 1 and right.shape == matrix.shape[:-1])
    if vectors:
        right = right[..., None]
    if not left:
        matrix, right = matrix.mT, right.mT
    found = solved(*spread(matrix, right))
    found = found if left else found.mT
    return found[..., 0] if vectors else found.clone()


@decomposes(aten.linalg_solve_ex.default, tolerance=2e-5, normwise=True)
def linalg_solve_ex(
    matrix: Tensor, right: Tensor, *, left: bool = True, check_errors: bool = False
) -> tuple[Tensor, Tensor]:
    """As `linalg_solve`."""
    return linalg_solve(matrix, right, left=left), errors(matrix)


@decomposes(aten.inverse.default, aten.linalg_inv.default, tolerance=2e-5, normwise=True)
def inverse(matrix: Tensor) -> Tensor:
    """What, multiplied by the matrix, gives ones on the diagonal."""
    return solved(matrix, identity(matrix))


@decomposes(aten.linalg_inv_ex.default, tolerance=2e-5, normwise=True)
def linalg_inv_ex(matrix: Tensor, *, check_errors: bool = False) -> tuple[Tensor, Tensor]:
    """As `inverse`."""
    return inverse(matrix), errors(matrix)


@decomposes(aten.linalg_tensorinv.default, tolerance=2e-5, normwise=True)
def linalg_tensorinv(tensor: Tensor, ind: int = 2) -> Tensor:
    """Of a matrix whose rows are the first `ind` dimensions, and whose columns are the others."""
    rows, columns = tensor.shape[:ind], tensor.shape[ind:]
    return inverse(tensor.reshape(math.prod(rows), -1)).reshape(*columns, *rows)


@decomposes(aten.linalg_tensorsolve.default, tolerance=2e-5, normwise=True)
def linalg_tensorsolve(tensor: Tensor, right: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """Of a matrix whose rows are as many first dimensions as `right` has, after `dims` were moved to the end."""
    if dims is not None:
        tensor = tensor.movedim(tuple(dims), tuple(range(-len(dims), 0)))
    matrix = tensor.reshape(right.numel(), -1)
    return solved(matrix, right.reshape(-1, 1)).reshape(tensor.shape[right.ndim :])


def _pivots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """U's diagonal, and 1, or -1 where an odd number of rows was exchanged."""
    factors, _, places = eliminated(matrix, matrix[..., :0], solving=False)
    signs = 1 - 2 * (places != 0).to(factors.dtype)
    return torch.diagonal(factors, dim1=-2, dim2=-1), _product(signs)


def _product(values: Tensor) -> Tensor:
    """Of the last dimension."""
    if values.shape[-1] == 0:
        return values.new_ones(values.shape[:-1])
    product = values[..., 0]
    for place in range(1, int(values.shape[-1])):
        product = product * values[..., place]
    return product


@decomposes(aten.det.default, aten.linalg_det.default, tolerance=2e-5, normwise=True)
def det(matrix: Tensor) -> Tensor:
    """The product of the pivots."""
    diagonal, sign = _pivots(matrix)
    return _product(diagonal) * sign


@decomposes(aten.slogdet.default, aten.linalg_slogdet.default, tolerance=2e-5, normwise=True)
def slogdet(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Sign, and logarithm of the magnitude."""
    diagonal, sign = _pivots(matrix)
    return _product(torch.sign(diagonal)) * sign, diagonal.abs().log().sum(-1)


@decomposes(aten.logdet.default, tolerance=2e-5, normwise=True)
def logdet(matrix: Tensor) -> Tensor:
    """NaN where the determinant is negative."""
    sign, logarithm = slogdet(matrix)
    return torch.where(sign < 0, torch.full_like(logarithm, torch.nan), logarithm)


@decomposes(aten.linalg_solve_triangular.default, tolerance=2e-5, normwise=True)
def linalg_solve_triangular(
    matrix: Tensor, right: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """By substitution."""
    if not left:
        return linalg_solve_triangular(matrix.mT, right.mT, upper=not upper, unitriangular=unitriangular).mT
    return substituted(*spread(matrix, right), upper, unitriangular)


@decomposes(aten.triangular_solve.default, tolerance=2e-5, normwise=True)
def triangular_solve(
    right: Tensor, matrix: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> tuple[Tensor, Tensor]:
    """The solution and the matrix's copy."""
    right, matrix = spread(right, matrix)
    turned = matrix.mT if transpose else matrix
    return substituted(turned, right, upper != transpose, unitriangular), matrix.clone()
