"""Models that are wrong for some legal input where they are exported as their trace goes. Used by crafted.py."""

from __future__ import annotations

import itertools
import random
import time

import numpy as np
import torch
from crafted_cases import Case, register, unit
from torch import nn

CASES: dict[str, Case] = {}
crafted = register(CASES)
IDS = "ids:1x8:int64"

# Written before what notices them was.


@crafted("branch")
class OnSum(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x * -3


@crafted("branch")
class OnOneElement(nn.Module):
    def forward(self, x):
        if x[0, 0] > 0.5:
            return x + 1
        return x - 1


@crafted("branch")
class OnAny(nn.Module):
    def forward(self, x):
        if (x > 5).any():
            x = x.clamp(max=5)
        return x * 2


@crafted("branch")
class OnAll(nn.Module):
    def forward(self, x):
        mask = x > -1
        if mask.all():
            return x
        return torch.where(mask, x, torch.zeros_like(x))


@crafted("branch")
class InHelper(nn.Module):
    """The decision is taken by a function, in another frame than its use."""

    def negative(self, x):
        return bool(x.mean() < 0)

    def forward(self, x):
        return -x if self.negative(x) else x + 2


@crafted("branch")
class Nested(nn.Module):
    """The inner question is not asked for the samples."""

    def forward(self, x):
        if x.max() > 3:  # noqa: SIM102
            if x.min() < -3:
                return x.abs()
        return x * 2


@crafted("branch")
class Chain(nn.Module):
    def forward(self, x):
        if 0 <= x.mean() <= 1:
            return x * 2
        return x


@crafted("branch")
class OnNan(nn.Module):
    def forward(self, x):
        y = torch.log(x + 1)
        if torch.isnan(y).any():
            y = torch.zeros_like(y)
        return y


@crafted("branch")
class OnItem(nn.Module):
    def forward(self, x):
        peak = x.max().item()
        if peak > 3.5:
            return x / 3.5
        return x


@crafted("loop")
class Times(nn.Module):
    def forward(self, x):
        for _ in range(int(x.max())):
            x = x * 0.5
        return x + 1


@crafted("loop")
class Until(nn.Module):
    def forward(self, x):
        while x.abs().max() > 1:
            x = x / 2
        return x


@crafted("loop")
class Converges(nn.Module):
    def forward(self, x):
        y = x
        for _ in range(20):
            new = (y + 1).clamp(min=0).sqrt()
            if torch.allclose(new, y, atol=0.3):
                break
            y = new
        return y


@crafted("slice")
class FirstOnes(nn.Module):
    def forward(self, x):
        k = int(x.abs().max()) % 8 + 1
        return x[:, :k].sum(1)


@crafted("slice")
class AtBest(nn.Module):
    def forward(self, x):
        k = int(x[0].argmax())
        return x[:, k] * 2


@crafted("ids", IDS)
class Ids(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(1000, 8)

    def forward(self, ids):
        return self.table(ids) if ids.max() < 100 else -self.table(ids)


@crafted("route", IDS)
class Route(nn.Module):
    """An expert by its number."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(1000, 8)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))

    def forward(self, ids):
        return self.experts[int(ids[0, 0]) % 4](self.table(ids))


@crafted("route", IDS)
class Lookup(nn.Module):
    def forward(self, ids):
        scale = {0: 1.0, 1: 2.0, 2: -1.0}[(ids.sum() % 3).item()]
        return ids * scale


@crafted("sentinel")
class Sentinel(nn.Module):
    def forward(self, x):
        y = x * 2 if x[0, 0] > 0.5 else x * -3
        return torch.cat([y, torch.full((1, 1), -1e9)], 1)


@crafted("state")
class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = 0

    def forward(self, x):
        self.n += 1
        return x + 1 if self.n < 10 else x - 1


CALLS = 0


@crafted("state")
class GlobalCounter(nn.Module):
    def forward(self, x):
        global CALLS
        CALLS += 1
        return x + 1 if CALLS < 10 else x - 1


@crafted("state")
class Grows(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(1)
        return x * 2 if len(self.seen) < 12 else x


@crafted("state")
class FirstMean(nn.Module):
    """What the first input was like is used for all."""

    def __init__(self):
        super().__init__()
        self.mean = None

    def forward(self, x):
        if self.mean is None:
            self.mean = x.mean()
        return x - self.mean


@crafted("state")
class ByShape(nn.Module):
    def __init__(self):
        super().__init__()
        self.memo = {}

    def forward(self, x):
        if x.shape not in self.memo:
            self.memo[x.shape] = x.softmax(1)
        return self.memo[x.shape] * x


@crafted("state")
class Average(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.zeros(1))

    def forward(self, x):
        self.average.mul_(0.99).add_(x.mean() * 1e-3)
        return x + self.average


@crafted("state")
class Cycle(nn.Module):
    def __init__(self):
        super().__init__()
        self.signs = itertools.cycle([1, 1, 1, 1, 1, 1, -1])

    def forward(self, x):
        return x * next(self.signs)


@crafted("random")
class Drops(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5, training=True)


@crafted("random")
class SmallNoise(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x) * 1e-4


@crafted("random")
class SeldomNoise(nn.Module):
    """Of Python's own generator, and rare."""

    def forward(self, x):
        return x if random.random() < 0.98 else -x


@crafted("random")
class NumpyNoise(nn.Module):
    def forward(self, x):
        return x + float(np.random.rand()) * 1e-5 if np.random.rand() < 0.9 else -x


@crafted("clock")
class Odd(nn.Module):
    def forward(self, x):
        return x if int(time.time()) % 2 else -x


@crafted("sizes")
class HowMany(nn.Module):
    def forward(self, x):
        if x[x > 0].shape[0] > 4:
            return x * 2
        return x


@crafted("sizes")
class CountScale(nn.Module):
    def forward(self, x):
        n = len(torch.nonzero(x > 0))
        return x / float(n + 1)


@crafted("numpy")
class ByNumpy(nn.Module):
    def forward(self, x):
        return torch.from_numpy(np.sort(x.numpy(), 1)) + x


@crafted("numpy")
class Quantile(nn.Module):
    def forward(self, x):
        return x - float(np.median(x.numpy()))


@crafted("python")
class PythonMax(nn.Module):
    def forward(self, x):
        return x * max(x[0, 0], x[0, 1])


@crafted("python")
class Sorted(nn.Module):
    def forward(self, x):
        return torch.stack(sorted(x[0]))


@crafted("python", IDS)
class Member(nn.Module):
    def forward(self, ids):
        return ids * 2 if ids[0, 0] in [3, 5, 7, 8, 500] or ids[0, 1].item() in (1, 700, *range(20, 600)) else ids


@crafted("equal")
class Equal(nn.Module):
    def forward(self, x):
        if torch.equal(x, x.abs()):
            return x.sqrt()
        return torch.zeros_like(x)


@crafted("raises")
class Catches(nn.Module):
    def forward(self, x):
        try:
            if x.min() < 0:
                raise ValueError
            return x.sqrt()
        except ValueError:
            return x * 0


@crafted("constant")
class MeanConstant(nn.Module):
    def forward(self, x):
        return x - torch.tensor(float(x.mean()))


@crafted("constant")
class Full(nn.Module):
    def forward(self, x):
        return torch.full((1, 8), x.max().item()) - x


@crafted("constant", draw=unit)
class NewTensor(nn.Module):
    def forward(self, x):
        return x * torch.tensor([x[0, 0], x[0, 1]]).sum()
