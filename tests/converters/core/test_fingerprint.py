"""What tells live objects apart, and what doesn't."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from enginesmith.converters.core.fingerprint import fingerprint

MADE = """
import torch
from enginesmith.converters.core.fingerprint import fingerprint
FACTOR = 2
def twice(x): return FACTOR * x
class Net(torch.nn.Module):
    names = {"some", "words", "in", "a", "set"}
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
        self.call = lambda x: twice(x) + len(self.names)
    def forward(self, x): return self.call(self.layers(x))
print(fingerprint((Net(), torch.ones(1, 3))))
"""


def printed(code: str, seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    ).stdout


def test_two_processes_agree_and_what_main_refers_to_counts():
    first = printed(MADE, 1)
    assert printed(f"\n\n# moved, and one more name\nother = 1{MADE}", 2) == first
    assert printed(MADE.replace("FACTOR = 2", "FACTOR = 3"), 1) != first
    assert printed(MADE.replace("FACTOR * x", "x * FACTOR"), 1) != first
    assert printed(MADE.replace("len(self.names)", "1"), 1) != first


def scaled(factor: float) -> Callable[[float], float]:
    return lambda x: factor * x


def tied(*, shared: bool) -> nn.ModuleList:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.load_state_dict(first.state_dict())
    if shared:
        second.weight = first.weight
    return nn.ModuleList([first, second])


def linear(**changed: Any) -> nn.Module:
    torch.manual_seed(0)
    module = nn.Linear(2, 3)
    for name, value in changed.items():
        setattr(module, name, value)
    return module


def patched(factor: float) -> nn.Module:
    module = linear()
    module.forward = types.MethodType(lambda self, x: scaled(factor)(x), module)
    return module


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (linear(), linear(weight=nn.Parameter(torch.zeros(3, 2)))),
        (linear(), linear(eps=1e-3)),
        (linear(), linear().eval()),
        (linear(), linear().half()),
        (tied(shared=True), tied(shared=False)),
        (scaled(2), scaled(3)),
        (linear(), patched(2)),
        (patched(2), patched(3)),
        (scaled(2), scaled(2.0)),
        (np.zeros(2), np.zeros((2, 1))),
        ([None, 1], [1, None]),
        ((1, True), (1, 1)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (nn.ReLU(), nn.ReLU6()),
    ],
)
def test_what_differs(one: object, other: object) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_what_is_the_same() -> None:
    assert fingerprint(linear()) == fingerprint(linear())
    assert fingerprint(scaled(2)) == fingerprint(scaled(2))
    assert fingerprint(["one" + "two"]) == fingerprint(["".join(["one", "two"])])
    loop: list[Any] = [1]
    loop.append(loop)
    again: list[Any] = [1]
    again.append(again)
    assert fingerprint(loop) == fingerprint(again)


def test_what_can_not_be_pickled_has_none() -> None:
    with pytest.raises(TypeError):
        fingerprint([open(os.devnull)])  # noqa: SIM115
