"""Complex tensors made, taken apart, converted, moved, cut, joined and filled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.pairs import Pair, on_halves, on_pairs, pair, parts
from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten

on_halves(
    # moved
    *(aten.view, aten.reshape, aten._unsafe_view, aten.flatten, aten.unflatten, aten.as_strided, aten.unfold),
    *(aten.permute, aten.transpose, aten.t, aten.movedim, aten.swapaxes, aten.flip, aten.roll, aten.rot90),
    *(aten.squeeze, aten.unsqueeze, aten.expand, aten.expand_as, aten.repeat, aten.tile, aten.repeat_interleave),
    # cut and joined
    *(aten.slice, aten.select, aten.narrow, aten.split, aten.split_with_sizes, aten.chunk, aten.unbind, aten.diagonal),
    *(aten.index, aten.index_select, aten.gather, aten.take, aten.embedding, aten.tril, aten.triu, aten.masked_select),
    *(aten.cat, aten.stack, aten.diag, aten.diag_embed),
    # filled
    *(aten.slice_scatter, aten.select_scatter, aten.diagonal_scatter, aten.index_put, aten.index_copy, aten.index_add),
    *(aten.scatter, aten.scatter_add, aten.masked_scatter, aten.copy),
    *(aten.zeros, aten.zeros_like, aten.new_zeros, aten.empty, aten.empty_like, aten.new_empty),
    # left as they are
    *(aten.clone, aten.alias, aten.detach, aten.contiguous, aten.lift_fresh_copy, aten.resolve_neg, aten.resolve_conj),
    # linear
    *(aten.sum, aten.mean, aten.cumsum, aten.trace, aten.neg),
)
on_halves(aten.full, aten.full_like, aten.fill, aten.scalar_tensor, number=1)
on_halves(aten.constant_pad_nd, aten.masked_fill, aten.new_full, number=2)
on_halves(aten.index_fill, number=3)


@on_pairs(aten.view_as_complex)
def view_as_complex(x: Tensor) -> Pair:
    return Pair(x.select(-1, 0), x.select(-1, 1))


@on_pairs(aten.view_as_real)
def view_as_real(z: Pair) -> Tensor:
    return torch.stack([z.re, z.im], -1)


@on_pairs(aten.complex)
def complex(re: Tensor, im: Tensor) -> Pair:
    return pair(re, im)


@on_pairs(aten.polar)
def polar(length: Tensor, angle: Tensor) -> Pair:
    return pair(length * torch.cos(angle), length * torch.sin(angle))


@on_pairs(aten.real)
def real(z: Any) -> Tensor:
    return parts(z)[0]  # type: ignore[no-any-return]


@on_pairs(aten.imag)
def imag(z: Pair) -> Tensor:
    return z.im


@on_pairs(aten._conj, aten.conj, aten._conj_physical, aten.conj_physical)
def conj(z: Any) -> Any:
    return Pair(z.re, -z.im) if isinstance(z, Pair) else z


@on_pairs(aten._to_copy, aten.to, aten.type_as)
def converted(z: Any, *arguments: Any, **named: Any) -> Any:
    """To a complex dtype both parts, to a real one the real part; which one it is, the graph knows and the caller sees to."""
    return z


@on_pairs(aten.where)
def where(condition: Tensor, x: Any, y: Any) -> Pair:
    (a, b), (c, d) = parts(x), parts(y)
    return pair(torch.where(condition, a, c), torch.where(condition, 0 if b is None else b, 0 if d is None else d))


@decomposes(aten._neg_view.default)
def negated(x: Tensor) -> Tensor:
    """What the imaginary part of a conjugate is a view of."""
    return -x
