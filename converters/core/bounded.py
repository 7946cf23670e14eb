"""A call in this process that may take only so long and so much memory: a stranger's code on inputs that it didn't expect."""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class TooLong(Exception):
    """The time was over."""


@contextmanager
def bounded(seconds: float, memory: int) -> Iterator[None]:
    """Raises TooLong after `seconds` of the processors' time, so that a busy machine makes no difference, as soon as Python
    runs; and makes allocations fail beyond `memory` bytes more than now.

    Only the main thread can be interrupted; elsewhere the time has no limit.
    """
    timed = threading.current_thread() is threading.main_thread()

    def over(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"it took more than {seconds:g} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _used() + memory
    limits = [limit for limit in (most, soft, hard) if limit >= 0]
    before = signal.signal(signal.SIGPROF, over) if timed else None
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    if timed:
        signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _used() -> int:
    """Bytes of address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
