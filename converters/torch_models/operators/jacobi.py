"""Eigenvalues and singular values of matrices of small fixed sizes, by Jacobi's rotations.

Source: Golub and Van Loan, "Matrix computations", 4th ed., sections 8.5.5 (rotations of all columns at once, by the order of a
tournament) and 8.6.3 (Hestenes' one-sided form), for a fixed number of sweeps: convergence is quadratic, and they
leave float32's rounding. Errors are relative to a result's largest magnitude. The sign of a vector is free, and so are
the vectors of values that are equal: they may differ from LAPACK's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from enginesmith.converters.torch_models.operators.elimination import fixed
from enginesmith.converters.torch_models.operators.orthogonal import linalg_qr
from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

ORDER = 16
"""Columns of the largest matrix: a sweep has a step of some 30 nodes for each."""

TIE = 1e-30
"""What stands for a difference of 0, so that one of two equal columns turns forward; no difference that counts is so small."""


def _sweeps(n: int) -> int:
    """For `n` columns, an even number; two of them are done by one rotation."""
    return 1 if n == 2 else min(n // 2 + 2, 7)


def _rotation(first: Tensor, product: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the smaller angles that make [[x, product], [product, y]] diagonal; `first` is (y - x) / 2, and never 0."""
    length = torch.sqrt(first * first + product * product)
    tangent = product / (first + torch.where(first < 0, -length, length))
    cosine = torch.rsqrt(1 + tangent * tangent)
    return cosine, tangent * cosine


