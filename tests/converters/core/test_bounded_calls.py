"""A stranger's code in this process, for so long and with so much memory."""

from __future__ import annotations

import resource
import signal

import numpy as np
import pytest

from enginesmith.converters.core.bounded import TooLong, bounded


def test_time() -> None:
    handler = signal.getsignal(signal.SIGPROF)
    with pytest.raises(TooLong, match=r"more than 0\.1 s"), bounded(0.1, 2**30):
        _endless()
    assert signal.getsignal(signal.SIGPROF) == handler
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_memory() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), bounded(10, 2**28):
        np.ones(2**30, np.float64)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_errors_pass_through() -> None:
    with pytest.raises(KeyError), bounded(10, 2**30):
        raise KeyError
    with bounded(10, 2**30):
        pass


def _endless() -> None:
    while True:
        pass
