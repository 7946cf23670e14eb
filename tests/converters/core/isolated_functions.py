"""Functions that a child process is asked to run in test_isolated.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from enginesmith.compat.findings import Finding
from enginesmith.converters.core.errors import ConversionError, UserError


def echo(*arguments: object) -> list[object]:
    return [*arguments]


def process() -> int:
    return os.getpid()


def abort() -> None:
    os.abort()


def leave(status: int) -> None:
    os._exit(status)


def loop() -> None:
    while True:
        time.sleep(1)


def fail() -> None:
    raise ValueError("two\nlines")


def refuse() -> None:
    raise UserError("give another shape")


def fail_to_convert() -> None:
    finding = Finding(severity="error", op="Loop", node="/loop", backend="tvm", versions="", message="it loops")
    raise ConversionError("no loops", "unroll it", [finding])


def unanswerable() -> object:
    return object()


def flood(megabytes: int) -> int:
    """Writes to both streams, and answers with as much."""
    for _ in range(megabytes):
        os.write(1, b"o" * 2**20)
        os.write(2, b"e" * 2**20)
    return len("x" * megabytes * 2**20)


def long_answer(length: int) -> str:
    return "x" * length


def has_torch() -> bool:
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def hoard(megabytes: int) -> int:
    return len(bytearray(megabytes * 2**20))


def crash_with_heirs(pids: str) -> None:
    """Dies, and leaves a forked process, which holds every descriptor, and one that it started."""
    child = os.fork()
    if child == 0:
        time.sleep(600)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pids).write_text(f"{child} {sleeper.pid}")
    os.kill(os.getpid(), signal.SIGSEGV)
