"""Attention under masks, against PyTorch's own: queries that may see no key among them."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from operators_support import exported_holds, holds
from torch import nn

attend = torch.ops.aten.scaled_dot_product_attention.default


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_boolean_masks(data):
    """Of any broadcast form, from nothing hidden to everything, with scales and shared heads."""
    batch, heads, queries, keys, size = (data.draw(st.integers(1, 4)) for _ in range(5))
    shared = data.draw(st.sampled_from([n for n in (1, 2, 4) if heads % n == 0]))
    query, key, value = (
        torch.randn(batch, n, m, size) for n, m in ((heads, queries), (heads // shared, keys), (heads // shared, keys))
    )
    shape = [batch, heads, queries, keys]
    for axis in range(4):
        shape[axis] = data.draw(st.sampled_from([1, shape[axis]]))
    mask = torch.rand(shape) < data.draw(st.sampled_from([0.0, 0.3, 1.0]))
    named = {"scale": data.draw(st.sampled_from([None, 0.3])), "enable_gqa": shared > 1}
    holds(attend, query, key, value, mask, **named)


class Padded(nn.Module):
    """A text that is padded on the left: the first queries see nothing."""

    def forward(self, x, mask):
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        return nn.functional.scaled_dot_product_attention(*3 * [x[:, None]], mask[:, None, None].bool() & causal)


def test_padding_on_the_left():
    shape = torch.export.Dim("tokens", min=2, max=32)
    masks = torch.tensor([[0, 0, 1, 1, 1]]), torch.tensor([[0, 0, 0, 0]]), torch.ones(1, 7, dtype=torch.int64)
    first, *others = [(torch.randn(1, mask.shape[1], 8), mask) for mask in masks]
    exported_holds(Padded(), *first, dynamic_shapes=({1: shape}, {1: shape}), others=others, normwise=True)


def test_flash_attention_gives_the_logarithm_of_its_sums():
    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    query, key, value = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8)
    holds(operator, query, key, value)
    holds(operator, query, key, value, attn_mask=torch.randn(5, 7), scale=0.3)
    holds(operator, query, key[:, :, :5], value[:, :, :5], is_causal=True)


@pytest.mark.parametrize("lead", [(), (4,)])
@pytest.mark.parametrize("causal", [False, True])
def test_queries_of_fewer_axes(lead, causal):
    class Attends(nn.Module):
        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    sizes = [(*lead, 3, 8), (*lead, 6, 8), (*lead, 6, 5)]
    exported_holds(Attends(), *(torch.randn(size) for size in sizes), tolerance=1e-5, normwise=True)
