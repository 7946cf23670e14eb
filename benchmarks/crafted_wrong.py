"""Models that are wrong for some legal input where they are exported as their trace goes. Used by crafted.py."""

from __future__ import annotations

import itertools
import random
import time
from datetime import UTC, datetime

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


# Written with it at hand.


@crafted("branch")
class OnIndex(nn.Module):
    def forward(self, x):
        scales = [1.0, 2.0, -1.0, 0.5, 3.0, -2.0, 4.0, 0.0]
        return x * scales[x[0].argmax()]


@crafted("branch")
class ByTable(nn.Module):
    """Untouched by the answer's sign for small values."""

    def forward(self, x):
        level = "high" if x.std().item() > 5 else "low"
        return {"high": x / 10, "low": x}[level]


@crafted("branch")
class TwoSteps(nn.Module):
    def forward(self, x):
        calm = (x.abs() < 4).all().item()
        peaky = not calm
        return x.softmax(1) if peaky else x


@crafted("loop")
class EachRow(nn.Module):
    def forward(self, x):
        total = torch.zeros(1)
        for value in x[0]:
            if value > 1:
                total = total + value
        return total


@crafted("loop")
class WhileItem(nn.Module):
    def forward(self, x):
        size = x.norm().item()
        while size > 2:
            x, size = x * 0.5, size * 0.5
        return x


@crafted("slice")
class Repeats(nn.Module):
    def forward(self, x):
        return torch.cat([x] * (1 + int((x > 5).sum())), 1).sum(1)


@crafted("slice")
class Rolls(nn.Module):
    def forward(self, x):
        return x.roll(int(x[0, 0]), 1)


@crafted("ids", IDS)
class Vocabulary(nn.Module):
    """Another table for rare tokens."""

    def __init__(self):
        super().__init__()
        self.common, self.rare = nn.Embedding(100, 8), nn.Embedding(1000, 8)

    def forward(self, ids):
        if bool((ids < 100).all()):
            return self.common(ids)
        return self.rare(ids)


@crafted("ids", IDS)
class Padding(nn.Module):
    def forward(self, ids):
        length = int((ids != 0).sum())
        return ids[:, :length].float().mean(1)


@crafted("route", IDS)
class SkipsLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))

    def forward(self, ids):
        x = ids.float() / 1000
        for layer in self.layers[: int(ids[0, 0]) % 4 + 1]:
            x = layer(x)
        return x


@crafted("sentinel")
class MaskValue(nn.Module):
    def forward(self, x):
        y = x.flip(1) if x[0, 3] > 1.5 else x
        return torch.where(y > 0, y, torch.tensor(-1e9))


class Holder:
    calls = 0


@crafted("state")
class ClassCounter(nn.Module):
    def forward(self, x):
        Holder.calls += 1
        return x if Holder.calls < 15 else x * 2


@crafted("state")
class DefaultArgument(nn.Module):
    def forward(self, x, seen=[]):  # noqa: B006
        seen.append(x.shape[0])
        return x + 1 if len(seen) <= 9 else x


def closure():
    calls = 0

    def scale():
        nonlocal calls
        calls += 1
        return 1.0 if calls < 11 else 2.0

    return scale


@crafted("state")
class Closure(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = closure()

    def forward(self, x):
        return x * self.scale()


@crafted("state")
class Smooths(nn.Module):
    """Python's floats, of the input before."""

    def __init__(self):
        super().__init__()
        self.last = None

    def forward(self, x):
        y = x if self.last is None else 0.999 * x + 0.001 * self.last
        self.last = x
        return y


@crafted("state")
class ByIdentity(nn.Module):
    def __init__(self):
        super().__init__()
        self.memo = {}

    def forward(self, x):
        key = id(x)
        if key not in self.memo:
            self.memo[key] = (x, x.mean())
        return x - self.memo[key][1] if len(self.memo) < 12 else x


@crafted("state")
class Alternates(nn.Module):
    def __init__(self):
        super().__init__()
        self.odd = False

    def forward(self, x):
        self.odd = not self.odd
        return x if self.odd else -x


@crafted("state")
class WearsOut(nn.Module):
    """A weight that every call changes."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))

    def forward(self, x):
        y = x * self.weight
        self.weight.data.mul_(0.99999)
        return y


@crafted("random")
class Flips(nn.Module):
    def forward(self, x):
        return x * (torch.randint(0, 2, (1,)) * 2 - 1)


@crafted("random")
class Samples(nn.Module):
    def forward(self, x):
        return torch.multinomial(x.softmax(1), 1).float()


@crafted("random")
class Generator(nn.Module):
    def forward(self, x):
        return x + float(np.random.default_rng().normal()) * 1e-5


@crafted("clock")
class Hour(nn.Module):
    def forward(self, x):
        return x * (1 + datetime.now(UTC).toordinal() % 7)


@crafted("sizes")
class SizeOfUnique(nn.Module):
    def forward(self, x):
        classes = torch.unique(x.round())
        return x / classes.numel() if classes.numel() > 3 else x


@crafted("sizes")
class IfAny(nn.Module):
    def forward(self, x):
        chosen = x[x > 6]
        if len(chosen):
            return x - chosen.mean()
        return x


@crafted("numpy")
class NumpyBranch(nn.Module):
    def forward(self, x):
        return x if np.abs(x.numpy()).max() < 5 else x / 2


@crafted("python")
class SumOfList(nn.Module):
    def forward(self, x):
        return x - sum(x[0].tolist())


@crafted("equal")
class NonZero(nn.Module):
    def forward(self, x):
        return x + 1 if torch.is_nonzero((x > 10).sum()) else x


@crafted("raises")
class CatchesAll(nn.Module):
    """The exporter's own refusal is caught."""

    def forward(self, x):
        try:
            return x * 2 if x.sum() > 0 else x * 3
        except Exception:  # noqa: BLE001
            return x * 2
