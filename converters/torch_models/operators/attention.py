"""Attention under a mask: a query that may see no key gets zeros, as PyTorch's kernels give it.

The exporter's own translation gives it the mean of all values: the padding on the left of a text, under a causal mask, has such
queries. What it gives for masks that are added, it gives as PyTorch does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from enginesmith.converters.torch_models.operators.registry import decomposes

aten = torch.ops.aten


@decomposes(aten.scaled_dot_product_attention.default, tolerance=2e-6, normwise=True)
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Under a boolean mask alone, float[..., queries, size]. The exporter knows queries of four axes only: others get them."""
    if query.ndim < 4:
        wide = [each if each is None else each[(None,) * (4 - query.ndim)] for each in (query, key, value, attn_mask)]
        found = aten.scaled_dot_product_attention.default(
            *wide, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa and query.ndim > 2
        )
        return found.reshape(*query.shape[:-1], value.shape[-1])  # type: ignore[no-any-return]
    if attn_mask is None or attn_mask.dtype != torch.bool or dropout_p or is_causal:
        return NotImplemented  # type: ignore[no-any-return]
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = (each.repeat_interleave(repeats, -3) for each in (key, value))
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = torch.matmul(query, key.transpose(-2, -1)) * factor
    weights = torch.softmax(torch.where(attn_mask, scores, torch.finfo(scores.dtype).min), -1)
    return torch.matmul(torch.where(attn_mask, weights, 0.0), value)


@decomposes(aten._scaled_dot_product_flash_attention_for_cpu.default, tolerance=2e-6, normwise=True)
def flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The results, and the logarithm of each query's sum of exponentials; `attn_mask` is added."""
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = torch.matmul(query, key.transpose(-2, -1)) * factor
    if is_causal:
        past = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = torch.where(past, scores, -torch.inf)
    if attn_mask is not None:
        scores = scores + attn_mask
    found = torch.matmul(torch.softmax(scores, -1), value)
    return found, torch.logsumexp(scores, -1)
