"""How long a search may go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


class Stop(Exception):
    """Time is up, or someone said so: the text tells which."""


@dataclass
class Clock:
    """When to end: after `seconds`, before an evaluation that would not fit any more, and when `asked()` says so."""

    seconds: float | None
    asked: Callable[[], bool]
    started: float = field(default_factory=time.monotonic)
    longest: float = 0.0
    """Seconds of the longest full evaluation so far."""

    @property
    def left(self) -> float:
        return float("inf") if self.seconds is None else self.started + self.seconds - time.monotonic()

    def check(self) -> None:
        """Raises Stop."""
        if self.asked():
            raise Stop("at the user's request")
        if self.left < self.longest:
            raise Stop(f"after {time.monotonic() - self.started:.0f} of {self.seconds:.0f} s")
