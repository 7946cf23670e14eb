"""Factors of matrices of small fixed sizes: LU and Cholesky, and what is solved with them.

Source: Golub and Van Loan, "Matrix computations", 4th ed., algorithms 3.4.1 and 4.2.2; errors as in `elimination`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.elimination import (
    eliminated,
    errors,
    fixed,
    identity,
    spread,
    substituted,
)
from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten


def _lower(matrix: Tensor) -> Tensor:
    """The lower factor, of the matrix's lower triangle alone, column by column."""
    n = fixed(matrix.shape[-1])
    if n == 0:
        return matrix.clone()
    columns = []
    for k in range(n):
        column = matrix[..., :, :1] / matrix[..., :1, :1].sqrt()
        columns.append(torch.nn.functional.pad(column, (0, 0, k, 0)))
        below = column[..., 1:, :]
        matrix = matrix[..., 1:, 1:] - below * below.mT
    return torch.cat(columns, -1)


@decomposes(aten.linalg_cholesky.default, tolerance=2e-5, normwise=True)
def cholesky(matrix: Tensor, *, upper: bool = False) -> Tensor:
    """NaN where the matrix isn't positive definite, for which PyTorch raises an error."""
    return _lower(matrix.mT).mT if upper else _lower(matrix)


@decomposes(aten.linalg_cholesky_ex.default, tolerance=2e-5, normwise=True)
def linalg_cholesky_ex(matrix: Tensor, *, upper: bool = False, check_errors: bool = False) -> tuple[Tensor, Tensor]:
    """And the number of the first column that isn't positive, or 0."""
    factor = cholesky(matrix, upper=upper)
    if factor.shape[-1] == 0:
        return factor, errors(matrix)
    diagonal = torch.diagonal(factor, dim1=-2, dim2=-1)
    bad = torch.logical_not(torch.isfinite(diagonal) & (diagonal > 0))
    first = bad.to(torch.int32).argmax(-1) + 1
    return factor, torch.where(bad.any(-1), first, torch.zeros_like(first)).to(torch.int32)


@decomposes(aten.cholesky_solve.default, aten._cholesky_solve_helper.default, tolerance=2e-5, normwise=True)
def cholesky_solve(right: Tensor, factor: Tensor, upper: bool = False) -> Tensor:
    """By substitution with the factor, then with its transpose."""
    right, factor = spread(right, factor)
    lower = factor.mT if upper else factor
    return substituted(lower.mT, substituted(lower, right, upper=False), upper=True)


@decomposes(aten.cholesky_inverse.default, tolerance=2e-5, normwise=True)
def cholesky_inverse(factor: Tensor, upper: bool = False) -> Tensor:
    """Of the matrix that has this factor."""
    return cholesky_solve(identity(factor), factor, upper)


@decomposes(aten.linalg_lu_factor_ex.default, tolerance=2e-5, normwise=True)
def linalg_lu_factor_ex(matrix: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """Both factors in one; which row, counted from 1, each one was exchanged with; no errors."""
    if not pivot:
        return NotImplemented
    packed, _, places = eliminated(matrix, matrix[..., :0], solving=False)
    steps = torch.arange(1, int(places.shape[-1]) + 1, device=matrix.device)
    return packed, (places + steps).to(torch.int32), errors(matrix)


@decomposes(aten.linalg_lu_factor.default, tolerance=2e-5, normwise=True)
def linalg_lu_factor(matrix: Tensor, *, pivot: bool = True) -> Any:
    """As `linalg_lu_factor_ex`, without its errors."""
    found = linalg_lu_factor_ex(matrix, pivot=pivot)
    return found if found is NotImplemented else found[:2]


@decomposes(aten._lu_with_info.default, tolerance=2e-5, normwise=True)
def _lu_with_info(matrix: Tensor, pivot: bool = True, check_errors: bool = True) -> Any:
    """As `linalg_lu_factor_ex`."""
    return linalg_lu_factor_ex(matrix, pivot=pivot)


def _halves(packed: Tensor) -> tuple[Tensor, Tensor]:
    """L, with ones on the diagonal, and U."""
    m, n = fixed(packed.shape[-2]), fixed(packed.shape[-1])
    k = min(m, n)
    ones = torch.eye(m, k, dtype=packed.dtype, device=packed.device)
    return torch.tril(packed[..., :k], -1) + ones, torch.triu(packed[..., :k, :])


@decomposes(aten.linalg_lu.default, tolerance=2e-5, normwise=True)
def linalg_lu(matrix: Tensor, *, pivot: bool = True) -> Any:
    """P, L and U: their product is the matrix."""
    if not pivot:
        return NotImplemented
    packed, exchanged, _ = eliminated(matrix, identity(matrix), solving=False)
    return exchanged.mT.clone(), *_halves(packed)


def exchanged(right: Tensor, pivots: Tensor, back: bool = False) -> Tensor:
    """Rows of [..., m, k] exchanged as LAPACK's `pivots` say, [..., n] from 1, in their order or back."""
    m = fixed(right.shape[-2])
    index = torch.arange(m, device=right.device)[:, None]
    steps = range(int(pivots.shape[-1]))
    for step in reversed(steps) if back else steps:
        other = index == pivots[..., step, None, None] - 1
        here = right[..., step : step + 1, :]
        there = torch.where(other, right, torch.zeros_like(right)).sum(-2, keepdim=True)
        right = torch.where(index == step, there, torch.where(other, here, right))
    return right


@decomposes(aten.linalg_lu_solve.default, tolerance=2e-5, normwise=True)
def linalg_lu_solve(
    packed: Tensor, pivots: Tensor, right: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """With the factors that `linalg_lu_factor` gives."""
    if not left:
        return linalg_lu_solve(packed, pivots, right.mT, adjoint=not adjoint).mT
    packed, right = spread(packed, right)
    if adjoint:
        middle = substituted(packed.mT, right, upper=False)
        return exchanged(substituted(packed.mT, middle, upper=True, unit=True), pivots, back=True)
    middle = substituted(packed, exchanged(right, pivots), upper=False, unit=True)
    return substituted(packed, middle, upper=True)


@decomposes(aten.lu_solve.default, tolerance=2e-5, normwise=True)
def lu_solve(right: Tensor, packed: Tensor, pivots: Tensor) -> Tensor:
    """As `linalg_lu_solve`."""
    return linalg_lu_solve(packed, pivots, right)


@decomposes(aten.lu_unpack.default, tolerance=2e-5, normwise=True)
def lu_unpack(packed: Tensor, pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    """P, L and U; empty ones for what isn't asked for."""
    if not (unpack_data and unpack_pivots):
        return NotImplemented
    return exchanged(identity(packed), pivots).mT.clone(), *_halves(packed)
