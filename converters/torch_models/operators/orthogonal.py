"""QR factors of matrices of small fixed sizes, by Householder's reflections.

Source: Golub and Van Loan, "Matrix computations", 4th ed., algorithms 5.1.1 and 5.2.1; signs as LAPACK's `larfg` has them, so
that results are PyTorch's own. Products are written out as sums, for an engine may round a matrix product's factors. Errors are
relative to a result's largest magnitude.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.elimination import fixed
from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten


def _reflected(below: Tensor, weight: Tensor, matrix: Tensor) -> Tensor:
    """(1 - weight v v') `matrix`, v being 1 above `below`. No part without rows is made: of graphs with such, ONNX Runtime takes
    one for another.
    """
    if matrix.shape[-2] == 1:
        return matrix - weight * matrix
    first, others = matrix[..., :1, :], matrix[..., 1:, :]
    along = weight * (first + (below * others).sum(-2, keepdim=True))
    return torch.cat([first - along, others - below * along], -2)


def reflections(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Of [..., m, n]: R, with each reflection's v below its diagonal, [..., m, n], and their weights, [..., min(m, n)]."""
    m, n = fixed(matrix.shape[-2]), fixed(matrix.shape[-1])
    if 0 in (m, n):
        return matrix.clone(), matrix.new_zeros(*matrix.shape[:-2], 0)
    rest = matrix
    weights, columns, rows = [], [], []
    for k in range(min(m, n)):
        first, below = rest[..., :1, :1], rest[..., 1:, :1]
        large = below.abs().amax(-2, keepdim=True) if k < m - 1 else torch.zeros_like(first)
        still = large == 0  # nothing to be made zero: no reflection
        scale = torch.maximum(torch.where(still, torch.ones_like(large), large), first.abs())
        square = (first / scale).square()
        square = square + (below / scale).square().sum(-2, keepdim=True) if k < m - 1 else square
        length = scale * square.sqrt()
        head = torch.where(first < 0, length, -length)
        head = torch.where(still, first, head)
        weight = (head - first) / torch.where(still, torch.ones_like(head), head)
        below = below / torch.where(still, torch.ones_like(head), first - head)
        weights.append(weight[..., 0])
        columns.append(below)
        if k == n - 1:
            rows.append(head)
            break
        right = _reflected(below, weight, rest[..., 1:])
        rows.append(torch.cat([head, right[..., :1, :]], -1))
        rest = right[..., 1:, :]
    # row k: what earlier reflections hold of it, then its own part of R
    packed = []
    for k in range(m):
        held = [columns[j][..., k - j - 1 : k - j, :] for j in range(min(k, len(columns)))]
        packed.append(torch.cat([*held, rows[k]], -1) if k < len(rows) else torch.cat(held, -1))
    return torch.cat(packed, -2), torch.cat(weights, -1)


def applied(packed: Tensor, weights: Tensor, matrix: Tensor, transpose: bool = False) -> Tensor:
    """The reflections' product, or its transpose, times [..., m, k]."""
    count = int(weights.shape[-1])
    for k in range(count) if transpose else range(count - 1, -1, -1):
        done = _reflected(packed[..., k + 1 :, k : k + 1], weights[..., None, k : k + 1], matrix[..., k:, :])
        matrix = torch.cat([matrix[..., :k, :], done], -2) if k else done
    return matrix


def _eye(packed: Tensor, columns: int) -> Tensor:
    rows = fixed(packed.shape[-2])
    return torch.eye(rows, columns, dtype=packed.dtype, device=packed.device).expand(*packed.shape[:-2], rows, columns)


@decomposes(aten.linalg_qr.default, tolerance=2e-5, normwise=True)
def linalg_qr(matrix: Tensor, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """Q and R; Q is empty in mode `r`."""
    m, n = fixed(matrix.shape[-2]), fixed(matrix.shape[-1])
    packed, weights = reflections(matrix)
    columns = m if mode == "complete" else min(m, n)
    upper = torch.triu(packed[..., :columns, :])
    return torch.zeros_like(matrix[:0]).flatten()[:0] if mode == "r" else applied(
        packed, weights, _eye(packed, columns)
    ), upper


@decomposes(aten.geqrf.default, tolerance=2e-5, normwise=True)
def geqrf(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """R and the reflections below its diagonal, and their weights."""
    return reflections(matrix)


@decomposes(aten.linalg_householder_product.default, aten.orgqr.default, tolerance=2e-5, normwise=True)
def householder_product(packed: Tensor, weights: Tensor) -> Tensor:
    """The first columns of Q, as many as `packed` has."""
    return applied(packed, weights, _eye(packed, fixed(packed.shape[-1])))


@decomposes(aten.ormqr.default, tolerance=2e-5, normwise=True)
def ormqr(packed: Tensor, weights: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Any:
    """Q, or its transpose, times `other`, or `other` times it."""
    if left:
        return applied(packed, weights, other, transpose)
    return applied(packed, weights, other.mT, not transpose).mT
