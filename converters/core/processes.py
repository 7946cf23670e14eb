"""What processes of ours do at their start."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

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


ENDS = (SystemExit, KeyboardInterrupt, Exited)
"""What code raises that wants to end its process. Nobody else does in a worker: Ctrl-C doesn't reach it."""


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
