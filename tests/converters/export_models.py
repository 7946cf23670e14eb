"""Models in a user's file, for the tests of the export."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MODELS = '''
from collections import namedtuple
import torch
from torch import nn
import torch.nn.functional as F

class Fn(nn.Module):
    """A function as a module."""
    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        self.parts = nn.ModuleDict(parts)

def cnn():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

def with_example():
    return cnn(), torch.zeros(2, 3, 16, 16)

def odd_example():
    return cnn(), 5

def complex_example():
    return cnn(), torch.zeros(2, dtype=torch.complex64)

class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x * 2
        return x * 3
def branch(): return Branch()

class Never(nn.Module):
    def forward(self, x):
        return torch.from_numpy(__import__("numpy").linalg.eigvals(x.numpy()).real)
def never(): return Never()

Pair = namedtuple("Pair", "left right")
class Nested(nn.Module):
    def forward(self, x):
        return {"x": x + 1, "list": [x * 2, (x * 3, None)], "pair": Pair(x * 4, x * 5), "same": x + 1}
def nested(): return Nested()

class Both(nn.Module):
    def forward(self, x):
        y = x * 2
        return y, [y, x]
def both(): return Both()

class Nothing(nn.Module):
    def forward(self, x):
        return {}
def nothing(): return Nothing()

class Number(nn.Module):
    def forward(self, x):
        return 3
def number(): return Number()

class Half(nn.Module):
    def forward(self, x):
        return x.bfloat16()
def half(): return Half()

class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.out = nn.Linear(8, 4)
    def forward(self, ids, mask, scale=None, shift=None):
        hidden = (self.embedding(ids) * mask[..., None]).sum(1)
        if scale is not None:
            hidden = hidden * scale
        if shift is not None:
            hidden = hidden + shift
        return self.out(hidden)
def text(): return Text()

class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    def forward(self, x):
        y = self.conv(x)
        return F.interpolate(y, size=x.shape[2:], mode="bilinear"), y.flatten(2).mean(2)
def dense(): return Dense()

class Baked(nn.Module):
    def forward(self, x):
        return x * float(int(x.shape[0])) + torch.zeros(int(x.shape[0]), 3)
def baked(): return Baked()

class BakedInside(nn.Module):
    """Only the value depends on the size, so that the exported graph runs, and is wrong."""
    def forward(self, x):
        return x * torch.tensor(float(int(x.shape[0])))
def baked_inside(): return BakedInside()

class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
    def forward(self, x):
        self.calls += 1
        return x + self.calls
def counter(): return Counter()

class Total(nn.Module):
    """Returns its own buffer, which the next call changes."""
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(1, 3))
    def forward(self, x):
        self.total.copy_(x)
        return self.total
def total(): return Total()

def big():
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
'''


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a factory's file does to `sys.path` and `sys.modules` ends with the test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if "pytest-of" in file:
            del sys.modules[name]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "models_of_test.py"
    path.write_text(MODELS)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
