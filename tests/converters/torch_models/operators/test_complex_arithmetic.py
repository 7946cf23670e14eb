"""Arithmetic and elementary functions on pairs against PyTorch's complex ones."""

import pytest
import torch
from operators_support import pairs_hold

aten = torch.ops.aten

PLANE = torch.tensor([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-3, -1e3])
UNARY = (
    *(aten.abs, aten.angle, aten.sgn, aten.reciprocal, aten.square, aten.exp, aten.sqrt, aten.rsqrt, aten.log),
    *(aten.log2, aten.log10, aten.log1p, aten.sin, aten.cos, aten.tan, aten.sinh, aten.cosh, aten.tanh, aten.sigmoid),
    *(aten.isnan, aten.isinf, aten.isfinite, aten.logical_not, aten.conj_physical, aten.neg),
)


def plane(scale=1.0):
    """Points of the complex plane: axes, origins of both signs, quadrants."""
    re, im = torch.meshgrid(PLANE * scale, PLANE * scale, indexing="ij")
    return torch.complex(re, im).flatten()


def random(*shape, dtype=torch.complex64):
    return torch.randn(*shape, dtype=dtype)


def each(operator, values, *others, **named):
    """Value by value, so that none hides behind a larger one."""
    for index in range(len(values)):
        pairs_hold(operator, values[index : index + 1], *others, **named)


@pytest.mark.parametrize("operator", UNARY)
def test_of_one(operator):
    values = plane(0.01) if operator in (aten.sinh, aten.cosh, aten.exp, aten.sin, aten.cos, aten.tanh) else plane()
    if operator in (aten.reciprocal, aten.rsqrt, aten.log, aten.log2, aten.log10):
        values = values[values != 0]
    if operator in (aten.log, aten.log2, aten.log10):  # at the length 1 a logarithm's error is absolute
        values = values[(values.abs() - 1).abs() > 0.1]
    if operator is aten.log1p:
        values = values[(values != -1) & (values.abs() > 0.1)]
    if operator in (aten.tan, aten.sigmoid):
        values = values[values.abs() < 4]
    each(operator, values)
    pairs_hold(operator, random(3, 4))
    pairs_hold(operator, random(3, 4, dtype=torch.complex128))
    pairs_hold(operator, random(0, 4))


@pytest.mark.parametrize("operator", [aten.add, aten.sub, aten.mul, aten.div, aten.eq, aten.ne])
def test_of_two(operator):
    pairs_hold(operator, random(3, 1, 4), random(5, 4))
    pairs_hold(operator, random(3, 4), torch.randn(4))
    pairs_hold(operator, torch.randn(3, 4), random(4))
    pairs_hold(operator, random(3, 4), 2.5)
    pairs_hold(operator, random(3, 4), torch.tensor(3))
    pairs_hold(operator, plane(), plane().flip(0) + 1.5)


def test_scaled_sums():
    pairs_hold(aten.add, random(3), random(3), alpha=2)
    pairs_hold(aten.sub, random(3), random(3), alpha=2)
    pairs_hold(aten.rsub, random(3), random(3), alpha=2)
    pairs_hold(aten.rsub, random(3), 1.5)


def test_a_quotient_of_what_would_overflow_when_squared():
    pairs_hold(aten.div, random(5) * 1e30, random(5) * 1e25)
    pairs_hold(aten.div, random(5) * 1e-30, random(5) * 1e-25)


@pytest.mark.parametrize("power", [2, 3, -1, -3, 0.5, 7.0, 0, 1.5 + 0.5j])
def test_powers(power):
    pairs_hold(aten.pow, random(3, 4), power)
    pairs_hold(aten.pow, torch.zeros(2, dtype=torch.complex64), power) if power in (2, 0.5, 0) else None


def test_powers_of_tensors():
    pairs_hold(aten.pow, random(3, 4), random(4))
    pairs_hold(aten.pow, random(3, 4), torch.randn(4))
    pairs_hold(aten.pow, 2.0, random(4))


def test_roots_lie_on_the_right_side_of_the_cut():
    pairs_hold(aten.sqrt, torch.complex(torch.tensor([-4.0, -4.0]), torch.tensor([0.0, -0.0])))
