"""A model that learns from itself what rounding or pruning has cost it, without labels."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from stripes import Net, accuracy, stripes, unbalanced
from torch import nn

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.stages.finetune import fine_tune
from enginesmith.converters.training.distilling import BATCH, distillation


def feeds() -> Iterator[dict[str, Any]]:
    for picture in stripes(256, 3)[0]:
        yield {"x": picture[None].numpy()}


def test_pruning_is_made_good_without_labels(trained: Net) -> None:
    alone, taught = copy.deepcopy(trained), copy.deepcopy(trained)
    fine_tune(alone, None, qat=False, sparse=True)
    before, lost = accuracy(trained), accuracy(alone)
    function = distillation(copy.deepcopy(trained), feeds, steps=120, rate=2e-3)
    record = fine_tune(taught, function, qat=False, sparse=True)
    assert record.steps == 120
    assert record.losses[-1] < record.losses[0] / 2
    assert accuracy(taught) > lost + 0.7 * (before - lost)


def test_rounding_is_made_good_without_labels(trained: Net) -> None:
    model = unbalanced(trained)
    before = copy.deepcopy(model)
    record = fine_tune(copy.deepcopy(model), distillation(model, feeds, rate=2e-4), qat=True, sparse=False)
    assert sum(record.losses[-15:]) < 0.6 * sum(record.losses[:15])
    for one, two in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(one, two), "the teacher stays as it is"


class Recorder(nn.Module):
    """Notes how many rows it was given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.layer = nn.Linear(1, 1)
        self.rows: list[int] = []

    def forward(self, x: torch.Tensor) -> Any:
        self.rows.append(len(x))
        return self.inner(x) * self.layer(torch.ones(1, 1))


class Single(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(1, 4)


class Mixing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - x.mean()


def ramps() -> Iterator[dict[str, Any]]:
    for number in range(5):
        yield {"x": torch.arange(4.0)[None].mul(number + 1).numpy()}


@pytest.mark.parametrize(
    ("inner", "rows"), [(nn.Identity(), BATCH), (Single(), 1), (Mixing(), 1)], ids=["rows", "fixed size", "mixes rows"]
)
def test_examples_are_put_together_where_the_model_takes_them(inner: nn.Module, rows: int) -> None:
    model = Recorder(inner)
    steps = list(distillation(copy.deepcopy(model), ramps, steps=7)(model))
    assert model.rows == [rows] * 7
    assert len(steps) == 7, "the examples begin anew when they are through"


def test_outputs_that_have_no_gradient() -> None:
    class Chooser(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.argmax(1)

    model = nn.Sequential(nn.Linear(4, 2), Chooser())
    with pytest.raises(UserError, match="no output is a floating-point tensor"):
        fine_tune(model, distillation(copy.deepcopy(model), ramps), qat=True, sparse=False)
