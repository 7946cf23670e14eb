"""What processes of ours do at their start."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psutil

PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that the kernel sends when the parent dies."""


def die_with_parent(parent: int | None = None) -> None:
    """From now on this process is killed when its parent dies (Linux). Call it in the child.

    `parent` is the process id that the parent is known by: when it is no longer that, it died before this call.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


class Exited(BaseException):
    """Code that isn't ours wanted to end the process with a status."""


@contextmanager
def no_exit() -> Iterator[None]:
    """`os._exit` raises Exited within; not in processes that are forked there, which end in this way."""
    here, leave = os.getpid(), os._exit

    def refuse(status: int) -> NoReturn:
        if os.getpid() != here:
            leave(status)
        raise Exited(f"os._exit({status})")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave


def block_torch() -> None:
    """Make `import torch` an ImportError, for the optional imports of TVM, Polygraphy and onnxsim too."""
    sys.modules["torch"] = None  # type: ignore[assignment]


def threads_left() -> int:
    """Threads of this process after a fork, which ends those that can be started again (OpenBLAS joins its pool). More than
    one: a child would lose them, with the locks that they hold.
    """
    if (probe := os.fork()) == 0:
        os._exit(0)
    os.waitpid(probe, 0)
    return len(os.listdir("/proc/self/task"))


def written(pid: int) -> int:
    """Bytes of memory that a process and all its descendants have written to; libraries and mapped files don't count."""
    try:
        root = psutil.Process(pid)
        return sum(_written(process.pid) for process in [root, *root.children(recursive=True)])
    except psutil.Error:
        return 0


def _written(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
