"""What happens during a build, as it happens: workers and the builder send events, the terminal and the log take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel

Kind = Literal[
    "plan", "start", "waiting", "progress", "warning", "log", "cached", "built", "failed", "skipped", "not run"
]


WORKERS: tuple[Kind, ...] = ("progress", "warning")
"""What a worker may say; the rest is the builder's."""


class Event(BaseModel):
    """One line of `events.jsonl`, where all are kept but `log`: a line of a tool's own output."""

    event: Kind
    stage: str = ""
    """Id of the stage in the plan."""
    text: str = ""
    fraction: float | None = None
    """Progress in 0..1, where the tool reports it."""
    total: int = 0
    """Of a plan: its stages."""
    seconds: float = 0.0
    """Since the build began."""


Listener = Callable[[Event], None]
