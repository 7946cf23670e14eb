"""How far a build has come, as the builder's monitor tells it."""

from __future__ import annotations

import threading
import time
from typing import Any

from enginesmith.converters.backends.tensorrt.session import Session
from enginesmith.converters.core.stage import Context

PROGRESS_INTERVAL = 0.3
"""Seconds between two progress events of a builder that reports hundreds of steps."""


def watch(session: Session, config: Any, context: Context) -> None:
    """Report the build's phases as progress of `context`. Products before 8.6 have no monitor: nothing is reported."""
    trt = session.trt
    if not hasattr(trt, "IProgressMonitor"):
        return
    phases = _Phases()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.lock = threading.Lock()
            self.told = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self.lock:
                phases.start(phase_name, parent_phase, num_steps)
                self.tell(phase_name)

        def phase_finish(self, phase_name: str) -> None:
            with self.lock:
                phases.finish(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self.lock:
                phases.step(phase_name, step)
                self.tell(phase_name)
            return True  # False would cancel the build

        def tell(self, phase: str) -> None:
            now = time.monotonic()
            if now - self.told >= PROGRESS_INTERVAL:
                self.told = now
                context.progress(phase, phases.fraction())

    config.progress_monitor = Monitor()


class _Phases:
    """How far a tree of phases has come. A builder runs some phases twice, so the fraction never goes back."""

    def __init__(self) -> None:
        self.running: dict[str, tuple[str | None, int, int]] = {}
        self.best = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        self.running[name] = (parent, max(steps, 1), 0)

    def step(self, name: str, index: int) -> None:
        if name in self.running:
            parent, steps, _ = self.running[name]
            self.running[name] = (parent, steps, index + 1)

    def finish(self, name: str) -> None:
        self.running.pop(name, None)

    def fraction(self) -> float:
        """In 0..1: steps done of the outermost phases, each running step refined by the phases within it."""
        roots = [name for name, (parent, _, _) in self.running.items() if parent not in self.running]
        self.best = max([self.best, *(self._fraction(name) for name in roots)])
        return self.best

    def _fraction(self, name: str) -> float:
        _, steps, done = self.running[name]
        within = [self._fraction(child) for child, (parent, _, _) in self.running.items() if parent == name]
        return min(1.0, (done + max(within, default=0.0)) / steps)
