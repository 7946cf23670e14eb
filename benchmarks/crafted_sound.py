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


# Written with it at hand.


@crafted("branch")
class OnConfig(nn.Module):
    def __init__(self):
        super().__init__()
        self.config = {"bias": True, "limit": 3}

    def forward(self, x):
        return x + self.config["limit"] if self.config.get("bias") else x


@crafted("branch")
class OnType(nn.Module):
    def forward(self, x):
        return x * 2 if torch.is_tensor(x) and isinstance(x, torch.Tensor) and x.is_floating_point() else x


@crafted("branch")
class OnOwnAnswer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        if bool((self.layer.weight.abs() < 100).all()):
            return self.layer(x)
        return x


@crafted("check")
class Prints(nn.Module):
    def forward(self, x):
        if x.abs().max() > 100:
            print("large:", x.abs().max().item())
        return x.sigmoid()


@crafted("check")
class NanCheck(nn.Module):
    def forward(self, x):
        y = x.softmax(1)
        if torch.isnan(y).any() or torch.isinf(y).any():
            raise FloatingPointError(f"not a number among {y}")
        return y


@crafted("check")
class RangeCheck(nn.Module):
    def forward(self, x):
        low, high = float(x.min()), float(x.max())
        if not -1e5 < low <= high < 1e5:
            raise ValueError(f"{low}..{high}")
        return x * 3


@crafted("check")
class ListCheck(nn.Module):
    def forward(self, x):
        assert all(abs(value) < 1e6 for value in x[0].tolist())
        return x * 3


@crafted("check")
class EqualCheck(nn.Module):
    def forward(self, x):
        y = x.flip(1)
        assert torch.equal(y.flip(1), x)
        return y


@crafted("loop")
class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(2, 1)

    def forward(self, x):
        state = torch.zeros(x.shape[0], 1)
        for step in range(x.shape[1]):
            state = torch.tanh(self.cell(torch.cat([x[:, step : step + 1], state], 1)))
        return state


@crafted("loop")
class FixedSteps(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.tensor(4))

    def forward(self, x):
        for _ in range(int(self.steps)):
            x = (x + 1).abs().sqrt()
        return x


@crafted("slice")
class ByBuffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("order", torch.tensor([3, 1, 2]))

    def forward(self, x):
        return torch.cat([x[:, int(i) : int(i) + 1] for i in self.order], 1)


@crafted("ids", IDS)
class Clamped(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(100, 8)

    def forward(self, ids):
        return self.table(ids.clamp(max=99))


@crafted("route", IDS)
class AllExperts(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(1000, 8)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, ids):
        x = self.table(ids)
        weights = x.sum(2, keepdim=True).sigmoid()
        return sum(expert(x) * weights for expert in self.experts)


@crafted("sentinel")
class FillsMask(nn.Module):
    def forward(self, x):
        return x.masked_fill(x > 3, -1e4).softmax(1)


@crafted("state")
class Memo(nn.Module):
    """Masks by size."""

    def __init__(self):
        super().__init__()
        self.masks = {}

    def forward(self, x):
        n = x.shape[1]
        if n not in self.masks:
            self.masks[n] = torch.tril(torch.ones(n, n))
        return x @ self.masks[n]


@crafted("state")
class Keeps(nn.Module):
    """For a hook to look at."""

    def __init__(self):
        super().__init__()
        self.features = []

    def forward(self, x):
        y = x.relu()
        self.features = [y, *self.features][:3]
        return y * 2


@crafted("state")
class RunningStatistics(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x):
        return self.norm(x)


@crafted("random")
class OnlyInTraining(nn.Module):
    def forward(self, x):
        if self.training:
            x = x + torch.randn_like(x)
        return nn.functional.dropout(x, 0.3, self.training) + 1


@crafted("clock")
class Deadline(nn.Module):
    def forward(self, x):
        log.debug("at %s", time.time())
        return x * x


@crafted("sizes")
class TopK(nn.Module):
    def forward(self, x):
        values, _ = x.topk(min(3, x.shape[1]), 1)
        return values[:, : values.shape[1] - 1]


@crafted("numpy")
class NumpyShape(nn.Module):
    def forward(self, x):
        return x.reshape(*np.array(x.shape)[::-1].tolist()) * float(np.prod(x.shape))


@crafted("python")
class PythonSum(nn.Module):
    def forward(self, x):
        return sum(x[:, i] * w for i, w in enumerate([1.0, -2.0, 3.0]))


@crafted("equal")
class Close(nn.Module):
    def forward(self, x):
        return torch.where(torch.isclose(x, x.round(), atol=0.1), x.round(), x)


@crafted("raises")
class Ensures(nn.Module):
    def forward(self, x):
        try:
            if x.shape[1] % 2:
                raise ValueError("an odd width")
            return x[:, ::2] - x[:, 1::2]
        except ValueError:
            return x