def _swept(matrix: Tensor, beside: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Columns of [..., m, n], n being even, rotated until each is orthogonal to each, and those of [..., k, n] with them.

    Columns i and i + n / 2 are a pair. Both turn by one formula, of which the partner's angle is the negative: what it is
    computed from must have the same bits on both sides, or equal columns would not stay orthogonal.
    """
    m, n = int(matrix.shape[-2]), int(matrix.shape[-1])
    half = n // 2
    column = torch.arange(n, device=matrix.device)
    partner, pair = (column + half) % n, column % half
    # the next round of a tournament: after n - 1 rounds all is where it was
    seats = [0, half, *range(1, half - 1), *range(half + 1, n), half - 1] if half > 1 else [0, 1]
    following = torch.cat([column[seat : seat + 1] for seat in seats])
    tie = torch.where(column < half, TIE, -TIE).to(matrix.dtype)
    both = matrix if beside is None else torch.cat([matrix, beside], -2)
    for _ in range(_sweeps(n) * (n - 1)):
        other = both.index_select(-1, partner)
        upper, across = (both, other) if beside is None else (both[..., :m, :], other[..., :m, :])
        square = (upper * upper).sum(-2, keepdim=True)
        product = (upper * across).sum(-2, keepdim=True).index_select(-1, pair)
        cosine, sine = _rotation((square.index_select(-1, partner) - square) * 0.5 + tie, product)
        both = (cosine * both - sine * other).index_select(-1, following)
    return both[..., :m, :], both[..., m:, :]


def _ordered(values: Tensor, descending: bool, *vectors: Tensor) -> tuple[Tensor, ...]:
    values, places = torch.sort(values, -1, descending=descending)
    moved = [torch.gather(each, -1, places[..., None, :].expand(each.shape)) for each in vectors]
    return values, *moved


def _unit(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The matrix divided by its largest element, and that, [..., 1, 1]: so that no square overflows."""
    largest = matrix.abs().amax((-2, -1), keepdim=True)
    scale = torch.where(largest == 0, torch.ones_like(largest), largest)
    return matrix / scale, scale


def _symmetric(matrix: Tensor, lower: bool = True) -> Tensor:
    """What one triangle says."""
    half = torch.tril(matrix, -1) if lower else torch.triu(matrix, 1)
    return half + half.mT + torch.tril(torch.triu(matrix))


def eigen(matrix: Tensor, lower: bool) -> tuple[Tensor, Tensor]:
    """Eigenvalues in ascending order, [..., n], and their vectors, [..., n, n], of one triangle of a symmetric matrix.

    As the left singular vectors of the matrix with more than twice a bound of its norm added to the diagonal: all values are positive
    then, of one order of magnitude, and in the same order. Rayleigh's quotients give the values.
    """
    n = fixed(matrix.shape[-1], ORDER)
    if matrix.numel() == 0:
        return matrix.new_zeros(matrix.shape[:-1]), matrix.clone()
    unit, scale = _unit(_symmetric(matrix, lower))
    one = torch.eye(n, dtype=matrix.dtype, device=matrix.device)
    raised = unit + (1 + 2 * unit.abs().sum(-1, keepdim=True).amax(-2, keepdim=True)) * one
    turned, _ = _swept(pad(raised, (0, n % 2)))
    turned = turned[..., :n]
    vectors = turned * torch.rsqrt(turned.square().sum(-2, keepdim=True))
    values = (vectors * (unit[..., :, :, None] * vectors[..., None, :, :]).sum(-2)).sum(-2)
    found, vectors = _ordered(values, False, vectors)
    return found * scale[..., 0], vectors


def _values(matrix: Tensor) -> Tensor:
    """Singular values in descending order, [..., n], of [..., m, n], n being at most m."""
    n = fixed(matrix.shape[-1], ORDER)
    if matrix.numel() == 0:
        return matrix.new_zeros(*matrix.shape[:-2], n)
    unit, scale = _unit(matrix)
    left, _ = _swept(pad(unit, (0, n % 2)))
    values = left[..., :n].square().sum(-2).sqrt()
    return torch.sort(values, -1, descending=True).values * scale[..., 0]


def singular(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of [..., m, n], n being at most m: U times the singular values, [..., m, n]; these in descending order, [..., n]; V."""
    n = fixed(matrix.shape[-1], ORDER)
    if matrix.numel() == 0:
        return matrix.clone(), matrix.new_zeros(*matrix.shape[:-2], n), matrix.new_zeros(*matrix.shape[:-2], n, n)
    even = n + n % 2
    unit, scale = _unit(matrix)
    one = torch.eye(even, dtype=matrix.dtype, device=matrix.device).expand(*matrix.shape[:-2], even, even)
    left, right = _swept(pad(unit, (0, even - n)), one)
    left, right = left[..., :n], right[..., :n, :n]
    values, left, right = _ordered(left.square().sum(-2).sqrt(), True, left, right)
    return left * scale, values * scale[..., 0], right


@decomposes(aten.linalg_eigh.default, tolerance=1e-5, normwise=True)
def linalg_eigh(matrix: Tensor, UPLO: str = "L") -> tuple[Tensor, Tensor]:
    """As `eigen`."""
    return eigen(matrix, UPLO.upper() == "L")


@decomposes(aten.linalg_eigvalsh.default, tolerance=1e-5, normwise=True)
def linalg_eigvalsh(matrix: Tensor, UPLO: str = "L") -> Tensor:
    """The values alone."""
    return eigen(matrix, UPLO.upper() == "L")[0]


@decomposes(aten._linalg_eigh.default, tolerance=1e-5, normwise=True)
def _linalg_eigh(
    matrix: Tensor,
    UPLO: str = "L",
    compute_v: bool = True,
) -> tuple[Tensor, Tensor]:
    return eigen(matrix, UPLO.upper() == "L")


def _nothing(matrix: Tensor, full_matrices: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Of [..., m, n] without elements, n being at most m."""
    *batch, m, n = matrix.shape
    base = torch.eye(m, m if full_matrices else n, dtype=matrix.dtype, device=matrix.device)
    return base.expand(*batch, *base.shape).clone(), matrix.new_zeros(*batch, n), matrix.new_zeros(*batch, n, n)


@decomposes(aten.linalg_svd.default, tolerance=1e-5, normwise=True)
def linalg_svd(
    matrix: Tensor, full_matrices: bool = True, *, driver: str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """U, the singular values and V', also where some of them are 0: U is the orthogonal factor of U times the values."""
    if fixed(matrix.shape[-2]) < fixed(matrix.shape[-1]):
        left, values, right = linalg_svd(matrix.mT, full_matrices)
        return right.mT, values, left.mT
    if matrix.numel() == 0:
        return _nothing(matrix, full_matrices)
    left, values, right = singular(matrix)
    n = int(values.shape[-1])
    base, triangle = linalg_qr(left, "complete" if full_matrices else "reduced")
    diagonal = torch.diagonal(triangle, dim1=-2, dim2=-1)[..., None, :]
    base = torch.cat([torch.where(diagonal < 0, -base[..., :n], base[..., :n]), base[..., n:]], -1)
    return base, values, right.mT.clone()


@decomposes(aten._linalg_svd.default, tolerance=1e-5, normwise=True)
def _linalg_svd(
    matrix: Tensor, full_matrices: bool = False, compute_uv: bool = True, *, driver: str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    return linalg_svd(matrix, full_matrices)


@decomposes(aten.svd.default, tolerance=1e-5, normwise=True)
def svd(matrix: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """As `linalg_svd`, but V itself."""
    if not compute_uv:
        return NotImplemented
    left, values, right = linalg_svd(matrix, not some)
    return left, values, right.mT.clone()


def _tall(matrix: Tensor) -> Tensor:
    return matrix if fixed(matrix.shape[-2]) >= fixed(matrix.shape[-1]) else matrix.mT


@decomposes(aten.linalg_svdvals.default, tolerance=1e-5, normwise=True)
def linalg_svdvals(matrix: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values alone."""
    return _values(_tall(matrix))


def _least(matrix: Tensor, values: Tensor, atol: Any, rtol: Any) -> Tensor:
    """Below which singular values, in descending order, count as 0."""
    if rtol is None:
        longer = max(fixed(matrix.shape[-2]), fixed(matrix.shape[-1]))
        relative = values[..., 0] * (longer * torch.finfo(values.dtype).eps)
        if atol is not None:  # a tolerance that is given stands alone, unless it is 0
            given = torch.as_tensor(atol, dtype=values.dtype, device=values.device)
            relative = torch.where(given > 0, torch.zeros_like(relative), relative)
    else:
        relative = values[..., 0] * rtol
    absolute = torch.zeros_like(relative) if atol is None else torch.as_tensor(atol, dtype=values.dtype)
    return torch.maximum(relative, absolute)[..., None]


@decomposes(aten.linalg_pinv.atol_rtol_tensor, aten.linalg_pinv.atol_rtol_float, tolerance=2e-5, normwise=True)
def linalg_pinv(matrix: Tensor, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:
    """By the singular values that aren't 0; of the lower triangle alone where `hermitian`."""
    if hermitian:
        return linalg_pinv(_symmetric(matrix), atol=atol, rtol=rtol)
    if matrix.numel() == 0:
        return matrix.mT.clone()
    if fixed(matrix.shape[-2]) < fixed(matrix.shape[-1]):
        return linalg_pinv(matrix.mT, atol=atol, rtol=rtol).mT
    left, values, right = singular(matrix)
    kept = values > _least(matrix, values, atol, rtol)
    inverse = torch.where(kept, 1 / torch.where(kept, values, torch.ones_like(values)), torch.zeros_like(values))
    inverse = inverse[..., None, :]
    left, right = left * inverse, right * inverse
    return (right[..., :, None, :] * left[..., None, :, :]).sum(-1)


@decomposes(aten.pinverse.default, tolerance=2e-5, normwise=True)
def pinverse(matrix: Tensor, rcond: float = 1e-15) -> Tensor:
    """As `linalg_pinv`."""
    return linalg_pinv(matrix, rtol=rcond)


@decomposes(aten.linalg_matrix_rank.atol_rtol_tensor, aten.linalg_matrix_rank.atol_rtol_float)
def linalg_matrix_rank(matrix: Tensor, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:
    """How many singular values aren't 0; of the lower triangle alone where `hermitian`."""
    values = linalg_svdvals(_symmetric(matrix) if hermitian else matrix)
    return (values > _least(matrix, values, atol, rtol)).sum(-1)
