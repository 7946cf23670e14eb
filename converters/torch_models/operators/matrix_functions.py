"""Powers and exponentials of square matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.elimination import inverse
from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

TERMS, SQUARINGS = 16, 14


@decomposes(aten.linalg_matrix_exp.default, aten.matrix_exp.default, tolerance=2e-5, normwise=True)
def matrix_exp(matrix: Tensor) -> Tensor:
    """Taylor's polynomial of a matrix whose norm is halved until it is at most 2, squared as often; up to a norm of 2^15.

    Source: Moler and Van Loan, "Nineteen dubious ways to compute the exponential of a matrix", 2003, method 3. The first term
    that is left out is 4e-10. The norm's share of the error is what squaring makes of rounding, as in PyTorch.
    """
    norm = matrix.abs().sum(-2, keepdim=True).amax(-1, keepdim=True)
    halvings = torch.zeros_like(norm)
    for step in range(SQUARINGS):
        halvings = halvings + (norm > 2.0 ** (step + 1)).to(norm.dtype)
    scaled = matrix * torch.exp2(-halvings)
    one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    power = one + scaled / TERMS
    for term in range(TERMS - 1, 0, -1):
        power = one + scaled @ power / term
    for step in range(SQUARINGS):
        power = torch.where(halvings > step, power @ power, power)
    return power


@decomposes(aten.linalg_matrix_power.default, aten.matrix_power.default, tolerance=2e-5, normwise=True)
def matrix_power(matrix: Tensor, n: int) -> Tensor:
    """By squares; of the inverse where `n` is negative."""
    if n == 0:
        one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        return one.expand(matrix.shape).clone()
    if n < 0:
        matrix, n = inverse(matrix), -n
    found: Tensor | None = None
    while n:
        if n % 2:
            found = matrix if found is None else found @ matrix
        n //= 2
        if n:
            matrix = matrix @ matrix
    assert found is not None
    return found.clone()
