"""Models that look like those of crafted_wrong.py, and whose graphs are right for all legal inputs. Used by crafted.py."""

from __future__ import annotations

import enum
import logging
import math
import time
import warnings

import numpy as np
import torch
from crafted_cases import Case, register, unit
from torch import nn

CASES: dict[str, Case] = {}
crafted = register(CASES)
IDS = "ids:1x8:int64"
log = logging.getLogger(__name__)

# Written before what notices the wrong ones was.


@crafted("branch")
class Where(nn.Module):
    def forward(self, x):
        return torch.where(x.sum() > 0, x * 2, x * -3)


@crafted("branch")
class Cond(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: x * 2, lambda x: x * -3, (x,))


@torch.jit.script
def scripted(x: torch.Tensor) -> torch.Tensor:
    if x.sum() > 0:
        return x * 2
    return x * -3


@crafted("branch")
class Scripted(nn.Module):
    def forward(self, x):
        return scripted(x) + 1


@crafted("branch")
class OnShape(nn.Module):
    def forward(self, x):
        if x.shape[1] > 4:
            return x * 2
        return x


@crafted("branch")
class OnDims(nn.Module):
    def forward(self, x):
        if x.dim() == 2:
            x = x[:, None]
        if x.numel() == 0:
            return x
        return x.mean(1)


@crafted("branch")
class OnDtype(nn.Module):
    def forward(self, x):
        if x.dtype == torch.float64 or x.is_complex():
            return x.float()
        return x + 1


@crafted("branch")
class OnTraining(nn.Module):
    def forward(self, x):
        if self.training and x.max() > 0:
            return -x
        return nn.functional.dropout(x, 0.5, self.training) * 2


@crafted("branch")
class OnNone(nn.Module):
    def forward(self, x, mask=None):
        return x + 1 if mask is None else x * mask


@crafted("branch")
class OnParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        if (self.scale > 0).item():
            return x * self.scale
        return x


@crafted("branch")
class OnBuffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("limits", torch.tensor([1, 3]))

    def forward(self, x):
        low, high = self.limits.tolist()
        return x[:, low:high] if self.limits.sum() > 2 else x


class Mode(enum.Enum):
    SUM = "sum"
    MEAN = "mean"


@crafted("branch")
class OnEnum(nn.Module):
    def __init__(self, mode=Mode.MEAN):
        super().__init__()
        self.mode = mode

    def forward(self, x):
        return {Mode.SUM: x.sum, Mode.MEAN: x.mean}[self.mode](1)


@crafted("check")
class Asserts(nn.Module):
    def forward(self, x):
        assert x.max() < 1e6, "too large"
        return x * 2


@crafted("check")
class Raises(nn.Module):
    def forward(self, x):
        if torch.isnan(x).any():
            raise ValueError("NaN in the input")
        return x * 2


def finite(x):
    return bool(torch.isfinite(x).all())


@crafted("check")
class ChecksElsewhere(nn.Module):
    def forward(self, x):
        if not finite(x):
            raise ValueError("not finite")
        return x.relu() + 1


@crafted("check")
class Warns(nn.Module):
    def forward(self, x):
        if x.abs().max().item() > 1e3:
            warnings.warn("large values", stacklevel=2)
        return x * 2


@crafted("check")
class Logs(nn.Module):
    def forward(self, x):
        log.debug("mean %.3f", x.mean().item())
        return x * 2


@crafted("check", IDS)
class ChecksIds(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(1000, 8)

    def forward(self, ids):
        if int(ids.max()) >= 1000 or int(ids.min()) < 0:
            raise IndexError(f"ids up to {int(ids.max())}")
        return self.table(ids)


@crafted("check")
class TorchAssert(nn.Module):
    def forward(self, x):
        torch._assert(bool(x.max() < 1e6), "too large")
        return x - 1


@crafted("loop")
class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        for number, layer in enumerate(self.layers):
            x = layer(x).relu() if number < len(self.layers) - 1 else layer(x)
        return x


@crafted("loop", "x:4x8")
class Rows(nn.Module):
    def forward(self, x):
        return torch.stack([row * (number + 1) for number, row in enumerate(x)]) + len(x)


@crafted("loop")
class WhileShape(nn.Module):
    def forward(self, x):
        while x.shape[1] > 2:
            x = x[:, ::2] + x[:, 1::2]
        return x


@crafted("shape")
class Scaled(nn.Module):
    def forward(self, x):
        n = int(x.shape[0])
        return (x / math.sqrt(x.shape[-1])).reshape(n * 2, -1)


@crafted("shape")
class HalfOf(nn.Module):
    def forward(self, x):
        k = max(1, min(int(x.shape[1] * 0.5), 6))
        return x[:, :k]


@crafted("state")
class Counts(nn.Module):
    """Only to tell."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * 2


@crafted("state")
class Table(nn.Module):
    """A table of positions, made when it is wanted."""

    def __init__(self):
        super().__init__()
        self.table = None

    def forward(self, x):
        if self.table is None or self.table.shape[0] < x.shape[1]:
            self.table = torch.arange(x.shape[1], dtype=torch.float32) / 10
        return x + self.table[: x.shape[1]]


@crafted("state")
class Observes(nn.Module):
    """A statistic that nothing reads."""

    def __init__(self):
        super().__init__()
        self.register_buffer("largest", torch.zeros(()))

    def forward(self, x):
        self.largest.copy_(torch.maximum(self.largest, x.max()))
        return x.tanh()


@crafted("state")
class LastPeak(nn.Module):
    def __init__(self):
        super().__init__()
        self.peak = 0.0

    def forward(self, x):
        self.peak = float(x.max())
        return x.tanh()


@crafted("random")
class Seeded(nn.Module):
    """Drawn once."""

    def __init__(self):
        super().__init__()
        self.register_buffer("anchors", torch.rand(8, generator=torch.Generator().manual_seed(3)))

    def forward(self, x):
        return x * self.anchors


@crafted("random", "x:4x8")
class BatchStatistics(nn.Module):
    def forward(self, x):
        return nn.functional.batch_norm(x, None, None, training=True)


@crafted("clock")
class Times(nn.Module):
    def forward(self, x):
        started = time.perf_counter()
        y = x * 2
        self.took = time.perf_counter() - started
        return y


@crafted("sizes")
class MaskedFill(nn.Module):
    def forward(self, x):
        x = x.clone()
        x[x < 0] = 0
        return x


@crafted("numpy")
class NumpyTable(nn.Module):
    def forward(self, x):
        return x * torch.from_numpy(np.linspace(0, 1, x.shape[1], dtype=np.float32))


@crafted("python")
class ConfigMax(nn.Module):
    def __init__(self):
        super().__init__()
        self.widths = [3, 8, 5]

    def forward(self, x):
        return x[:, : max(self.widths)] * sorted(self.widths)[0] if 8 in self.widths else x


@crafted("equal")
class SameShape(nn.Module):
    def forward(self, x):
        y = x.flip(1)
        if x.shape == y.shape and torch.equal(torch.tensor(x.shape), torch.tensor(y.shape)):
            return x + y
        return x


@crafted("raises")
class TriesAttribute(nn.Module):
    def forward(self, x):
        try:
            return x * self.scale
        except AttributeError:
            return x * 3


@crafted("constant", draw=unit)
class SizeConstant(nn.Module):
    def forward(self, x):
        return x / torch.tensor(float(x.shape[1])) + torch.full((1, 8), math.pi)
