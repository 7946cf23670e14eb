"""nn.Transformer and its decoder compare their masks with the causal one, which decides nothing that a graph has."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from enginesmith.converters.torch_models.capture import captured


class Made(nn.Module):
    """Makes its mask itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.inner(x, y, tgt_mask=nn.Transformer.generate_square_subsequent_mask(y.shape[1]))


class Given(Made):
    """Is given it."""

    def forward(self, x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.inner(x, y, tgt_mask=mask)


@pytest.mark.parametrize("strict", [False, True])
def test_masks_decide_nothing(strict: bool) -> None:
    x, y = torch.randn(2, 6, 8), torch.randn(2, 5, 8)
    model = Made().eval()
    torch.testing.assert_close(captured(model, (x, y), None, strict).module()(x, y), model(x, y))
    model = Given().eval()
    causal = nn.Transformer.generate_square_subsequent_mask(5)
    program = captured(model, (x, y, causal), None, strict).module()
    for mask in (causal, torch.zeros(5, 5)):
        torch.testing.assert_close(program(x, y, mask), model(x, y, mask))
