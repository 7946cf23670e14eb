"""The user's function: what it may return, and what is said about one that goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.training.training import train


def run(function: Any, told: list[str] | None = None) -> tuple[int, list[float]]:
    return train(function, "job.py:train", nn.Linear(2, 1), (told if told is not None else []).append)


def test_losses_and_progress() -> None:
    told: list[str] = []

    def function(model: nn.Module) -> Iterator[Any]:
        yield 1.0
        yield torch.tensor([0.5], requires_grad=True)
        yield None

    assert run(function, told) == (3, [1.0, 0.5])
    assert told == ["training, step 1, loss 1"]


def test_gradients_are_on_whatever_is_around() -> None:
    def function(model: nn.Module) -> Iterator[None]:
        model(torch.ones(1, 2)).sum().backward()
        yield
        model(torch.ones(1, 2)).sum().backward()

    with torch.no_grad():
        assert run(function) == (1, [])


def nothing(model: nn.Module) -> None: ...


def raises(model: nn.Module) -> None:
    raise KeyError("no such data")


def raises_later(model: nn.Module) -> Iterator[None]:
    yield
    raise ValueError("out of data")


def stops(model: nn.Module) -> None:
    raise SystemExit(1)


def no_argument() -> None: ...


def another(model: nn.Module) -> nn.Module:
    return nn.Linear(2, 1)


def yields_words(model: nn.Module) -> Iterator[str]:
    yield "loss"


def yields_vectors(model: nn.Module) -> Iterator[Any]:
    yield torch.zeros(2)


def loss_is_nan(model: nn.Module) -> Iterator[float]:
    yield 1.0
    yield float("nan")


def weight_is_nan(model: nn.Module) -> None:
    nn.init.constant_(next(model.parameters()), float("inf"))


def test_one_that_does_nothing() -> None:
    assert run(nothing) == (0, [])


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (raises, UserError, r"the function job.py:train failed: KeyError: 'no such data' \(test_training.py:\d+\)"),
        (raises_later, UserError, r"failed: ValueError: out of data \(test_training.py:\d+\)"),
        (stops, UserError, "failed: SystemExit: 1"),
        (no_argument, UserError, "failed: TypeError: no_argument"),
        (another, UserError, "returned another module; it must train the one that it is given"),
        (yields_words, UserError, "yielded str at step 1; yield the loss as a number, or nothing"),
        (yields_vectors, UserError, "yielded Tensor at step 1"),
        (loss_is_nan, ConversionError, "diverged: the loss of step 2 is nan"),
        (weight_is_nan, ConversionError, "diverged: weight holds NaN or infinity"),
    ],
)
def test_what_goes_wrong_is_one_line(function: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        run(function)
    assert "\n" not in str(caught.value)
