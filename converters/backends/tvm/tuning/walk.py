"""Which schedule of a workload to try next: steps from the best one so far, along one field and then along two.

The default is near the best for most sizes, and a kernel's time hardly depends on how the fields go together, so a walk
from the default soon sees what is to be gained. On four convolutions of ResNet-50 it was no worse than Optuna's TPE in two
runs on a noisy machine, 24 and 28 measurements each.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from enginesmith.converters.backends.tvm.kernels.schedule import Schedule, Space

PROMISING = 0.99
"""Of the best time: only what is faster than this counts as better, since less is noise."""


class Walk:
    """Proposes schedules of one `space` from `start` on, each of them once. `seed` fixes the order."""

    def __init__(self, start: Schedule, space: Space, seed: int = 0) -> None:
        self.best, self.ratio = start, 1.0
        """The best schedule so far, and its time relative to the start's."""
        self.space = space
        self.seen = {start}
        self.stale = 0
        """Proposals since the last that was better."""
        self._random = random.Random(seed)
        self._steps = self._around()

    def propose(self) -> Schedule | None:
        """None when nothing is left around the best."""
        for schedule in self._steps:
            if schedule not in self.seen:
                self.seen.add(schedule)
                return schedule
        return None

    def learn(self, schedule: Schedule, ratio: float | None) -> None:
        """What came of it: None for a schedule that failed."""
        self.seen.add(schedule)
        self.stale += 1
        if ratio is not None and ratio < PROMISING * self.ratio:
            self.best, self.ratio = schedule, ratio
            self.stale = 0
            self._steps = self._around()

    def _around(self) -> Iterator[Schedule]:
        """One field changed, the nearest values first; then two."""
        best = self.best
        fields = [name for name, values in self.space.items() if len(values) > 1]
        steps = [(abs(step), name, value) for name in fields for step, value in self._neighbours(best, name)]
        self._random.shuffle(steps)
        for _, name, value in sorted(steps, key=lambda found: found[0]):
            yield best.changed(name, value)
        pairs = [
            best.changed(one, first).changed(other, second)
            for one, other in itertools.combinations(fields, 2)
            for _, first in self._neighbours(best, one)
            for _, second in self._neighbours(best, other)
        ]
        self._random.shuffle(pairs)
        yield from pairs

    def _neighbours(self, best: Schedule, name: str) -> list[tuple[int, object]]:
        """The other values of a field, and how many places they are away."""
        values = self.space[name]
        at = values.index(getattr(best, name))
        return [(index - at, value) for index, value in enumerate(values) if index != at]
